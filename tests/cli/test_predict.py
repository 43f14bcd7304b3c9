from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from shopsight.bundle import read
from shopsight.devices import computes_bf16
from shopsight.files import sha256_file
from shopsight.inference import golden
from shopsight.preprocess import Preprocess
from tests.helpers import ProductPhotos, Shopsight

_opened: list[Counter[str]] = []


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    # An opener's `os.open` within an `open` is reported as well, without a mode.
    if _opened and event == "open" and isinstance(arguments[0], str) and arguments[1] is not None:
        _opened[-1][Path(arguments[0]).name] += 1


@contextmanager
def opened_files() -> Iterator[Counter[str]]:
    """How often a file of each name is opened by Python within the block."""
    if not hasattr(opened_files, "installed"):
        # Python cannot remove an audit hook: it is added once and switched on by the list.
        sys.addaudithook(_record)
        opened_files.installed = True  # type: ignore[attr-defined]
    _opened.append(Counter())
    try:
        yield _opened[-1]
    finally:
        _opened.pop()


def test_the_bundle_is_opened_hashed_and_verified_once(
    shopsight: Shopsight,
    tiny_run: Path,
    product_photos: ProductPhotos,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # A machine that has not judged the network yet.
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    verified: list[str | None] = []
    plain = golden.preprocess_image

    def preprocess_image(data: bytes, preprocess: Preprocess, *, where: str | None = None) -> Any:
        verified.append(where)
        return plain(data, preprocess, where=where)

    hashed: list[str] = []

    def hash_file(path: Path) -> str:
        hashed.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(golden, "preprocess_image", preprocess_image)
    monkeypatch.setattr(read, "sha256_file", hash_file)
    # In fp32 each time; in bf16, where this machine computes in it, until the verdict is kept.
    for times in (1 + computes_bf16(torch.device("cpu")), 1):
        verified.clear()
        hashed.clear()
        with opened_files() as opened:
            done = shopsight("predict", tiny_run, product_photos.folder, "--device", "cpu")
        assert done.code == 0
        # Once more before torch is imported, which takes seconds.
        assert (opened["model.json"], opened["golden.npz"]) == (2, 1)
        # Its header is read more often; safetensors maps it into memory without Python's `open`.
        assert hashed == ["model.safetensors"]
        assert verified.count("golden 0") == times


def test_a_table_is_predicted_row_by_row(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    out = tmp_path / "found.csv"
    done = shopsight("predict", tiny_run, product_photos.table, "--out", out, "--top", "1")
    assert done.code == 0
    found = pl.read_csv(out)
    table = pl.read_csv(product_photos.table)
    assert found["row"].to_list() == list(range(len(table)))
    assert found["name"].to_list() == table["image"].to_list()
    alone = shopsight("predict", tiny_run, found["image"][5], "--json", "--top", "1").json
    assert alone[0]["probability"] == found["probability"][5]


def test_what_is_not_read_is_counted_by_reason_and_damage_is_marked(
    shopsight: Shopsight, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    source = next((product_photos.folder / "hat").glob("*.jpg")).read_bytes()
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "whole.jpg").write_bytes(source)
    (folder / "cut.jpg").write_bytes(source[: len(source) // 2])
    (folder / "half.jpg").write_bytes(source[: len(source) // 2] + b"\xff\xd9")
    (folder / "page.jpg").write_bytes(b"<html>404</html>")
    out = tmp_path / "found.jsonl"
    done = shopsight("predict", tiny_run, folder, "--out", out)
    assert done.code == 1
    assert "2 images labeled (1 damaged), 2 not readable" in done.err
    found = {Path(row["image"]).name: row for row in pl.read_ndjson(out).to_dicts()}
    assert found["half.jpg"]["damaged"] is not None
    assert found["half.jpg"]["label"] is not None
    assert found["whole.jpg"]["damaged"] is None
    assert found["page.jpg"]["error"] is not None
    assert "half.jpg" in shopsight("predict", tiny_run, folder).out.partition("(damaged: ")[0]


def test_nothing_to_predict_is_a_mistake(
    shopsight: Shopsight, tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "found.csv"
    done = shopsight("predict", tiny_run, tmp_path / "empty", "--out", out)
    assert done.code == 2
    assert "there is no image here" in done.err
    assert not out.exists()
    unused = shopsight("predict", tiny_run, tmp_path / "empty", "--image", "photo")
    assert unused.code == 2
    assert "--image would change nothing" in unused.err
