"""Names of classes that the Hugging Face Hub keeps in the metadata of a Parquet file."""

from __future__ import annotations

from typing import Any

import polars as pl

from shopsight.io.json_files import parse_json
from shopsight.io.parquet import parquet_metadata

_KEY = "huggingface"


def with_class_names(table: pl.DataFrame, data: bytes) -> tuple[pl.DataFrame, list[str]]:
    """Replace numbers of classes by their names, where the file has them; and notes.

    Args:
        table: the table.
        data: the Parquet file.
    """
    notes = []
    for name, classes in _class_names(data).items():
        if name not in table.columns:
            continue
        column = table[name]
        # The Hub's convention for "no label" is -1.
        names = dict(enumerate(classes))
        element = pl.element().replace_strict(names, default=None, return_dtype=pl.String)
        if column.dtype.is_integer():
            column = column.replace_strict(names, default=None, return_dtype=pl.String)
        elif isinstance(column.dtype, pl.List) and column.dtype.inner.is_integer():
            column = column.list.eval(element)
        else:
            continue
        table = table.with_columns(column.alias(name))
        notes.append(f"column {name!r}: names of classes from the file's metadata")
    return table, notes


def _class_names(data: bytes) -> dict[str, list[str]]:
    try:
        features = parse_json(parquet_metadata(data).get(_KEY, ""))["info"]["features"]
        found = {name: _names_in(feature) for name, feature in features.items()}
    # Without our kind of metadata, or damaged: there are no names.
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}
    return {name: names for name, names in found.items() if names}


def _names_in(feature: Any) -> list[str]:
    """The names of a ClassLabel, or of a sequence of them."""
    if isinstance(feature, list):
        return _names_in(feature[0]) if feature else []
    if not isinstance(feature, dict):
        return []
    names = feature.get("names")
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    return _names_in(feature.get("feature"))
