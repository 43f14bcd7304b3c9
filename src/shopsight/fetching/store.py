"""A folder of images by content: `images/ab/abcdef....jpg`, named by the sha256 of the bytes."""

from __future__ import annotations

import time
from pathlib import Path

from shopsight.errors import WriteError
from shopsight.fetching.records import (
    JOURNAL_NAME,
    FetchRecord,
    append_journal,
    read_records,
    write_records,
)
from shopsight.files import FileGroup
from shopsight.held_files import remove_file

IMAGES = "images"
"""The folder of the image files, below that of the tables."""

# What a killed command loses at most: it is asked for again.
PIECE_IMAGES, PIECE_BYTES, PIECE_S = 256, 64 << 20, 5.0


def longest_path(folder: Path) -> Path:
    """The longest path that a file in the folder has; before any work, whether it may be one."""
    return folder / IMAGES / "00" / f"{'0' * 64}.jpeg2000"


class PhotoStore:
    """Images on disk, and what is known of each.

    A record is written after its file is in its place: it never promises what is not there.

    Args:
        folder: of the tables; only one process may write it.

    Attributes:
        records: by canonical address, those of former commands too.

    Raises:
        DamagedFileError: the table of a former command cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.records = read_records(folder)
        if (folder / JOURNAL_NAME).exists():
            # Of a killed command, whose last line may be half of one.
            write_records(folder, self.records)
        self._files = FileGroup()
        self._waiting: list[FetchRecord] = []
        self._waiting_files: set[str] = set()
        self._waiting_bytes = 0
        self._since_s = time.monotonic()

    def path_of(self, record: FetchRecord) -> Path | None:
        """Where the file of a record is."""
        return None if record.file is None else self._folder / IMAGES / record.file

    def has_file(self, record: FetchRecord) -> bool:
        """Whether the file of a record is there, as long as it was; it may have been removed."""
        path = self.path_of(record)
        try:
            return path is not None and path.stat().st_size == record.bytes
        except OSError:
            return False

    def keep(self, record: FetchRecord, content: bytes | None) -> None:
        """Keep what was learned of an image, and its file where it was sent.

        Raises:
            WriteError: the disk is full.
        """
        name = record.file
        if content is not None and name is not None and name not in self._waiting_files:
            path = self._folder / IMAGES / name
            # One content at several addresses is one file.
            if not self.has_file(record):
                remove_file(path)
                self._files.write(path, content)
                self._waiting_files.add(name)
                self._waiting_bytes += len(content)
        self._waiting.append(record)
        if (
            len(self._waiting) >= PIECE_IMAGES
            or self._waiting_bytes >= PIECE_BYTES
            or time.monotonic() - self._since_s > PIECE_S
        ):
            self.settle()

    def settle(self) -> None:
        """Have the disk hold what was kept.

        Raises:
            WriteError: a file cannot take its place; nothing is recorded then.
        """
        errors = self._files.settle()
        waiting, self._waiting = self._waiting, []
        self._waiting_files.clear()
        self._waiting_bytes = 0
        kept = [record for record in waiting if record.file is None or self.has_file(record)]
        append_journal(self._folder, kept)
        self.records |= {record.canonical_url: record for record in kept}
        self._since_s = time.monotonic()
        if errors:
            raise WriteError(errors[0].what, where=errors[0].where, fix=errors[0].fix) from errors[
                0
            ]

    def finish(self) -> None:
        """Write the table of all records.

        Raises:
            WriteError: it cannot be written; the journal holds what it would.
        """
        self.settle()
        write_records(self._folder, self.records)
