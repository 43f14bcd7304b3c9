"""Predictions, history and findings of a run that somebody else wrote are data of their kinds."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from shopsight.errors import DamagedFileError
from shopsight.evaluation.predictions import Predictions
from shopsight.runs.run_folder import RunFolder
from tests.helpers import run_command


def _change(run: Path, change: pl.Expr) -> Path:
    path = RunFolder(run).predictions_file("test")
    about = pl.read_parquet_metadata(path)["shopsight"]
    pl.read_parquet(path).with_columns(change).write_parquet(path, metadata={"shopsight": about})
    return path


@pytest.mark.parametrize(
    "change",
    [
        pl.col("confidence").cast(pl.String),
        pl.col("row").cast(pl.String),
        pl.col("label").str.split("/"),
        pl.lit("=1+1").alias("correct"),
        pl.struct("image", "label").alias("image"),
        pl.col("top_probabilities").list.first(),
    ],
)
def test_columns_of_another_kind(change: pl.Expr, own_run: Path) -> None:
    path = _change(own_run, change)
    with pytest.raises(DamagedFileError, match="columns are of another kind") as caught:
        Predictions.read(path)
    assert caught.value.fix is not None
    assert "shopsight evaluate RUN" in caught.value.fix


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (pl.lit(None, pl.Int64).alias("row"), r"row: \d+ of \d+ are empty"),
        (pl.lit(None, pl.String).alias("label"), r"label: \d+ of \d+ are empty"),
        (pl.lit("zebra").alias("predicted"), "predicted: 'zebra' is no label of the model"),
        (pl.lit(-1, pl.Int64).alias("row"), "row: the catalog has no row -1"),
        (pl.lit(2**40).alias("row"), "row: the catalog has no row 1,099,511,627,776"),
    ],
)
def test_rows_without_an_image_or_a_label(change: pl.Expr, what: str, own_run: Path) -> None:
    path = _change(own_run, change)
    with pytest.raises(DamagedFileError, match="lacks what predictions have") as caught:
        Predictions.read(path, catalog_rows=len(RunFolder(own_run).audited_catalog()))
    assert re.search(what, "\n".join(caught.value.details))


def test_a_column_that_is_missing(
    own_run: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = RunFolder(own_run).predictions_file("test")
    about = pl.read_parquet_metadata(path)["shopsight"]
    pl.read_parquet(path, columns=["image", "label"]).write_parquet(
        path, metadata={"shopsight": about}
    )
    shown = run_command(capsys, ("compare", tiny_run, own_run))
    assert shown.code == 2
    assert "there is no column correct" in shown.err
    assert "there is no column row" in shown.err


def test_a_comparison_names_the_file(
    own_run: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _change(own_run, pl.col("correct").cast(pl.Int64))
    shown = run_command(capsys, ("compare", tiny_run, own_run))
    assert shown.code == 2
    assert f"{path}: is damaged" in shown.err
    assert "correct: Int64" in shown.err


def test_findings_of_kinds_and_severities_that_are_none(
    own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_run / "audit" / "findings.csv").write_text(
        "kind,severity,row\n=cmd,fatal,1\n<b>x</b>,error,2\n", encoding="utf-8"
    )
    shown = run_command(capsys, ("evaluate", own_run))
    assert shown.code == 0, shown.err
    assert "<b>x</b>" not in (own_run / "report.html").read_text(encoding="utf-8")
