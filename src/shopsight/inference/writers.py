"""The files that predictions are written to: CSV, Parquet, JSON lines."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.catalog.attribute_columns import BETWEEN_VALUES
from shopsight.control_characters import json_text
from shopsight.errors import WriteError, first_line
from shopsight.files import atomic_file
from shopsight.inference.predictor import Prediction
from shopsight.inference.unknown_answers import UNKNOWN_CELLS
from shopsight.spreadsheets import guarded_text
from shopsight.text import as_unicode
from shopsight.write_errors import write_errors_named

_LAST_CELLS = ("error", "damaged", "row", "name")


NODE_CELLS = ("node", "node_probability")


def write_predictions(
    lines: Path,
    path: Path,
    *,
    top: int,
    nodes: bool = False,
    unknown: bool = False,
    attributes: Sequence[str] = (),
) -> None:
    r"""Make the file of predictions from JSON lines, in constant memory.

    CSV has the columns image, label, probability, label_2, probability_2, ... , predicted_labels
    (joined by "|"), node and node_probability where they are asked for, unknown, known_score and
    label_set (joined by "|") where the model may answer "unknown", of each attribute its
    values (joined by "; ") and their confidence, error, damaged, row and name; Parquet and JSON
    lines have the lists labels and probabilities, best first, and predicted_labels, and JSON lines
    the attributes by name. `row` and `name` are of a table: its row and the image as it names it.
    Text in a CSV that a spreadsheet would run has an apostrophe in front
    (`shopsight.spreadsheets`). Text is UTF-8 without a mark at its start, and lines end in a line
    feed on every system. What UTF-8 cannot hold of a file's name is escaped (`caf\udce9.jpg`).

    Args:
        lines: A `json_line` for each image.
        path: The file; its suffix, one of `TABLE_SUFFIXES`, is the format.
        top: Number of labels of an image in a CSV.
        nodes: Whether the deepest path of each image was asked for.
        unknown: Whether the model may answer "unknown".
        attributes: Those of the model.

    Raises:
        WriteError: As `atomic_file`'s.
    """
    suffix = path.suffix.lower()
    with atomic_file(path, needed_bytes=lines.stat().st_size) as part:
        if suffix == ".csv":
            last = (*_optional_cells(nodes=nodes, unknown=unknown), *_LAST_CELLS)
            _to_csv(lines, part, top, last, attributes)
        elif suffix == ".jsonl":
            shutil.copyfile(lines, part)
        else:
            cells = _optional_cells(nodes=nodes, unknown=unknown)
            _to_parquet(lines, part, path, optional=cells, attributes=attributes)


def _optional_cells(*, nodes: bool, unknown: bool) -> tuple[str, ...]:
    return (*(NODE_CELLS if nodes else ()), *(UNKNOWN_CELLS if unknown else ()))


def attribute_cells(attributes: Sequence[str]) -> list[tuple[str, str]]:
    """The two columns of each attribute: NAME, and NAME confidence.

    A name that means something else in this table has "(attribute)" behind it.
    """
    taken = {*_PARQUET_SCHEMA, *NODE_CELLS, *UNKNOWN_CELLS}
    pairs = []
    for name in attributes:
        column = name
        while column in taken or f"{column} confidence" in taken or _RANKED.fullmatch(column):
            column = f"{column} (attribute)"
        taken |= {column, f"{column} confidence"}
        pairs.append((column, f"{column} confidence"))
    return pairs


def _to_csv(
    lines: Path, part: Path, top: int, last: Sequence[str], attributes: Sequence[str]
) -> None:
    more = [cell for pair in attribute_cells(attributes) for cell in pair]
    before = len(last) - len(_LAST_CELLS)
    names = [
        name for rank in range(2, top + 1) for name in (f"label_{rank}", f"probability_{rank}")
    ]
    with (
        lines.open(encoding="utf-8", newline="\n") as rows,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        first = ["image", "label", "probability", *names, "predicted_labels", *last[:before]]
        writer.writerow([*map(guarded_text, [*first, *more]), *_LAST_CELLS])
        for line in rows:
            cells = _cells(json.loads(line), top, last, attributes)
            writer.writerow([guarded_text(c) if isinstance(c, str) else c for c in cells])


def _cells(
    row: Mapping[str, Any], top: int, last: Sequence[str], attributes: Sequence[str]
) -> list[Any]:
    """The cells of one prediction in a CSV."""
    pairs = list(zip(row["labels"], row["probabilities"], strict=True))[:top]
    cells = [cell for pair in pairs for cell in pair]
    cells += [""] * (2 * top - len(cells))
    known = [_cell(row.get(name)) for name in last]
    more = []
    for name in attributes:
        one = row.get("attributes", {}).get(name, _NOT_GIVEN)
        confidence = one["confidence"]
        more += [BETWEEN_VALUES.join(one["values"]), "" if confidence is None else confidence]
    before = len(last) - len(_LAST_CELLS)
    predicted = "|".join(row["predicted_labels"])
    return [row["image"], *cells, predicted, *known[:before], *more, *known[before:]]


def _cell(value: Any) -> Any:
    """A value of JSON as a cell: yes and no, and lists joined."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "|".join(value)
    return "" if value is None else value


