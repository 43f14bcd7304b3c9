"""Tables and lists of text, as spreadsheets, scripts and shops write them, whole and broken."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.cells import IMAGES, grids
from tests.fuzz.file_bytes import contents, photo

ENCODINGS = (
    *("utf-8",) * 6,
    *("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1", "shift_jis", "gb18030"),
    *("cp437", "cp1251", "utf-7", "euc-kr"),
)


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
