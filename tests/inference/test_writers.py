from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from shopsight.errors import ShopsightError, WriteError
from shopsight.inference.predictor import Prediction
from shopsight.inference.writers import check_suffix, recorded, sort_into
from shopsight.safe_names import unique_names

PREDICTIONS = (
    Prediction("a.jpg", ("hat", "shoe"), (0.75, 0.25), ("hat",)),
    Prediction("b.jpg", ("shoe", "hat"), (0.625, 0.375), ("shoe", "hat")),
    Prediction("c.jpg", error="c.jpg: no bytes", reason="empty"),
)


def written(path: Path, *, top: int = 2) -> Path:
    with recorded(path, top=top) as record:
        for prediction in PREDICTIONS:
            record(prediction)
        assert not path.exists()
    return path


def test_csv(tmp_path: Path) -> None:
    lines = written(tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "image,label,probability,label_2,probability_2,predicted_labels,error,damaged,row,name",
        "a.jpg,hat,0.75,shoe,0.25,hat,,,,",
        "b.jpg,shoe,0.625,hat,0.375,shoe|hat,,,,",
        "c.jpg,,,,,,c.jpg: no bytes,,,",
    ]
    first = written(tmp_path / "one.csv", top=1).read_text(encoding="utf-8").splitlines()
    assert first[:2] == [
        "image,label,probability,predicted_labels,error,damaged,row,name",
        "a.jpg,hat,0.75,hat,,,,",
    ]


def test_parquet_and_json_lines_hold_the_same(tmp_path: Path) -> None:
    table = pl.read_parquet(written(tmp_path / "out.parquet"))
    lines = written(tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert table.to_dicts() == [json.loads(line) for line in lines]
    assert table["predicted_labels"].to_list() == [["hat"], ["shoe", "hat"], []]
    assert table["label"].to_list() == ["hat", "shoe", None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.parquet"]


def test_text_has_the_same_bytes_on_every_system(tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl"):
        content = written(tmp_path / f"out.{suffix}").read_bytes()
        assert content.endswith(b"\n")
        assert b"\r" not in content
        assert not content.startswith(b"\xef\xbb\xbf")


def test_predictions_that_do_not_become_parquet_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")

    monkeypatch.setattr(pl.LazyFrame, "sink_parquet", fail)
    with pytest.raises(WriteError, match="cannot be written as Parquet: No space left") as raised:
        written(tmp_path / "out.parquet")
    (kept,) = tmp_path.iterdir()
    assert raised.value.details == (f"as JSON lines, they are in {kept}",)
    assert raised.value.fix == f"rename {kept.name} to out.jsonl"
    assert kept.read_bytes() == written(tmp_path / "out.jsonl").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_what_utf8_cannot_hold_of_a_name_is_escaped(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    with recorded(out, top=1) as record:
        record(Prediction("caf\udce9.jpg", ("hat",), (1.0,), ("hat",)))
        record(Prediction("\udce9.jpg", error="\udce9.jpg: no bytes", reason="empty"))
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}[suffix]
    table = read(out)
    assert table["image"].to_list() == [r"caf\udce9.jpg", r"\udce9.jpg"]
    assert table["label"].to_list() == ["hat", None]
    assert table["error"].to_list()[1] == r"\udce9.jpg: no bytes"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_block_that_fails_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    def interrupted() -> None:
        with recorded(tmp_path / f"out{suffix}", top=1) as record:
            record(PREDICTIONS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_other_suffixes_are_refused() -> None:
    for name in ("out.xlsx", "out"):
        with pytest.raises(ShopsightError, match=r"ends in \.csv, \.parquet, \.jsonl"):
            check_suffix(name)


NAMES = unique_names(["hats/caps", "Shirt", "shirt", "aux"])


@pytest.mark.posix("needs a question mark in a name")
def test_labels_that_some_file_system_confuses_get_folders_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(b"one")
    for label in ("Shirt", "shirt", "aux"):
        sort_into(tmp_path / "sorted", Prediction(str(source), (label,), (1.0,), (label,)), NAMES)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("sorted/*/*")}
    assert found == {
        "sorted/Shirt/photo.jpg",
        "sorted/shirt (2)/photo.jpg",
        "sorted/%61ux/photo.jpg",
    }


@pytest.mark.posix("needs a question mark in a name")
def test_a_copy_of_a_file_with_an_unsafe_name_gets_a_safe_one(tmp_path: Path) -> None:
    source = tmp_path / "what?.jpg"
    source.write_bytes(b"one")
    sort_into(tmp_path / "sorted", Prediction(str(source), ("aux",), (1.0,), ("aux",)), NAMES)
    assert (tmp_path / "sorted" / "%61ux" / "what%3F.jpg").is_file()


def test_images_are_sorted_by_label_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "sorted"
    for number, content in enumerate((b"one", b"two", b"one")):
        source = tmp_path / str(number) / "photo.jpg"
        source.parent.mkdir()
        source.write_bytes(content)
        sort_into(folder, Prediction(str(source), ("hats/caps",), (1.0,), ("hats/caps",)), NAMES)
    found = {path.name: path.read_bytes() for path in (folder / "hats%2Fcaps").iterdir()}
    assert found == {"photo.jpg": b"one", "photo-2.jpg": b"two"}
    assert sort_into(folder, PREDICTIONS[2], NAMES) is None


@pytest.mark.posix("paths of more than 260 characters")
def test_a_long_name_is_shortened_for_its_number(tmp_path: Path) -> None:
    name = "a" * 251 + ".jpg"
    for number, content in enumerate((b"one", b"two", b"three")):
        source = tmp_path / str(number) / name
        source.parent.mkdir()
        source.write_bytes(content)
        sort_into(tmp_path / "out", Prediction(str(source), ("aux",), (1.0,), ("aux",)), NAMES)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out" / "%61ux").iterdir()}
    assert found == {
        name: b"one",
        "a" * 249 + "-2.jpg": b"two",
        "a" * 249 + "-3.jpg": b"three",
    }