def _to_parquet(
    lines: Path, part: Path, path: Path, *, optional: Sequence[str], attributes: Sequence[str]
) -> None:
    """Turn JSON lines into the Parquet file `part`, which will be `path`."""
    schema = pl.Schema(_schema_with(optional))
    if attributes:
        each = dict.fromkeys(attributes, _ATTRIBUTE)
        schema = pl.Schema({**schema, "attributes": pl.Struct(each)})
    try:
        with write_errors_named(path, needed_bytes=lines.stat().st_size):
            # polars streams from disk to disk: ten million rows need no more memory than ten.
            table = pl.scan_ndjson(escape(str(lines)), schema=schema)
            _with_attributes(table, schema.names(), attributes).sink_parquet(part)
    except (OSError, WriteError, pl.exceptions.PolarsError) as error:
        reason = error.what if isinstance(error, WriteError) else first_line(error)
        raise WriteError(
            f"the predictions cannot be written as Parquet: {reason}",
            where=str(path),
            details=[f"as JSON lines, they are in {lines}"],
            fix="1. the same command again, when that is settled   (nothing is labeled anew)\n"
            f"2. rename {lines.name} to {path.stem}.jsonl",
        ) from error


def _with_attributes(
    table: pl.LazyFrame, columns: Sequence[str], attributes: Sequence[str]
) -> pl.LazyFrame:
    """Two columns for each attribute, in the place that a CSV has them."""
    if not attributes:
        return table
    last = list(_LAST_CELLS)
    first = [name for name in columns if name not in {*last, "attributes"}]
    more = []
    for name, (column, confidence) in zip(attributes, attribute_cells(attributes), strict=True):
        one = pl.col("attributes").struct.field(name)
        values = one.struct.field("values").list.join(BETWEEN_VALUES)
        more += [
            values.replace("", None).alias(column),
            one.struct.field("confidence").alias(confidence),
        ]
    return table.select(*first, *more, *last)


_NOT_GIVEN: Mapping[str, Any] = {"values": (), "confidence": None}
_ATTRIBUTE = pl.Struct({"values": pl.List(pl.String()), "confidence": pl.Float64()})
_RANKED = re.compile(r"(label|probability)_\d+")
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
_OPTIONAL_SCHEMA: Mapping[str, Any] = {
    "node": pl.String(),
    "node_probability": pl.Float64(),
    "unknown": pl.Boolean(),
    "known_score": pl.Float64(),
    "label_set": pl.List(pl.String()),
}


def _schema_with(optional: Sequence[str]) -> dict[str, Any]:
    """The columns, with these before the last ones."""
    first = {name: kind for name, kind in _PARQUET_SCHEMA.items() if name not in _LAST_CELLS}
    last = {name: _PARQUET_SCHEMA[name] for name in _LAST_CELLS}
    return {**first, **{name: _OPTIONAL_SCHEMA[name] for name in optional}, **last}


def as_row(prediction: Prediction) -> dict[str, Any]:
    """One prediction as plain values; the deepest path and attributes where there are any."""
    failed = prediction.error is not None
    node = {}
    if prediction.node is not None and prediction.node_probability is not None:
        rounded = round(float(prediction.node_probability), 6)
        node = {"node": prediction.node, "node_probability": rounded}
    return {
        "image": prediction.source,
        "label": None if failed else prediction.labels[0],
        "probability": None if failed else round(float(prediction.probabilities[0]), 6),
        "labels": list(prediction.labels),
        "probabilities": [round(float(value), 6) for value in prediction.probabilities],
        "predicted_labels": list(prediction.predicted_labels),
        **node,
        **({} if prediction.unknown is None else prediction.unknown.as_cells()),
        **_attributes(prediction),
        "error": prediction.error,
        "damaged": prediction.damaged,
        "row": prediction.row,
        "name": prediction.name,
    }


def _attributes(prediction: Prediction) -> dict[str, Any]:
    if not prediction.attributes:
        return {}
    found = {
        one.name: {
            "values": list(one.values),
            "confidence": None if one.confidence is None else round(float(one.confidence), 6),
        }
        for one in prediction.attributes
    }
    return {"attributes": found}


def json_line(prediction: Prediction) -> str:
    """One prediction as a line of JSON, with escapes where the name of a file is not Unicode."""
    row = as_row(prediction)
    texts = {name: row[name] for name in ("image", "error", "name")}
    row |= {name: None if text is None else as_unicode(text) for name, text in texts.items()}
    return json_text(row) + "\n"
