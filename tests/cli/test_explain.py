from __future__ import annotations

from pathlib import Path

from tests.helpers import ProductPhotos, Shopsight


def test_explain(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    folder = product_photos.folder / "hat"
    done = shopsight("explain", tiny_run, folder, "--out", tmp_path / "why", "--label", "hat")
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) == 10 + 1 + 2
    assert lines[0].startswith(f"{folder / 'hat-000-0.jpg'}: hat ")
    assert lines[10] == "and 10 more images"
    assert lines[-2] == f"page: {tmp_path / 'why' / 'explanations.html'}"


def test_exit_code_and_json_where_one_cannot_be_read(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    good, bad = product_photos.folder / "hat" / "hat-000-0.jpg", tmp_path / "bad.jpg"
    bad.write_bytes(b"none")
    done = shopsight("explain", tiny_run, good, bad, "--out", tmp_path / "why", "--json")
    assert done.code == 1
    assert f"not read: {bad}" in done.err
    assert [one["error"] is None for one in done.json["images"]] == [True, False]
    assert done.json["images"][0]["overlay"] == "0001-hat-000-0.jpg"


def test_what_the_user_got_wrong(shopsight: Shopsight, tiny_run: Path, tmp_path: Path) -> None:
    done = shopsight("explain", "embedded:tf_efficientnet_lite0", ".", "--out", tmp_path / "why")
    assert done.code == 2
    assert "it has no labels" in done.err
    done = shopsight(
        "explain", tiny_run, tmp_path / "no.jpg", "--out", tmp_path / "w", "--label", "ha"
    )
    assert done.code == 2
    assert "did you mean 'hat'?" in done.err
