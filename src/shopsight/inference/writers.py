"""Write predictions to a file while they stream."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import polars as pl

from shopsight.errors import ShopsightError, WriteError, first_line
from shopsight.files import atomic_file
from shopsight.held_files import remove_file
from shopsight.inference.predictor import Prediction
from shopsight.text import as_unicode

SUFFIXES = (".csv", ".parquet", ".jsonl")
_LAST_CELLS = ("error", "damaged", "row", "name")


@runtime_checkable
class Recorder(Protocol):
    """Writes one prediction."""

    def __call__(self, prediction: Prediction) -> None: ...


def check_suffix(path: Path | str) -> Path:
    """Refuse a file that predictions cannot be written to.

    Raises:
        ShopsightError: The suffix is not .csv, .parquet or .jsonl.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ShopsightError(
            f"predictions are not written as {path.suffix or 'a file without suffix'!r}",
            where=str(path),
            fix=f"name a file that ends in {', '.join(SUFFIXES)}",
        )
    return path


@contextmanager
def recorded(path: Path | str, *, top: int) -> Iterator[Recorder]:
    r"""Write each prediction that the block passes on to `path`, in constant memory.

    The file appears when the block ends without an error. CSV has the columns image, label,
    probability, label_2, probability_2, ... , predicted_labels (joined by "|"), error, damaged, row
    and name; Parquet and JSON lines have the lists labels and probabilities, best first, and
    predicted_labels. `row` and `name` are of a table: its row and the image as it names it. Text
    is UTF-8 without a mark at its start, and lines end in a line feed on every system. What UTF-8
    cannot hold of a file's name is escaped (`caf\udce9.jpg`).

    Args:
        path: The file; its suffix is the format.
        top: Number of labels of an image in a CSV.

    Yields:
        The function that writes one prediction.

    Raises:
        ShopsightError: The suffix is not .csv, .parquet or .jsonl.
        WriteError: As `atomic_file`'s. The predictions are kept where that is possible.
    """
    path = check_suffix(path)
    with atomic_file(path) as temporary:
        if path.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield _csv_recorder(file, top)
        elif path.suffix == ".jsonl":
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                yield _lines_recorder(file)
        else:
            # No longer than the temporary name, for which there is room.
            lines = temporary.with_suffix(".json")
            kept = False
            try:
                with lines.open("w", encoding="utf-8", newline="\n") as file:
                    yield _lines_recorder(file)
                kept = True
                _to_parquet(lines, temporary, path)
                kept = False
            finally:
                if not kept:
                    remove_file(lines)


def _to_parquet(lines: Path, temporary: Path, path: Path) -> None:
    """Turn JSON lines into the Parquet file `temporary`, which will be `path`."""
    try:
        # polars streams from disk to disk: ten million rows need no more memory than ten.
        pl.scan_ndjson(lines, schema=_PARQUET_SCHEMA).sink_parquet(temporary)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise WriteError(
            f"the predictions cannot be written as Parquet: {first_line(error)}",
            where=str(path),
            details=[f"as JSON lines, they are in {lines}"],
            fix=f"rename {lines.name} to {path.stem}.jsonl",
        ) from error


_PARQUET_SCHEMA = pl.Schema(
    {
        "image": pl.String(),
        "label": pl.String(),
        "probability": pl.Float64(),
        "labels": pl.List(pl.String()),
        "probabilities": pl.List(pl.Float64()),
        "predicted_labels": pl.List(pl.String()),
        "error": pl.String(),
        "damaged": pl.String(),
        "row": pl.Int64(),
        "name": pl.String(),
    }
)


def as_row(prediction: Prediction) -> dict[str, Any]:
    """One prediction as plain values."""
    failed = prediction.error is not None
    return {
        "image": prediction.source,
        "label": None if failed else prediction.labels[0],
        "probability": None if failed else round(float(prediction.probabilities[0]), 6),
        "labels": list(prediction.labels),
        "probabilities": [round(float(value), 6) for value in prediction.probabilities],
        "predicted_labels": list(prediction.predicted_labels),
        "error": prediction.error,
        "damaged": prediction.damaged,
        "row": prediction.row,
        "name": prediction.name,
    }


def _unicode_row(prediction: Prediction) -> dict[str, Any]:
    """`as_row`, with escapes where the name of a file is not Unicode."""
    row = as_row(prediction)
    texts = {name: row[name] for name in ("image", "error", "name")}
    return row | {name: None if text is None else as_unicode(text) for name, text in texts.items()}


def _lines_recorder(file: IO[str]) -> Recorder:
    def record(prediction: Prediction) -> None:
        file.write(json.dumps(_unicode_row(prediction), ensure_ascii=False) + "\n")

    return record


def _csv_recorder(file: IO[str], top: int) -> Recorder:
    writer = csv.writer(file, lineterminator="\n")
    names = [
        name for rank in range(2, top + 1) for name in (f"label_{rank}", f"probability_{rank}")
    ]
    writer.writerow(["image", "label", "probability", *names, "predicted_labels", *_LAST_CELLS])

    def record(prediction: Prediction) -> None:
        row = _unicode_row(prediction)
        pairs = list(zip(row["labels"], row["probabilities"], strict=True))[:top]
        cells = [cell for pair in pairs for cell in pair]
        cells += [""] * (2 * top - len(cells))
        last = ["" if row[name] is None else row[name] for name in _LAST_CELLS]
        writer.writerow([row["image"], *cells, "|".join(row["predicted_labels"]), *last])

    return record
