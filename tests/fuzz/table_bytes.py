"""Tables of every kind and encoding, broken in many ways, and what reading owes to each."""

from __future__ import annotations

import functools
import gzip
import io
import json
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl

from shopsight.datasets.open import open_catalog
from shopsight.errors import ShopsightError
from shopsight.io.parquet import PARQUET_MARK
from shopsight.io.thrift import ThriftReader
from shopsight.labels.label_names import read_label_map
from shopsight.memory import use_memory_budget
from shopsight.tables.table_files import read_table
from tests.fuzz.file_bytes import photo
from tests.fuzz.limits import named
from tests.fuzz.mutations import Mutation

# Less than the process may have: libraries take some, and end it where they get none.
BUDGET_GB = 1.0
ROWS = 40


def read_as_table(path: Path) -> str:
    """Read the rows, then the catalog that they make: each is one, or an error that says where."""
    _make_images(path.parent)
    with use_memory_budget(BUDGET_GB):
        try:
            table, _ = read_table(str(path))
            assert table.width > 0
            catalog = open_catalog(path)
            assert catalog.table["image"].null_count() == 0
        except ShopsightError as error:
            return named(error)
    return "catalog"


def read_as_labels(path: Path) -> str:
    """Read names of labels."""
    with use_memory_budget(BUDGET_GB):
        try:
            names, _ = read_label_map(path, ["0", "1"])
        except ShopsightError as error:
            return named(error)
    assert all(isinstance(name, str) for pair in names.items() for name in pair)
    return "labels"


def _make_images(folder: Path) -> None:
    images = folder / "images"
    if not images.is_dir():
        images.mkdir()
        for number in range(4):
            (images / f"{number}.jpg").write_bytes(photo(number))


def _columns() -> dict[str, list[object]]:
    return {
        "image": [f"images/{number % 4}.jpg" for number in range(ROWS)],
        "label": [("shoe", "h\u00fct", "r\u00f6ck")[number % 3] for number in range(ROWS)],
        "price": [number / 4 for number in range(ROWS)],
        "split": [("train", "train", "test")[number % 3] for number in range(ROWS)],
    }


def _text(separator: str = ",", end: str = "\n") -> str:
    rows = zip(*_columns().values(), strict=True)
    cells = [list(_columns()), *rows]
    return end.join(separator.join(f"{cell}" for cell in row) for row in cells) + end


@functools.cache
def tables() -> dict[str, bytes]:
    """Whole tables, by a name that has the suffix of their kind."""
    lists = _columns() | {"tags": [["a", "b"][: number % 3] for number in range(ROWS)]}
    lines = "".join(
        json.dumps(dict(zip(lists, row, strict=True))) + "\n"
        for row in zip(*lists.values(), strict=True)
    )
    quoted = '"image";"label"\r\n' + '"images/1.jpg";"a ""new"" shoe,\r\n blue"\r\n' * 9
    return {
        "utf-8.csv": _text().encode(),
        "bom.csv": _text().encode("utf-8-sig"),
        "latin.csv": _text(";", "\r\n").encode("latin-1"),
        "dos.csv": _text("|", "\r").encode("cp850"),
        "wide.tsv": _text("\t").encode("utf-16"),
        "wider.csv": _text().encode("utf-32"),
        "japanese.csv": _text().replace("h\u00fct", "\u5e3d\u5b50").replace("\u00f6", "o").encode(
            "shift-jis"
        ),
        "quoted.csv": quoted.encode(),
        "packed.csv.gz": gzip.compress(_text().encode(), mtime=0),
        "lines.jsonl": lines.encode(),
        "list.txt": "".join(f"images/{n % 4}.jpg {n % 3}\n" for n in range(ROWS)).encode(),
        "counted.txt": b"2\nimage_name category_label\nimages/1.jpg  3\nimages/2.jpg  1\n",
    }  # fmt: skip


