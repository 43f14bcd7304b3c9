from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from shopsight.errors import WriteError
from shopsight.inference.predictor import Prediction
from shopsight.inference.writers import json_line, write_predictions

PREDICTIONS = (
    Prediction("a.jpg", ("hat", "shoe"), (0.75, 0.25), ("hat",)),
    Prediction("b.jpg", ("shoe", "hat"), (0.625, 0.375), ("shoe", "hat")),
    Prediction("c.jpg", error="c.jpg: no bytes", reason="empty"),
)


def written(path: Path, *, top: int = 2, predictions: Sequence[Prediction] = PREDICTIONS) -> Path:
    lines = path.with_suffix(".rows")
    lines.write_text("".join(map(json_line, predictions)), encoding="utf-8", newline="\n")
    write_predictions(lines, path, top=top)
    lines.unlink()
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
    said = "cannot be written as Parquet: the disk is full: "
    with pytest.raises(WriteError, match=said) as raised:
        written(tmp_path / "out.parquet")
    (kept,) = tmp_path.iterdir()
    assert raised.value.details == (f"as JSON lines, they are in {kept}",)
    assert f"rename {kept.name} to out.jsonl" in str(raised.value.fix)
    assert kept.read_bytes() == written(tmp_path / "out.jsonl").read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_what_utf8_cannot_hold_of_a_name_is_escaped(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    named = Prediction("caf\udce9.jpg", ("hat",), (1.0,), ("hat",))
    unread = Prediction("\udce9.jpg", error="\udce9.jpg: no bytes", reason="empty")
    written(out, top=1, predictions=[named, unread])
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}[suffix]
    table = read(out)
    assert table["image"].to_list() == [r"caf\udce9.jpg", r"\udce9.jpg"]
    assert table["label"].to_list() == ["hat", None]
    assert table["error"].to_list()[1] == r"\udce9.jpg: no bytes"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_capitals_in_a_suffix_name_the_same_format(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain.csv").read_bytes()
    assert written(tmp_path / "OUT.CSV").read_bytes() == plain
