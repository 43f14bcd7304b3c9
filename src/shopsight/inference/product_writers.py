"""The files that predictions of products are written to: CSV, Parquet, JSON lines."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.control_characters import json_text
from shopsight.files import atomic_file, scratch_folder
from shopsight.inference.product_predictions import ProductPrediction
from shopsight.inference.writers import NODE_CELLS
from shopsight.spreadsheets import guarded_text
from shopsight.text import as_unicode
from shopsight.write_errors import write_errors_named

_OTHER = pl.Struct({"image": pl.String(), "label": pl.String(), "probability": pl.Float64()})
_UNREAD = pl.Struct({"image": pl.String(), "error": pl.String()})
_SCHEMA = pl.Schema(
    {
        "product": pl.String(),
        "label": pl.String(),
        "confidence": pl.Float64(),
        "labels": pl.List(pl.String()),
        "probabilities": pl.List(pl.Float64()),
        "decided_by": pl.String(),
        "disagreeing": pl.List(_OTHER),
        "photos": pl.Int64(),
        "copies": pl.Int64(),
        "unread": pl.List(_UNREAD),
        "row": pl.Int64(),
    }
)

_SCHEMA_WITH_NODES = pl.Schema({**_SCHEMA, "node": pl.String(), "node_probability": pl.Float64()})
_LAST_CELLS = ("decided_by", "disagreeing", "photos", "copies", "unread", "row")


@contextmanager
def product_writer(
    path: Path, *, top: int, nodes: bool = False
) -> Iterator[Callable[[ProductPrediction], None]]:
    """Give what writes one product; the file appears when the block succeeds.

    CSV has the columns product, label, confidence, label_2, confidence_2, ..., node and
    node_probability where they are asked for, decided_by,
    disagreeing ("image = label", joined by "|"), photos, copies, unread (images, joined by "|"),
    row; Parquet and JSON lines have lists. Text in a CSV that a spreadsheet would run has an
    apostrophe in front.

    Args:
        path: the file; its suffix is the format.
        top: number of labels of a product in a CSV.
        nodes: whether the deepest path of each product was asked for.

    Raises:
        WriteError: it cannot be written.
    """
    with scratch_folder(path) as scratch:
        lines = scratch / "products.jsonl"
        with lines.open("w", encoding="utf-8", newline="\n") as file:

            def write(prediction: ProductPrediction) -> None:
                with write_errors_named(path):
                    file.write(product_line(prediction))

            yield write
            with write_errors_named(path):
                file.flush()
        with atomic_file(path, needed_bytes=lines.stat().st_size) as part:
            _convert(lines, part, path.suffix.lower(), top=top, nodes=nodes)


def product_line(prediction: ProductPrediction) -> str:
    """One product as a line of JSON, with escapes where the name of a file is not Unicode."""
    return json_text(_unicode(prediction.to_json())) + "\n"


def _unicode(value: Any) -> Any:
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, list):
        return [_unicode(one) for one in value]
    if isinstance(value, dict):
        return {name: _unicode(one) for name, one in value.items()}
    return value


def _convert(lines: Path, part: Path, suffix: str, *, top: int, nodes: bool) -> None:
    schema = _SCHEMA_WITH_NODES if nodes else _SCHEMA
    if suffix == ".jsonl":
        shutil.copyfile(lines, part)
    elif suffix == ".csv":
        _to_csv(lines, part, top, (*NODE_CELLS, *_LAST_CELLS) if nodes else _LAST_CELLS)
    elif lines.stat().st_size:
        # polars streams from disk to disk.
        pl.scan_ndjson(escape(str(lines)), schema=schema).sink_parquet(part)
    else:
        pl.DataFrame(schema=schema).write_parquet(part)


def _to_csv(lines: Path, part: Path, top: int, last: Sequence[str]) -> None:
    more = [name for rank in range(2, top + 1) for name in (f"label_{rank}", f"confidence_{rank}")]
    with (
        lines.open(encoding="utf-8", newline="\n") as rows,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(list(map(guarded_text, ["product", "label", "confidence", *more, *last])))
        for line in rows:
            cells = _cells(json.loads(line), top, last)
            writer.writerow([guarded_text(c) if isinstance(c, str) else c for c in cells])


def _cells(row: dict[str, Any], top: int, last: Sequence[str]) -> list[Any]:
    """The cells of one product in a CSV."""
    pairs = list(zip(row["labels"], row["probabilities"], strict=True))[:top]
    cells: list[Any] = [cell for pair in pairs for cell in pair]
    cells += [""] * (2 * top - len(cells))
    joined = {
        "disagreeing": "|".join(f"{one['image']} = {one['label']}" for one in row["disagreeing"]),
        "unread": "|".join(one["image"] for one in row["unread"]),
    }
    rest = [(row | joined).get(name) for name in last]
    return ["" if cell is None else cell for cell in (row["product"], *cells, *rest)]