@functools.cache
def parquet_files() -> dict[str, bytes]:
    """Whole Parquet files: packed in all ways, of several row groups, nested, of all types."""
    plain = pl.DataFrame(_columns())
    nested = plain.with_columns(
        photo=pl.Series([{"bytes": photo(1), "path": "a.jpg"}] * ROWS),
        tags=pl.Series([["a", "b"], []] * (ROWS // 2)),
        deep=pl.Series([[[1], [2, 3]], None] * (ROWS // 2)),
        nothing=pl.lit(None),
    )
    types = plain.with_columns(
        kind=pl.col("label").cast(pl.Categorical),
        day=pl.lit(date(2024, 2, 3)),
        cost=pl.lit(1).cast(pl.Decimal(10, 2)),
        vector=pl.Series([[1, 2, 3]] * ROWS, dtype=pl.Array(pl.Int8, 3)),
        sale=pl.Series([True, None] * (ROWS // 2)),
        blob=pl.lit(b"\xff\xd8\xff"),
    )
    hub = {"info": {"features": {"code": {"_type": "ClassLabel", "names": ["shoe", "hat"]}}}}
    codes = plain.with_columns(code=pl.Series([0, 1] * (ROWS // 2)))
    found = {
        f"{packing}.parquet": _parquet(plain, compression=packing, row_group_size=15)
        for packing in ("uncompressed", "zstd", "snappy", "gzip", "lz4", "brotli")
    }
    return found | {
        "nested.parquet": _parquet(nested),
        "types.parquet": _parquet(types, statistics="full", data_page_size=50),
        "hub.parquet": _parquet(codes, metadata={"huggingface": json.dumps(hub)}),
    }


def _parquet(table: pl.DataFrame, **options: object) -> bytes:
    file = io.BytesIO()
    table.write_parquet(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


@functools.cache
def label_files() -> dict[str, bytes]:
    """Whole lists of names of labels."""
    return {
        "names.json": b'{"id2label": {"0": "shoe", "1": "hat"}}',
        "categories.json": json.dumps([{"id": n, "name": f"n{n}"} for n in range(2)]).encode(),
        "python.txt": b"{0: 'shoe', 1: 'hat',}",
        "names.yaml": b"names:\n  0: shoe\n  1: 'hat'\nnc: 2\n",
        "names.pbtxt": b"item {\n  id: 0\n  display_name: 'shoe'\n}\nitem { id: 1 name: 'hat' }\n",
        "lines.txt": b"0 shoe\n1: hat\n",
        "map.csv": b"label,to\nshoe,shoes\nhat,\n",
        "ids.tsv": b"class_id\tclass_name\n0\tshoe\n1\that\n",
    }


class _Integers(ThriftReader):
    """Notes where the integers of a struct lie."""

    def __init__(self, data: bytes, place: int, end: int) -> None:
        super().__init__(data, place, end)
        self.places: list[tuple[int, int]] = []

    def _varint(self) -> int:
        begin = self.place
        value = super()._varint()
        self.places.append((begin, self.place))
        return value


LARGE = (0, 1, 63, 2**16, 10**6, 10**8, 2**31 - 1, 2**32, 10**12, 2**62, 2**63, 2**64 - 1)
"""Integers as they are written: zigzag, so that odd ones are negative."""


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _set_integer(data: bytes, begin: int, end: int, rng: random.Random) -> tuple[bytes, int]:
    """The data with one integer of the struct between two places exchanged, and how much grew."""
    reader = _Integers(data, begin, end)
    try:
        reader.struct()
    except (ValueError, TypeError):
        return data, 0
    if not reader.places:
        return data, 0
    start, stop = rng.choice(reader.places)
    written = _varint(rng.choice(LARGE))
    return data[:start] + written + data[stop:], len(written) - (stop - start)


def edit_footer(data: bytes, rng: random.Random) -> bytes:
    """Exchange numbers in a footer that can be read on: rows, sizes, places, types."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        length = int.from_bytes(data[-8:-4], "little")
        begin = len(data) - 8 - length
        if begin < len(PARQUET_MARK) or not length:
            return data
        data, more = _set_integer(data, begin, len(data) - 8, rng)
        if length + more < 0:
            return data
        data = data[:-8] + (length + more).to_bytes(4, "little") + data[-4:]
    return data


def edit_page(data: bytes, rng: random.Random) -> bytes:
    """Exchange a number in the header of the first page; mostly it gets longer or shorter."""
    return _set_integer(data, len(PARQUET_MARK), len(data), rng)[0]


def deepen(data: bytes, rng: random.Random) -> bytes:
    """Nest what stands in a text, or make a number or a word of it very long."""
    at = rng.randrange(len(data) + 1)
    count = rng.choice((10, 1000, 100_000))
    more = rng.choice((b"[", b'{"a":', b"(", b"-", b"9", b"x", b'"', b"\n", b",", b"\0", b"["))
    return data[:at] + more * count + data[at:]


IN_TEXT: tuple[Mutation, ...] = (deepen,)
IN_PARQUET: tuple[Callable[[bytes, random.Random], bytes], ...] = (edit_footer, edit_page)
