"""Tables and lists of images as spreadsheets, scripts and shops write them, whole and broken."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import strategies as st

from tests.fuzz.file_bytes import contents, photo

IMAGES = tuple(f"images/{number}.jpg" for number in range(8))
"""The images that lie beside each table."""

ODD_IMAGES: tuple[Any, ...] = (
    *("", " ", None, "nan", "images/missing.jpg", "images/0.JPG", "0.jpg", "0", "images/0"),
    *(
        "images\\1.jpg",
        "./images/1.jpg",
        "images//1.jpg",
        "../in/images/1.jpg",
        "images",
        ".",
        "..",
    ),
    *("/home/me/shop/images/1.jpg", "C:\\shop\\images\\2.jpg", "\\\\server\\share\\images\\2.jpg"),
    *(
        "file:images/1.jpg",
        "file:///etc/hostname",
        "file://host/images/1.jpg",
        "FILE:///images/1.jpg",
    ),
    *("s3://bucket/1.jpg", "gs://bucket/1.jpg", "az://box/1.jpg", "S3://b/k", "abfs://x@y/1.jpg"),
    *("HTTP://127.0.0.1:1/1.jpg", "http://127.0.0.1:1/1.jpg", "https://[::1]:1/1.jpg", "http://"),
    *(
        "http://127.0.0.1:99999/1.jpg",
        "http://[::1",
        "http://127.0.0.1:x/1.jpg",
        "ftp://127.0.0.1:1/a",
    ),
    *(
        "zip://a.jpg::http://127.0.0.1:1/a.zip",
        "memory://1.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
    ),
    *("unknown://x/1.jpg", "javascript:alert(1)", "mailto:a@b", "://", "http:///1.jpg", "//1.jpg"),
    *("<p><em>nice shoe</em></p>", '<img src="images/1.jpg">', '{"url": "images/1.jpg"}', "[]"),
    *('["images/1.jpg", "images/2.jpg"]', "images/1.jpg|images/2.jpg", "images/1.jpg,images/2.jpg"),
    *("images/\0.jpg", "images/\n1.jpg", "x" * 300 + ".jpg", "x/" * 3000, "~/1.jpg", "$HOME/1.jpg"),
    *(
        "images/*.jpg",
        "images/1.jpg?x=1",
        "images/1.jpg#a",
        "images/%31.jpg",
        "-",
        "--out",
        "\ud83d",
    ),
    *(0, 1.5, True, "=HYPERLINK(1)", "Kl\u00e4der.jpg", "\u202e1.jpg", "images/1.jpg " * 50),
)
ODD_LABELS: tuple[Any, ...] = (
    *("", " ", None, "nan", "NaN", "null", "None", "none", "N/A", "-", "0", "0.0", "1e5", "-1"),
    *("['a', 'b']", "['a' 'b']", "('a',)", "{'a', 'b'}", "{a: 1}", "[a, b]", "[]", "[1, 0, 1]"),
    *('["a", "b"]', "array(['a', 'b'], dtype=object)", "[1. 0. 0.]", "tensor([0, 1])", "[['a']]"),
    *(
        "['a', 'b'",
        "a|b",
        "a, b",
        "a;b",
        "a b",
        "shoe,",
        ",shoe",
        "shoe/hat",
        "(rare)",
        "[[[[" * 99,
    ),
    *(
        "Shoe",
        "SHOE",
        " shoe",
        "shoe ",
        "scho\u0308n",
        "sch\u00f6n",
        "x" * 5000,
        "a\nb",
        "a\0b",
        "\x07",
    ),
    *(
        "\u202e",
        "\ufeffshoe",
        "\u00a0",
        "../../x",
        "/",
        "CON",
        ".",
        "..",
        "=1+1",
        "\U0001f45f",
        "true",
    ),
    *(
        0,
        1,
        1.5,
        float("nan"),
        float("inf"),
        True,
        "<b>shoe</b>",
        "{label}",
        "%s",
        "\\x00",
        "\ud83d",
    ),
)
ODD_NUMBERS: tuple[Any, ...] = (
    *(
        0,
        -5,
        1,
        3,
        10,
        1e9,
        -1e300,
        0.5,
        float("nan"),
        float("inf"),
        None,
        "",
        "7",
        "7,5",
        "wide",
        "1e3",
    ),
)
HEADERS = {
    "image": (
        "image",
        "filename",
        "file",
        "path",
        "image_url",
        "Image Src",
        "url",
        "id",
        "picture",
    ),
    "label": ("label", "class", "category", "target", "articleType", "tags", "labels", "Type"),
    "split": ("split", "set", "subset", "is_valid", "fold"),
    "group": ("group", "product_id", "sku", "productDisplayName"),
    "box": ("box_x", "box_y", "box_w", "box_h"),
    "text": ("title", "description", "text", "Body (HTML)"),
}
ODD_HEADERS = (
    "",
    " ",
    "image",
    "label",
    "Image ",
    "\ufefflabel",
    "images/1.jpg",
    "a,b",
    "x" * 500,
    "\0",
)
ENCODINGS = (
    *("utf-8",) * 6,
    *("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1", "shift_jis", "gb18030"),
    *("cp437", "cp1251", "utf-7", "euc-kr"),
)
SPLIT_CELLS = ("train", "val", "test", "Training", "validation", "", "all", "0", "1", None)


@dataclass(frozen=True)
class Table:
    """A file beside its images.

    Attributes:
        name: of the file.
        data: its bytes.
    """

    name: str
    data: bytes

    def make(self, root: Path) -> None:
        """Write the images and the table."""
        (root / "images").mkdir(exist_ok=True)
        for number, image in enumerate(IMAGES):
            (root / image).write_bytes(photo(number))
        (root / self.name).write_bytes(self.data)

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {self.data[:600]!r}{'...' * (len(self.data) > 600)})"


def _mostly(usual: st.SearchStrategy[Any], odd: tuple[Any, ...], often: int) -> Any:
    return st.integers(0, often).flatmap(
        lambda number: st.sampled_from(odd) if not number else usual
    )


def _cells(kind: str, often: int) -> st.SearchStrategy[Any]:
    usual: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
        "image": (IMAGES, ODD_IMAGES),
        "label": (("shoe", "hat", "dress"), ODD_LABELS),
        "split": (("train", "train", "val", "test"), SPLIT_CELLS),
        "group": (("p1", "p2", "p3", "p4"), ODD_LABELS),
        "box": ((1, 2, 8, 10), ODD_NUMBERS),
        "text": (("a blue shoe", "two hats"), ODD_LABELS),
        "any": (("x", "y"), (*ODD_IMAGES, *ODD_LABELS, *ODD_NUMBERS)),
    }
    cells, odd = usual[kind]
    return _mostly(st.sampled_from(cells), odd, often)


Rows = list[list[Any]]


@st.composite
def grids(draw: st.DrawFn, *, most: int = 16, least: int = 0) -> tuple[list[str], Rows]:
    """The header and rows of a table; mostly it names images and their labels."""
    extra = st.sampled_from(["label", "label", "image", "split", "group", "text", "any", "any"])
    kinds = ["image", "label", *draw(st.lists(extra, max_size=3))]
    kinds += ["box"] * (4 if draw(st.integers(0, 4)) == 0 else 0)
    if draw(st.integers(0, 15)) == 0:
        kinds = draw(st.permutations(kinds))[: draw(st.integers(0, 3))]
    # How often a cell is an odd one.
    often = draw(st.sampled_from([3, 10, 40, 10_000, 10_000]))
    header, boxes = [], iter(HEADERS["box"])
    for kind in kinds:
        usual = (next(boxes),) if kind == "box" else HEADERS.get(kind, ("x", "y", "price"))[:3]
        any_header = (*HEADERS.get(kind, ("z",)), *ODD_HEADERS)
        header.append(draw(_mostly(st.sampled_from(usual), any_header, often)))
    count = draw(st.integers(least, most))
    return header, [[draw(_cells(kind, often)) for kind in kinds] for _ in range(count)]


@st.composite
def delimited(draw: st.DrawFn, *, least: int = 0, broken: bool = True) -> Table:
    """A CSV, TSV or list, in any encoding, with what happens to such files."""
    header, rows = draw(grids(least=least))
    text = io.StringIO()
    separator = draw(st.sampled_from([",", ",", ",", ",", ",", ";", "\t", "|", " "]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    lines = rows if draw(st.integers(0, 9)) == 0 else [header, *rows]
    for row in lines:
        writer.writerow(["" if cell is None else cell for cell in row])
    whole = text.getvalue()
    if broken:
        whole = draw(edited(whole, separator, end))
    encoding = draw(st.sampled_from(ENCODINGS))
    data = whole.encode(encoding, errors="replace" if encoding != "utf-8" else "surrogatepass")
    name = draw(
        st.sampled_from(["t.csv", "t.csv", "t.tsv", "t.txt", "t.CSV", "t.data", "t.csv.gz", "t"])
    )
    if name.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    return Table(name, draw(cut(data)) if broken else data)


@st.composite
def edited(draw: st.DrawFn, text: str, separator: str, end: str) -> str:
    """The text of a table after one or two of the usual accidents, or none."""
    accidents: dict[str, Callable[[str], str]] = {
        "a cell too many": lambda text: text.rstrip() + f"{separator}more{end}",
        "a cell too few": lambda text: text + f"images/1.jpg{end}",
        "a quote": lambda text: text + f'images/1.jpg{separator}"open{end}',
        "a quote within": lambda text: text + f'images/1.jpg{separator}12" hat{end}',
        "a zero byte": lambda text: text + f"images/1.jpg{separator}\0{end}",
        "no last end": lambda text: text.rstrip(),
        "blank lines": lambda text: text.replace(end, end * 3),
        "a comment": lambda text: f"# written by hand{end}{text}",
        "a separator line": lambda text: f"sep={separator}{end}{text}",
        "another separator line": lambda text: f"sep=;{end}{text}",
        "twice": lambda text: text + text,
        "a title": lambda text: f"Products of 2026{end}{end}{text}",
        "mixed ends": lambda text: text.replace(end, "\r\n", 1),
        "a huge cell": lambda text: text + "x" * 200_000 + end,
        "many columns": lambda text: separator.join("x" * 3000) + end + text,
        "a mark": lambda text: "\ufeff" + text,
        "conflict": lambda text: f"<<<<<<< HEAD{end}{text}======={end}>>>>>>> main{end}",
        "only a header": lambda text: text.split(end)[0] + end,
    }
    for accident in draw(st.lists(st.sampled_from([*accidents]), max_size=1)):
        text = accidents[accident](text)
    return text


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes, of which sometimes the end is missing or some are others."""
    accident = draw(st.integers(0, 19))
    at = draw(st.integers(0, len(data))) if accident < 3 else 0
    if accident == 0:
        return data[:at]
    if accident == 1:
        return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at + 8 :]
    if accident == 2:
        return draw(st.sampled_from([*contents().values()]))
    return data


