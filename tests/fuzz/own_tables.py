"""Tables that shopsight wrote, as they come back from other programs and other hands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from shopsight.catalog.about_record import METADATA_KEY, about_path
from shopsight.catalog.catalog import Catalog
from tests.fuzz.cells import IMAGES, ODD_IMAGES, ODD_LABELS, ODD_NUMBERS, SPLIT_CELLS
from tests.fuzz.file_bytes import photo

COLUMNS: dict[str, tuple[Any, ...]] = {
    "image": ODD_IMAGES,
    "label": ODD_LABELS,
    "group": ODD_LABELS,
    "split": SPLIT_CELLS,
    "fold": ODD_NUMBERS,
    "box_x": ODD_NUMBERS,
    "box_w": ODD_NUMBERS,
    "price": ODD_NUMBERS,
    "missing": ("x",),
}
KEYS = ("name", "root", "synthetic", "access", "types", "label_separator", "more")
VALUES: tuple[Any, ...] = (
    None,
    "",
    "..",
    "/nowhere",
    0,
    True,
    [],
    {},
    {"label": "int"},
    ["x"],
    "x" * 300,
)
DRESSES = ("as it is", "semicolons", "mark", "UTF-16", "cut", "a cell too many", "no header", "CR")


@dataclass(frozen=True)
class OwnTable:
    """A table that `Catalog.write` wrote, and what happened to it since.

    Attributes:
        name: of the file.
        cells: row, column and new value of cells.
        about: keys and new values of the record beside it.
        dress: how the text of a CSV was saved again.
    """

    name: str
    cells: list[tuple[int, str, Any]]
    about: list[tuple[str, Any]]
    dress: str

    def make(self, root: Path) -> None:
        """Write the images, and the table with its record."""
        (root / "images").mkdir(exist_ok=True)
        for number, image in enumerate(IMAGES):
            (root / image).write_bytes(photo(number))
        path = root / self.name
        rows = range(len(IMAGES))
        table = pl.DataFrame(
            {
                "image": IMAGES,
                "label": [("shoe", "hat")[row % 2] for row in rows],
                "group": [f"p{row // 2}" for row in rows],
                "split": [("train", "train", "val", "test")[row // 2] for row in rows],
                "box_x": [1.0] * len(rows),
                "box_y": [2.0] * len(rows),
                "box_w": [9.0] * len(rows),
                "box_h": [8.0] * len(rows),
                "price": [9.5] * len(rows),
            }
        )
        Catalog(table, "photos", str(root)).write(path)
        if path.suffix == ".parquet":
            self._edit_parquet(path)
        else:
            self._edit_text(path)

    def _edit_parquet(self, path: Path) -> None:
        about = json.loads(pl.read_parquet_metadata(path)[METADATA_KEY]) | dict(self.about)
        table = pl.read_parquet(path.read_bytes())
        for row, column, value in self.cells:
            if column in table.columns:
                cells = [*table[column]]
                cells[row] = _plain(value)
                table = table.with_columns(pl.Series(column, cells, strict=False))
        table.write_parquet(path, metadata={METADATA_KEY: json.dumps(about)})

    def _edit_text(self, path: Path) -> None:
        about = json.loads(about_path(path).read_text(encoding="utf-8")) | dict(self.about)
        about_path(path).write_text(json.dumps(about), encoding="utf-8")
        table = pl.read_csv(path, infer_schema=False)
        for row, column, value in self.cells:
            if column in table.columns:
                cells = [*table[column]]
                cells[row] = None if value is None else str(_plain(value))
                table = table.with_columns(pl.Series(column, cells, dtype=pl.String))
        text = table.write_csv(separator=";" if self.dress == "semicolons" else ",")
        _, _, rows = text.partition("\n")
        text = {
            "mark": "\ufeff" + text,
            "a cell too many": f"{text}1,2,3,4,5,6,7,8,9,10,11,12\n",
            "no header": rows,
            "CR": text.replace("\n", "\r"),
            "cut": text[: len(text) // 2],
        }.get(self.dress, text)
        path.write_bytes(text.encode("utf-16" if self.dress == "UTF-16" else "utf-8"))


def _plain(value: Any) -> Any:
    """Half a surrogate pair is in no file of UTF-8."""
    return value.replace("\ud83d", "?") if isinstance(value, str) else value


@st.composite
def own_tables(draw: st.DrawFn) -> OwnTable:
    """A table with up to three changes."""
    cells = []
    for _ in range(draw(st.integers(0, 2))):
        column = draw(st.sampled_from([*COLUMNS]))
        value = draw(st.sampled_from(COLUMNS[column]))
        cells.append((draw(st.integers(0, len(IMAGES) - 1)), column, value))
    one = st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES))
    about = draw(st.one_of(st.just([]), st.lists(one, max_size=1)))
    name = draw(st.sampled_from(["own.csv", "own.parquet", "own.tsv"]))
    return OwnTable(name, cells, about, draw(st.sampled_from(DRESSES)))
