"""The kept columns of items as an engine stores them, and back.

What engines get wrong without a word, and what is stored instead:

- Booleans are the words "true" and "false": one engine takes a boolean for a number when it
  compares, and finds nothing.
- The names of columns are paths in an engine's payload: `a.b` is a field of a field, and `a[0]` the
  first of a list. Names of other characters than letters, digits and `_` are numbered instead.
- Missing cells (null, NaN, infinity, a list without values) are left out.
- Numbers have 15 digits: see `exact_number`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight.vector_engines.engine import Hit, Points, VectorName
from shopsight.vector_engines.filters import ColumnKind, Schema

ID_KEY = "_id"
"""Key of the string id in a payload: engines number their points."""
POLARS_TYPES: dict[ColumnKind, pl.DataType] = {
    "text": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "texts": pl.List(pl.String()),
}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def payload_keys(schema: Schema) -> dict[str, str]:
    """Under which key each column is stored: its name where that is plain, else its number.

    >>> payload_keys({"price": "number", "Größe (cm)": "number"})
    {'price': 'price', 'Größe (cm)': '_1'}
    """
    return {
        name: name if _PLAIN.fullmatch(name) else f"_{number}" for number, name in enumerate(schema)
    }


class Payloads:
    """Reads and writes the payloads of a collection.

    Args:
        schema: kind of each kept column.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.keys = payload_keys(schema)
        self._booleans = [name for name, kind in schema.items() if kind == "boolean"]

    def of(self, ids: Iterable[str], columns: pl.DataFrame) -> list[dict[str, Any]]:
        """Payloads of items, a row of columns each."""
        cells = {
            self.keys[name]: [stored(cell, kind) for cell in columns[name].to_list()]
            for name, kind in self._schema.items()
            if name in columns.columns
        }
        return [
            {ID_KEY: item}
            | {key: column[row] for key, column in cells.items() if column[row] is not None}
            for row, item in enumerate(ids)
        ]

    def columns(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The kept columns of a payload, missing ones None."""
        found = {name: payload.get(key) for name, key in self.keys.items()}
        for name in self._booleans:
            if found[name] is not None:
                found[name] = found[name] == "true"
        return found

    def hit(self, found: Any) -> Hit:
        """A point that an engine found, with its `payload` and `score`.

        Rounded vectors may give a cosine a little above 1.
        """
        payload = found.payload or {}
        return Hit(str(payload[ID_KEY]), min(1.0, float(found.score)), self.columns(payload))

    def points(self, records: Sequence[Any], dims: Mapping[VectorName, int]) -> Points:
        """Points of an engine's records, with their `payload` and `vector`."""
        found = [record.payload or {} for record in records]
        vectors: dict[VectorName, Float32[np.ndarray, "n d"]] = {}
        for name, dim in dims.items():
            zeros = [0.0] * dim
            rows = [(record.vector or {}).get(name, zeros) for record in records]
            vectors[name] = np.array(rows, np.float32)
        return Points([str(payload[ID_KEY]) for payload in found], vectors, self.table(found))

    def table(self, payloads: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
        """The kept columns of payloads as a table."""
        types = {name: POLARS_TYPES[kind] for name, kind in self._schema.items()}
        return pl.DataFrame([self.columns(payload) for payload in payloads], schema=types)


def stored(cell: Any, kind: ColumnKind) -> Any:
    """A cell as an engine stores it; None where it is missing."""
    if cell is None:
        return None
    if kind == "boolean":
        return "true" if cell else "false"
    if kind == "number":
        number = exact_number(cell)
        return number if math.isfinite(number) else None
    if kind == "texts":
        return [str(one) for one in cell if one is not None] or None
    return int(cell) if kind == "integer" else str(cell)


def exact_number(value: float) -> float:
    """A number at 15 significant digits, which every engine reads as it was written.

    One engine's JSON reads a number of 16 or 17 digits as its neighbor, so that `price <= 91.66...`
    would not find the price that it names. With 15 digits the digits are an integer below 2^53, and
    powers of ten are exact up to 10^22, so that one rounded product or quotient gives the nearest
    float: of 0 and of numbers between 1e-7 and 1e14 (a larger whole one is written with ".0", which
    are more digits). Others may be read as their neighbors.
    """
    return float(f"{value:.15g}") + 0.0  # -0 becomes 0