def _column(kind: str, cells: list[Any], dtype: str) -> pl.Series:
    texts = [None if cell is None else str(cell).replace("\ud83d", "?") for cell in cells]
    numbers = range(len(cells))
    makers: dict[str, Callable[[], pl.Series]] = {
        "text": lambda: pl.Series(texts, dtype=pl.String),
        "category": lambda: pl.Series(texts, dtype=pl.String).cast(pl.Categorical),
        "binary": lambda: pl.Series([photo(number % 8) for number in numbers], dtype=pl.Binary),
        "list": lambda: pl.Series([[text] for text in texts], dtype=pl.List(pl.String)),
        "lists": lambda: pl.Series(
            [[[text], []] for text in texts], dtype=pl.List(pl.List(pl.String))
        ),
        "struct": lambda: pl.Series(
            [{"bytes": photo(number % 8), "path": text} for number, text in enumerate(texts)],
            dtype=pl.Struct({"bytes": pl.Binary, "path": pl.String}),
        ),
        "other struct": lambda: pl.Series(
            [{"a": text} for text in texts], dtype=pl.Struct({"a": pl.String})
        ),
        "whole": lambda: pl.Series([number - 1 for number in numbers], dtype=pl.Int64),
        "small": lambda: pl.Series([number % 3 for number in numbers], dtype=pl.UInt8),
        "float": lambda: pl.Series(
            [float("nan"), *map(float, numbers)][: len(cells)], dtype=pl.Float64
        ),
        "bool": lambda: pl.Series([number % 2 == 0 for number in numbers], dtype=pl.Boolean),
        "null": lambda: pl.Series([None for _ in numbers], dtype=pl.Null),
        "date": lambda: pl.Series([datetime.date(2026, 1, 1) for _ in numbers], dtype=pl.Date),
        "time": lambda: pl.Series([datetime.timedelta(1) for _ in numbers], dtype=pl.Duration),
        "decimal": lambda: pl.Series([Decimal("1.50") for _ in numbers], dtype=pl.Decimal(10, 2)),
        "vector": lambda: pl.Series(
            [[float(number == place % 3) for number in range(3)] for place in numbers],
            dtype=pl.List(pl.Float32),
        ),
        "array": lambda: pl.Series([[1, 0] for _ in numbers], dtype=pl.Array(pl.Int64, 2)),
    }
    return makers[dtype]()


_DTYPES = (
    *("text",) * 8,
    *("category", "binary", "list", "lists", "struct", "other struct", "whole", "small", "float"),
    *("bool", "null", "date", "time", "decimal", "vector", "array"),
)


@st.composite
def parquets(draw: st.DrawFn, *, least: int = 0, broken: bool = True) -> Table:
    """A Parquet file with columns of every type, sometimes cut off."""
    header, rows = draw(grids(least=least))
    columns: dict[str, pl.Series] = {}
    for place, name in enumerate(header):
        dtype = draw(st.sampled_from(_DTYPES))
        cells = [row[place] for row in rows]
        columns[name.replace("\0", "")] = _column(name, cells, dtype)
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    data = buffer.getvalue()
    name = draw(st.sampled_from(["t.parquet", "t.parquet", "t.pq", "t.csv", "T.PARQUET"]))
    return Table(name, draw(cut(data)) if broken else data)


def tables(*, least: int = 0, broken: bool = True) -> st.SearchStrategy[Table]:
    """A table of any kind."""
    text = delimited(least=least, broken=broken)
    return st.one_of(text, text, text, parquets(least=least, broken=broken))
