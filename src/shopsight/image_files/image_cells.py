r"""What a cell of a table's image column names: a file, an address, several of them, or nothing.

Shop exports write `["https://.../1.jpg", "https://.../2.jpg"]`, `1.jpg|2.jpg`, `="00123"`,
`file:///C:/photos/1.jpg`, and now and then a description in HTML where the image should be.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import polars as pl

from shopsight.images.kinds import has_image_suffix
from shopsight.paths import is_url
from shopsight.tables.cell_text import as_text

# The longest path of Linux, and the longest name of a file, in bytes. What is longer is a text,
# or an image written as one.
MAX_LENGTH = 4096
MAX_NAME_LENGTH = 255
MIN_LONG = 60
# What stands for nothing, unless a file is named so.
NOTHING = frozenset(
    {"", "-", "--", "?", "nan", "null", "none", "nil", "na", "n/a", "#n/a", "<na>", "undefined"}
)
# What needs no closer look, in the regular expressions of polars: a path of any system, or an
# address, without anything around it and without what may stand between several.
_ORDINARY_PATH = r"^(?:[A-Za-z]:)?[\w/\\](?:[\w /\\.-]*\w)?$"
_ORDINARY_ADDRESS = (
    r"^(?i:https?|s3|gs|gcs|az|abfss?)://[^\s\x00-\x1f\x7f\x{200b}\x{feff}<]*"
    r"[^\s\x00-\x1f\x7f\x{200b}\x{feff}<|;,]$"
)
_TWO_ADDRESSES = r"://.*://"
_BLANKS = "\ufeff\u200b\u00a0 \t\r\n"
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d", "\u2018": "\u2019", "`": "`"}
# Only where such characters begin: each of a hundred thousand would be a beginning otherwise.
_NEXT_URL = re.compile(r"(?<![\s|;,])[\s|;,]+(?=[A-Za-z][\w+.-]+://)")
_TAG = re.compile(r"<[A-Za-z!/][^<>]*>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL_KEYS = ("url", "src", "path", "image", "file", "filename", "file_name", "href", "link")


@dataclass(frozen=True)
class ImageNames:
    """What the cells of a column name.

    Attributes:
        names: a path or address for each row; empty where the cell names none.
        num_several: number of cells that name several images, of which the first is taken.
        example: such a cell; empty when there is none.
    """

    names: list[str]
    num_several: int = 0
    example: str = ""


def read_image_cells(column: pl.Series) -> ImageNames:
    """Read the cells of an image column: text, numbers (ids), or lists."""
    if isinstance(column.dtype, pl.List | pl.Array):
        lists = column.cast(pl.List(pl.String), strict=False).to_list()
        named = [[one for one in cell or () if one] for cell in lists]
        several = [row for row, these in enumerate(named) if len(these) > 1]
        names = [read_name(these[0]) if these else "" for these in named]
        return ImageNames(names, len(several), str(lists[several[0]]) if several else "")
    text = as_text(column).fill_null("")
    odd = text.filter(~_is_ordinary(text))
    cells = odd.unique(maintain_order=True)
    read = [_several(cell) for cell in cells]
    first = pl.Series([read_name(these[0]) if these else "" for these in read], dtype=pl.String)
    several_cells = cells.filter(pl.Series([len(these) > 1 for these in read], dtype=pl.Boolean))
    return ImageNames(
        text.replace(cells, first).to_list() if len(cells) else text.to_list(),
        int(odd.is_in(several_cells.implode()).sum()),
        several_cells[0] if len(several_cells) else "",
    )


def read_name(text: str) -> str:
    r"""The path or address that a text names, without what stands around it; empty for none.

    >>> read_name(' "./a b.jpg" '), read_name("file:///C:/My%20photos/1.jpg")
    ('a b.jpg', 'C:/My photos/1.jpg')
    """
    name = _bare(text)
    if _TAG.search(name) or _CONTROL.search(name) or _is_too_long(name):
        return ""
    lower = name[:5].lower()
    if lower == "data:":
        return ""
    if lower == "file:":
        name = _path_of_file_url(name)
    while name.startswith(("./", ".\\")):
        name = name[2:].lstrip("/\\")
    return "" if name in {".", ".."} else name


def names_a_file(name: str) -> bool:
    """Whether a path or address ends like that of an image, before a query."""
    return has_image_suffix(re.split(r"[?#]", name, maxsplit=1)[0])


def stands_for_nothing(name: str) -> bool:
    """Whether a text that leads to no file is a way to write that there is none."""
    return name.lower() in NOTHING


def _is_ordinary(text: pl.Series) -> pl.Series:
    """Which cells are names as they stand: of a million, all but a few."""
    path = (text.str.len_bytes() <= MAX_NAME_LENGTH) & text.str.contains(_ORDINARY_PATH)
    address = text.str.contains(_ORDINARY_ADDRESS) & ~text.str.contains(_TWO_ADDRESSES)
    return path | address


def _is_too_long(name: str) -> bool:
    if len(name) < MIN_LONG or is_url(name):
        return False
    parts = name.replace("\\", "/").split("/")
    return len(name) > MAX_LENGTH or any(len(part.encode()) > MAX_NAME_LENGTH for part in parts)


def _bare(text: str) -> str:
    name = text.strip(_BLANKS)
    if name.startswith('="') and name.endswith('"'):
        # How spreadsheets are kept from taking an id for a number.
        name = name[1:]
    while len(name) > 1 and _QUOTES.get(name[0]) == name[-1]:
        name = name[1:-1].strip(_BLANKS)
    return name


def _several(text: str) -> Sequence[str]:
    """The images that a cell names; the cell itself where it names one."""
    text = text.strip(_BLANKS)
    if text[:1] in {"[", "{", "("} and text[-1:] in {"]", "}", ")"}:
        listed = _from_list(text)
        if listed is not None:
            return listed
    urls = _NEXT_URL.split(text)
    if len(urls) > 1 and is_url(urls[0]):
        return [url.strip(_BLANKS + "|;,") for url in urls]
    for mark in ("|", "\n", ";", ","):
        parts = [part for part in map(_bare, text.split(mark)) if part]
        if len(parts) > 1 and not is_url(text) and all(map(has_image_suffix, parts)):
            return parts
    return [text.rstrip("|;,") if is_url(text) else text]


def _from_list(text: str) -> list[str] | None:
    """The texts of a list in JSON or Python; None when it is none."""
    for parse in (json.loads, ast.literal_eval):
        try:
            values = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        values = list(values) if isinstance(values, list | tuple | set) else [values]
        return [name for value in values if (name := _of_item(value))]
    return None


def _of_item(value: object) -> str:
    if isinstance(value, dict):
        lower = {str(key).lower(): one for key, one in value.items()}
        value = next((lower[key] for key in _URL_KEYS if lower.get(key)), "")
    return value if isinstance(value, str) else ""


def _path_of_file_url(url: str) -> str:
    path = unquote(url[len("file:") :])
    if path.startswith("///"):
        path = path[2:]
    elif path.lower().startswith("//localhost/"):
        path = path[len("//localhost") :]
    # A drive stands after the slash that begins the path.
    return path[1:] if re.match(r"/[A-Za-z]:[/\\]", path) else path
