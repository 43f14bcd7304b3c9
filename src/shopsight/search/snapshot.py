"""A consistent copy of an index, also beside a running owner.

What has a number in a log is never changed, so it can be copied while the owner writes on. Only a
swap of generations takes files away: then the copy begins anew with the new one. The engine is not
copied; the copy's first opening builds it from the log.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from shopsight import progress
from shopsight.errors import SearchError, WriteError
from shopsight.files import atomic_folder, make_folder
from shopsight.search.change_log import ChangeLog
from shopsight.search.generation import CENTER_FILE, INFO_FILE, LOG, read_info
from shopsight.search.index_folder import CURRENT_FILE, SOURCES_FILE, IndexFolder
from shopsight.search.strangers import STRANGERS_FILE

TRIES = 10


def snapshot(folder: Path | str, out: Path | str) -> int:
    """Copy an index to a new folder; the copy opens as an index.

    Args:
        folder: of the index; another process may have it open.
        out: the new folder.

    Returns:
        Number of items in the copy.

    Raises:
        SearchError: there is no index, or `out` exists.
        WriteError: the disk is full.
    """
    source, target = IndexFolder(folder), Path(out)
    if target.exists():
        raise SearchError("exists", where=str(target), fix="name a folder that is not there")
    for _ in range(TRIES):
        number = source.current()
        try:
            return _copied(source, number, target)
        except (FileNotFoundError, WriteError, SearchError):
            if source.current() == number:
                raise
            progress.notify("the index was compacted meanwhile: copying the new generation")
    raise SearchError("the index changes faster than it can be copied", where=str(folder))


def _copied(source: IndexFolder, number: int, target: Path) -> int:
    place = source.place(number)
    log = ChangeLog(place / LOG, read_info(place).schema_)
    last = log.last()
    live = log.live(until=last)
    needed = sum(file.stat().st_size for file in (place / LOG).rglob("*") if file.is_file())
    with atomic_folder(target, needed_bytes=needed) as part:
        copy = IndexFolder(part)
        copy.create(url=source.url)
        for name in (SOURCES_FILE, STRANGERS_FILE):
            if (source.path / name).is_file():
                shutil.copyfile(source.path / name, part / name)
        generation = copy.place(number)
        make_folder(generation / LOG)
        for name in (INFO_FILE, CENTER_FILE):
            if (place / name).is_file():
                shutil.copyfile(place / name, generation / name)
        changes = [one for one in log.numbers() if one <= last]
        with progress.task("Copying", len(changes), "changes") as advance:
            for one in changes:
                shutil.copytree(log.place(one), generation / LOG / log.place(one).name)
                advance(1)
        copy.set_current(number)
        assert (part / CURRENT_FILE).is_file()
    log.close()
    return live.height
