"""The engine of an index on a disk that cannot be written: opened from a copy in the cache.

An engine in process opens its files for writing, also for a search alone. A share without the right
to write, or a medium that is read-only, still holds a whole index: its items and vectors are read
where they lie, and the engine's files are copied for as long as the index is open.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from shopsight import progress
from shopsight.cache_place import cache_folder
from shopsight.errors import ReadOnlyError, WriteError
from shopsight.files import make_folder, scratch_folder
from shopsight.search.disk_room import PIECE_BYTES
from shopsight.text import command_line
from shopsight.write_errors import check_room

BLOCK_BYTES = 1 << 20


class EngineCopy:
    """The files of an engine in a folder that can be written, until `close`.

    Args:
        engine: folder of the engine; one that is not there leaves the copy empty.

    Raises:
        ReadOnlyError: nothing can be written in the cache either, or it has no room.
    """

    def __init__(self, engine: Path) -> None:
        self._open = ExitStack()
        index = engine.parents[2]
        try:
            self.folder = self._open.enter_context(scratch_folder(cache_folder() / "engines" / "x"))
            copy_with_holes(engine, self.folder)
        except (WriteError, OSError) as error:
            self._open.close()
            said = error.what if isinstance(error, WriteError) else error.strerror
            raise ReadOnlyError(
                "an engine is opened for writing, and neither the index nor the cache can be "
                f"written: {said}",
                where=str(index),
                details=[f"the cache is {cache_folder()}"],
                fix="set SHOPSIGHT_CACHE to a folder that you may write in\n"
                + command_line(["shopsight", "index", "snapshot", index, "--out", "COPY"]),
            ) from error
        progress.notify("the index cannot be written here: searched in a copy of its engine")

    def close(self) -> None:
        """Remove the copy."""
        self._open.close()


def copy_with_holes(source: Path, target: Path) -> None:
    """Copy the files below a folder; blocks of zeros become holes, as they are in engines' files.

    An engine of 60 items is half a megabyte on the disk, and 90 MB for whoever copies its zeros.
    """
    files = [path for path in source.rglob("*") if path.is_file()]
    check_room(target, sum(_held_bytes(path) for path in files) + 2 * PIECE_BYTES)
    for path in files:
        copied = target / path.relative_to(source)
        make_folder(copied.parent)
        with path.open("rb") as reader, copied.open("wb") as writer:
            while block := reader.read(BLOCK_BYTES):
                if block.count(0) < len(block):
                    writer.write(block)
                else:
                    writer.seek(len(block), 1)
            writer.truncate()


def _held_bytes(path: Path) -> int:
    state = path.stat()
    return getattr(state, "st_blocks", -(-state.st_size // 512)) * 512
