"""An index on disk: its folder, the pointer to its generation, and where its images come from.

    INDEX/
        index.json        format, id, the address of a server
        current.json      the generation that is searched; the one file that a swap replaces
        sources.json      the folders that images are relative to, and what may be read for them
        generations/      see `shopsight.search.generation`

A generation that is being built has a name of its own (`000002.building`, `000002.migrating`)
until it is whole. What a killed process left of a build is removed by the next opening; a
migration, which took hours, is kept for the command that resumes it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight import paths
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.seal import is_sealed, sealed
from shopsight.errors import SearchError, ShopsightError, first_line
from shopsight.files import discard_folder, make_folder, write_json
from shopsight.held_files import replace
from shopsight.io.access import Access
from shopsight.io.confinement import real_root
from shopsight.io.json_files import read_json
from shopsight.leftovers import sweep_once
from shopsight.safe_names import PART_PREFIX
from shopsight.search.engines import drop_engine
from shopsight.search.generation import ENGINE, Generation
from shopsight.search.orphans import end_orphan

INDEX_FILE, CURRENT_FILE, SOURCES_FILE = "index.json", "current.json", "sources.json"
GENERATIONS = "generations"
NUMBER_DIGITS = 6
FORMAT_VERSION = 1
BUILDING, MIGRATING = ".building", ".migrating"


@dataclass(frozen=True)
class Source:
    """Where images of an index come from.

    Attributes:
        root: the folder or URL that they are relative to; empty where each has a full path.
        name: of the catalog.
        access: what may be read for them.
    """

    root: str
    name: str
    access: Access


class IndexFolder:
    """The files of an index; see the module.

    Args:
        path: of the index.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def exists(self) -> bool:
        """Whether there is an index, finished or not."""
        return paths.is_file(self.path / INDEX_FILE)

    def is_built(self) -> bool:
        """Whether it can be searched."""
        return self.exists() and (self.path / CURRENT_FILE).is_file()

    def create(self, *, url: str | None) -> None:
        """Write what an index says of itself."""
        make_folder(self.path / GENERATIONS)
        # Names the collections on a server: no two indexes may have the same.
        about = {"format_version": FORMAT_VERSION, "id": uuid.uuid4().hex, "url": url}
        write_json(self.path / INDEX_FILE, about)

    def about(self) -> dict[str, Any]:
        """The content of index.json.

        Raises:
            SearchError: there is no index, it is damaged, or of another format.
        """
        if not self.exists():
            what = "is no index" if paths.exists(self.path) else "no such index"
            raise SearchError(
                what,
                where=str(self.path),
                fix=f"shopsight index build MODEL DATA --out {self.path}",
            )
        try:
            about = dict(read_json(self.path / INDEX_FILE))
            version, identity = about["format_version"], about["id"]
        except (ShopsightError, OSError, KeyError, TypeError, ValueError) as error:
            raise SearchError(
                f"is damaged: {first_line(error)}",
                where=str(self.path / INDEX_FILE),
                fix="take the index from a snapshot, or build it anew",
            ) from error
        if version != FORMAT_VERSION or not isinstance(identity, str):
            raise SearchError(
                f"an index of format {version!r}; this shopsight reads format {FORMAT_VERSION}",
                where=str(self.path),
                fix="install the shopsight that built it, or build it anew",
            )
        return about

    @property
    def url(self) -> str | None:
        """Address of the server that has the engine."""
        url = self.about().get("url")
        return None if url is None else str(url)

    def set_url(self, url: str | None) -> None:
        """Have the engine elsewhere, before there is one: for a build that was interrupted."""
        write_json(self.path / INDEX_FILE, self.about() | {"url": url})

    def current(self) -> int:
        """Number of the generation that is searched.

        Raises:
            SearchError: the index was never finished, or is damaged.
        """
        self.about()
        try:
            return int(read_json(self.path / CURRENT_FILE)["generation"])
        except (ShopsightError, OSError, KeyError, TypeError, ValueError) as error:
            if not (self.path / CURRENT_FILE).exists():
                raise SearchError(
                    "the index is not finished",
                    where=str(self.path),
                    fix="run the same `shopsight index build` again: it goes on from there",
                ) from error
            raise SearchError(
                f"is damaged: {first_line(error)}", where=str(self.path / CURRENT_FILE)
            ) from error

    def set_current(self, number: int) -> None:
        """Have another generation searched: one file is replaced, and flushed."""
        write_json(self.path / CURRENT_FILE, {"generation": number})

    def place(self, number: int, suffix: str = "") -> Path:
        """The folder of a generation."""
        return self.path / GENERATIONS / f"{number:0{NUMBER_DIGITS}d}{suffix}"

    def new_building(self, number: int) -> Path:
        """A folder to build a generation in, which no other process builds in."""
        return self.place(number, f"-{uuid.uuid4().hex[:8]}{BUILDING}")

    def generation(self, number: int, suffix: str = "") -> Generation:
        """A generation that is there."""
        place = self.place(number, suffix)
        return Generation(place, collection=self.collection(number), url=self.url)

    def collection(self, number: int) -> str:
        """Name of a generation's engine on a server."""
        return f"shopsight-{self.about()['id'][:12]}-{number:06d}"

    def sweep(self, *, current: int) -> None:
        """Remove what killed processes left, and generations that were replaced.

        On a server the engine of such a generation goes before its folder here, which is what
        remembers it: where the server does not answer, the next opening tries again.
        """
        # What is written next may lie elsewhere, and these are seldom written to.
        for place in (self.path, self.place(current), self.place(current) / ENGINE):
            sweep_once(place)
        folder = self.path / GENERATIONS
        for one in list(folder.iterdir()) if folder.is_dir() else ():
            is_older = one.name.isdecimal() and int(one.name) != current
            is_part = one.name.endswith(BUILDING) or one.name.startswith(PART_PREFIX)
            if is_older or is_part:
                end_orphan(one)
                with suppress(SearchError):
                    self._drop_engine(one, current=current)
                    discard_folder(one)

    def _drop_engine(self, place: Path, *, current: int) -> None:
        digits = place.name[:NUMBER_DIGITS]
        if digits.isdecimal() and int(digits) != current:
            drop_engine(url=self.url, collection=self.collection(int(digits)))

    def migrating(self, number: int) -> Path:
        """The folder of a migration; one that was interrupted before a compaction is taken up."""
        place = self.place(number, MIGRATING)
        before = sorted((self.path / GENERATIONS).glob(f"*{MIGRATING}"))
        if before and place not in before:
            replace(before[-1], place)
        return place

    def sources(self) -> dict[str, Source]:
        """Where images come from, by their root.

        What somebody else's index says may be read is not believed: only files below the folder
        that the index lies in.
        """
        file = self.path / SOURCES_FILE
        if not file.is_file():
            return {}
        records = read_json(file)
        found = [self._source(record) for record in records if isinstance(record, dict)]
        return {source.root: source for source in found}

    def _source(self, record: Mapping[str, Any]) -> Source:
        root = str(record.get("root", ""))
        if is_sealed(record, None):
            access = Access.from_json(record.get("access"))
        else:
            access = Access(roots=(real_root(str(self.path.parent)),))
        return Source(root, str(record.get("name", "")), access)

    def add_source(self, catalog: Catalog) -> str:
        """Remember where a catalog's images lie, and give its root."""
        root = source_root(catalog)
        file = self.path / SOURCES_FILE
        records = list(read_json(file)) if file.is_file() else []
        record = sealed(
            {"root": root, "name": catalog.name, "access": catalog.access.to_json()}, None
        )
        others = [one for one in records if one.get("root") != root]
        if [*others, record] != records:
            write_json(file, [*others, record])
        return root


def source_root(catalog: Catalog) -> str:
    """The folder or URL that a catalog's images are relative to, however it was written.

    The same folder named from two working directories is one source: what is gone from it is
    looked for among the items of its name.
    """
    root = catalog.root
    return root if not root or paths.is_url(root) else paths.without_dots(paths.full(root))
