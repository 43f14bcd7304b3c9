"""What is known of each image that was fetched: `fetch.parquet`, and the journal beside it.

A Parquet file is written as a whole, so what was learned since is a line of JSON in a journal. It
is removed when the table is written; what an interrupted or killed command left of it is read by
the next one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.errors import DamagedFileError
from shopsight.fetching.image_content import suffix_of_kind
from shopsight.files import atomic_file, damage_named
from shopsight.held_files import remove_file
from shopsight.images.kinds import is_image_kind
from shopsight.io.json_files import parse_json
from shopsight.io.local_files import read_file
from shopsight.io.parquet import read_parquet
from shopsight.io.web_request import Validators
from shopsight.write_errors import write_errors_named

TABLE_NAME, JOURNAL_NAME = "fetch.parquet", "fetch.unfinished.jsonl"
JOURNAL_BYTES = 4 << 30
"""The most that a journal may have."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_START_ANEW = "delete it: the next command asks for every image anew, and keeps the files"


@dataclass(slots=True)
class FetchRecord:
    """What is known of one image at an address.

    Attributes:
        canonical_url: by which it is known, see `ImageAddress`.
        url: as the table had it when the file came, or the request failed.
        version: of that address, see `ImageAddress`.
        sha256: of the file; None where there is none.
        format: of the file, a key of `images.kinds.KINDS`.
        bytes: of the file.
        width: pixels, upright; None of a format that is not read.
        height: likewise.
        etag: by what the server knows the file.
        last_modified: likewise.
        final_url: the address that gave it, behind redirects.
        asked_width: for which width the server was asked; None for the original.
        status: of the last answer; None where there was none.
        when: of the last answer or failure, ISO 8601.
        reason: why the last request failed, in a word; None where it did not.
        error: the same in a sentence.
    """

    canonical_url: str
    url: str
    version: str = ""
    sha256: str | None = None
    format: str | None = None
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    final_url: str | None = None
    asked_width: int | None = None
    status: int | None = None
    when: str | None = None
    reason: str | None = None
    error: str | None = None

    @property
    def file(self) -> str | None:
        """The path of the file below the folder of images; None where there is none."""
        if self.sha256 is None or self.format is None:
            return None
        return f"{self.sha256[:2]}/{self.sha256}{suffix_of_kind(self.format)}"

    @property
    def validators(self) -> Validators | None:
        """By what the server is asked whether the file changed."""
        if self.sha256 is None or self.final_url is None:
            return None
        return Validators(self.final_url, self.etag, self.last_modified)


_NUMBERS = frozenset({"bytes", "width", "height", "asked_width", "status"})
_NAMES = [one.name for one in fields(FetchRecord)]
SCHEMA = {name: pl.Int64 if name in _NUMBERS else pl.String for name in _NAMES}


def read_records(folder: Path) -> dict[str, FetchRecord]:
    """What is known of the images in a folder, by canonical address; empty of a new folder.

    Raises:
        DamagedFileError: the table is none of ours.
    """
    found = dict[str, FetchRecord]()
    table = folder / TABLE_NAME
    if table.exists():
        with damage_named(table, fix=_START_ANEW):
            rows = read_parquet(table)
            if not set(_NAMES) <= set(rows.columns):
                raise DamagedFileError("has other columns", where=str(table), fix=_START_ANEW)
            for row in rows.select(_NAMES).iter_rows(named=True):
                _add(found, row)
    journal = folder / JOURNAL_NAME
    if journal.exists():
        with damage_named(journal, fix=_START_ANEW):
            for line in read_file(journal, most_bytes=JOURNAL_BYTES).splitlines():
                try:
                    _add(found, parse_json(line))
                except ValueError:
                    # The command was killed while it wrote this line, which is the last one.
                    break
    return found


def _add(found: dict[str, FetchRecord], row: Mapping[str, Any]) -> None:
    """Take a row that is one; a stranger's table leads to no file outside the folder.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(row, Mapping) or not set(_NAMES) <= set(row):
        raise ValueError("not a record")
    values = {name: row[name] for name in _NAMES}
    kinds = {name: int if name in _NUMBERS else str for name in _NAMES}
    if any(value is not None and type(value) is not kinds[name] for name, value in values.items()):
        raise ValueError("not a record")
    if None in (values["canonical_url"], values["url"], values["version"]):
        raise ValueError("not a record")
    record = FetchRecord(**values)
    is_file = _SHA256.fullmatch(record.sha256 or "") and is_image_kind(record.format)
    if record.sha256 is not None and not is_file:
        raise ValueError("not a file of the folder")
    found[record.canonical_url] = record


def append_journal(folder: Path, records: Iterable[FetchRecord]) -> None:
    """Add records whose files are in their places.

    Raises:
        WriteError: the disk is full.
    """
    lines = "".join(json.dumps(asdict(record)) + "\n" for record in records)
    journal = folder / JOURNAL_NAME
    with write_errors_named(journal), journal.open("a", encoding="utf-8", newline="\n") as file:
        file.write(lines)


def write_records(folder: Path, records: Mapping[str, FetchRecord]) -> None:
    """Write the table, and remove the journal, which it holds.

    Raises:
        WriteError: it cannot be written; the journal stays.
    """
    rows = [asdict(record) for record in records.values()]
    with atomic_file(folder / TABLE_NAME, keep=False) as part:
        pl.DataFrame(rows, schema=SCHEMA).write_parquet(part)
    remove_file(folder / JOURNAL_NAME)
