"""The file of a table: its bytes, what they are, and its rows.

Everything that is read as a table comes through here: DATA, tables of shopsight's own, label maps.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.errors import ArchiveError, LocationError, RemoteError, TableError, first_line
from shopsight.images.kinds import HEAD_BYTES, KINDS, kind_of_bytes
from shopsight.io.access import PUBLIC, Access
from shopsight.io.archives import zip_names
from shopsight.io.compressed import GZIP_MARK, gunzip, gunzip_start
from shopsight.io.local_files import open_file
from shopsight.io.opening import TABLE_BYTES, read_location
from shopsight.io.parquet import PARQUET_MARK, read_parquet
from shopsight.memory import memory_budget_bytes
from shopsight.read_options import ReadOptions
from shopsight.tables.delimited import as_delimited
from shopsight.tables.encodings import decode_table
from shopsight.tables.hub_features import with_class_names
from shopsight.tables.table_names import is_json_lines, is_parquet
from shopsight.tables.table_room import TOO_LARGE
from shopsight.tables.text_rows import to_frame
from shopsight.text import as_unicode, command_line, lines_of

AS_CSV = "open it in its program and export the table as CSV (UTF-8)"
_TO_CSV = "import polars as pl; pl.read_json('FILE').write_csv('table.csv')"
_JSON_AS_CSV = f"{command_line(['python', '-c', _TO_CSV])}   (writes its rows as CSV)"
RowReader = Callable[[str, str, ReadOptions], tuple[pl.DataFrame, list[str]]]
"""From the text of a table, its path and how to read it to its rows, and notes."""

MOST_LEVELS = 16
"""Of lists and objects within one another in JSON lines; types of a hundred take minutes."""

_OLD_OFFICE_MARK = b"\xd0\xcf\x11\xe0"
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# Half of a character beyond the BMP, escaped alone or within a pair.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_START_BYTES = 65_536
# In a workbook.
_MOST_NAMES = 10_000
_JSON_LOOKED_AT_BYTES = 1_000_000


def read_table(
    path: str, read: ReadOptions | None = None, *, read_rows: RowReader | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """Read a table as it is, cells of text as text (so that "050" stays "050"); and its notes.

    Args:
        path: a file or URL.
        read: its encoding, and what to do with rows of too many or too few cells.
        read_rows: reads the rows of a text; None reads those of a table whose first row names the
            columns.

    Raises:
        TableError: no such file, not a table, rows that do not fit, or an encoding that is unknown
            or does not fit.
    """
    read = read or ReadOptions()
    data = read_bytes(path, Access(read.allow_private))
    if _is_parquet(path, data):
        if read.encoding is not None:
            raise TableError("--encoding is for text tables, not for Parquet", where=path)
        table, notes = with_class_names(_read_parquet(data, path), data)
        return _stripped(table, path), notes
    text, notes = read_text(data, path, read)
    del data  # Its text is as large, and its rows are larger.
    if is_json_lines(path):
        return _stripped(_read_json_lines(text, path), path), notes
    table, row_notes = (read_rows or _read_rows)(text, path, read)
    return table, [*notes, *row_notes]


def _read_rows(text: str, path: str, read: ReadOptions) -> tuple[pl.DataFrame, list[str]]:
    return to_frame(as_delimited(text, path), path, on_bad_row=read.choice("on_bad_row"))


def read_bytes(path: str, access: Access = PUBLIC) -> bytes:
    """The bytes of a table that the user named, unpacked when they are gzip's.

    Args:
        path: a file or URL.
        access: which files, hosts and stores may be read, beside the one in `path`.

    Raises:
        TableError: there is no such file, or it cannot be read.
        RemoteError: its address cannot be read.
    """
    # Its text and its rows are in memory with it.
    most_bytes = min(TABLE_BYTES, memory_budget_bytes() // 4)
    try:
        data = read_location(path, access.typed(path), most_bytes=most_bytes)
    except OSError as error:
        raise TableError(error.strerror or str(error), where=path) from error
    except RemoteError:
        raise
    except LocationError as error:
        raise TableError(error.what, where=path, fix=error.fix or TOO_LARGE) from error
    if not data.startswith(GZIP_MARK):
        return data
    try:
        return gunzip(data, most_bytes=most_bytes)
    except ArchiveError as error:
        fix = TOO_LARGE if error.reason == "too large" else "copy or download it again"
        raise TableError(error.what, where=path, fix=fix) from error


def start_of(path: Path | str) -> bytes:
    """The first bytes of a file, unpacked when they are gzip's.

    Raises:
        OSError: it cannot be read.
        ArchiveError: it cannot be unpacked.
    """
    with open_file(path) as opened:
        start = opened.read(_START_BYTES)
    return gunzip_start(start, _START_BYTES) if start.startswith(GZIP_MARK) else start


def read_start(file: Path) -> str:
    """The first lines of a text file; nothing where it is no text."""
    try:
        start = start_of(file)
        whole = start if len(start) < _START_BYTES else start[: start.rfind(b"\n") + 1]
        return read_text(whole, str(file), ReadOptions())[0]
    except (OSError, ArchiveError, TableError):
        return ""


def _is_parquet(path: str, data: bytes) -> bool:
    """Whether a table is to be read as Parquet: by its bytes, else by its name."""
    if data.startswith(PARQUET_MARK):
        return True
    if not is_parquet(path):
        return False
    refuse_other_kinds(data, path)
    raise TableError(
        f"not a Parquet file: it begins with {data[:12]!r}" if data else "the file is empty",
        where=path,
        fix="copy or download it again; a text table needs a name that ends in .csv",
    )


def read_text(data: bytes, path: str, read: ReadOptions) -> tuple[str, list[str]]:
    """Decode a text table; and a note on the encoding that was taken.

    Raises:
        TableError: the bytes are no text, or another kind of text than a table.
    """
    refuse_other_kinds(data, path)
    return decode_table(data, read.encoding, path)


def refuse_other_kinds(data: bytes, path: str) -> None:
    """Refuse, by name, what is no table but lies under a table's name.

    Raises:
        TableError: an office document, a web page, an archive, an image, ...
    """
    found = _other_kind(data, path)
    if found is not None:
        words, way_out = found
        raise TableError(f"{words}, not a table", where=path, fix=way_out)


def _other_kind(data: bytes, path: str) -> tuple[str, str] | None:
    """What the bytes are instead of a table, and the way out."""
    head = data[:HEAD_BYTES]
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(data)
    if head.startswith(_OLD_OFFICE_MARK):
        return "an Excel workbook (or another document of Microsoft Office)", AS_CSV
    kind = kind_of_bytes(head)
    if kind == "json" and not is_json_lines(path):
        return _kind_of_json(data)
    if kind == "git-lfs":
        return "a Git LFS pointer", "git lfs pull   (gets the file itself)"
    if kind in {"html", "xml"}:
        return KINDS[kind].words, "a server sent it instead of the table; download it again"
    # A header may begin like an image: `ID3`, `P1 name`.
    if kind in {None, "text"} or not (kind == "pdf" or _NOT_TEXT.search(head)):
        return None
    return KINDS[kind].words, KINDS[kind].way_out or AS_CSV


def _kind_of_json(data: bytes) -> tuple[str, str] | None:
    end = data.rstrip()[-1:]
    if end not in {b"]", b"}"}:
        return None  # Only the first cell looks like JSON.
    if end == b"}" and re.search(rb"\}\s*\n\s*\{", data[:_JSON_LOOKED_AT_BYTES]):
        return "JSON lines", "give it a name that ends in .jsonl"
    if data.lstrip()[:1] == b"{":
        of_coco = b'"annotations"' in data and b'"images"' in data
        columns = "file_name,category" + ",bbox_x,bbox_y,bbox_width,bbox_height" * of_coco
        words = "annotations of COCO" if of_coco else "a JSON object"
        return words, f"write its rows as CSV with a header such as {columns}"
    return "JSON", _JSON_AS_CSV


def _kind_of_zip(data: bytes) -> tuple[str, str]:
    try:
        names = zip_names(data, most=_MOST_NAMES)
    except ArchiveError as error:
        if error.reason == "too large":
            return "a zip archive", "unpack it, and name the table in it"
        return "a zip archive that is damaged or cut off", "copy or download it again"
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook", AS_CSV
    if "mimetype" in names and "content.xml" in names:
        return "an OpenDocument file", AS_CSV
    return "a zip archive", "unpack it, and name the table in it"


def _read_parquet(data: bytes, path: str) -> pl.DataFrame:
    try:
        return read_parquet(data)
    except LocationError as error:
        raise TableError(error.what, where=path, fix=TOO_LARGE) from error
    except (OSError, ValueError) as error:
        is_whole = data.endswith(PARQUET_MARK)
        raise TableError(
            f"the Parquet file is {'damaged' if is_whole else 'cut off'}: {first_line(error)}",
            where=path,
            fix="copy or download it again",
        ) from error


def _read_json_lines(text: str, path: str) -> pl.DataFrame:
    """An object a line; values of text stay text."""
    rows = []
    for number, line in enumerate(lines_of(text), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            why = first_line(error) if isinstance(error, ValueError) else "nested too deeply"
            raise TableError(f"line {number:,} is not JSON: {why}", where=path) from error
        if _is_deeper(row, MOST_LEVELS):
            raise TableError(
                f"line {number:,} is nested more than {MOST_LEVELS} levels deep", where=path
            )
        if _SURROGATE.search(line):
            row = _as_unicode(row)
        if not isinstance(row, dict):
            raise TableError(
                f"line {number:,} is not a JSON object",
                where=path,
                fix=_JSON_AS_CSV if isinstance(row, list) else None,
            )
        rows.append(row)
    try:
        return pl.DataFrame(rows, infer_schema_length=None)
    except (
        pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError,
        OverflowError, RecursionError,
    ) as error:  # fmt: skip
        raise TableError(
            f"a value is not of the same kind in every line: {first_line(error)}", where=path
        ) from error


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether a value of JSON is nested more than so many levels deep."""
    if not isinstance(value, dict | list):
        return False
    within = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in within)


def _as_unicode(value: Any) -> Any:
    """A value of JSON in which texts have escapes where they are no Unicode."""
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, list):
        return [_as_unicode(one) for one in value]
    if isinstance(value, dict):
        return {as_unicode(key): _as_unicode(one) for key, one in value.items()}
    return value


def _stripped(table: pl.DataFrame, path: str) -> pl.DataFrame:
    """The table with names of columns without blanks around them."""
    names = [name.strip() for name in table.columns]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise TableError(
            f"two columns are named {twice[0]!r}",
            where=path,
            details=["blanks around names do not count"],
            fix="rename one of them",
        )
    return table.rename(dict(zip(table.columns, names, strict=True)))
