"""All image names of a table or a run to the files that they mean under one folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from shopsight.errors import CatalogError
from shopsight.image_files.file_lookup import Folders, Match
from shopsight.image_files.name_spellings import LOOSE_WAYS, WAYS, plain
from shopsight.image_files.path_tails import match_tails
from shopsight.paths import is_full, is_url
from shopsight.text import as_unicode, counted, listed

TAIL_WAYS = frozenset({"tail", "folder"})
# Of a path such as /home/me/shop/a.jpg, so many folders say of which machine it is.
TELLING_FOLDERS = 2


@dataclass(frozen=True)
class FoundFiles:
    """Where the images of some names are.

    Attributes:
        names: what was looked for.
        files: for each name the file relative to the root (or a full path), under its own name;
            None where it is missing or not clear. URLs are taken as they are.
        ways: for the rows whose name is not exactly the file's: how it differs, keys of `WAYS`.
        unclear: files that a name could mean equally well, for each such name.
        shared: names that could only be matched to a file that another name has as well, for
            each such file.
    """

    names: Sequence[str]
    files: list[str | None]
    ways: dict[int, tuple[str, ...]] = field(default_factory=dict)
    unclear: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def num_found(self) -> int:
        """Number of rows with a file."""
        return sum(file is not None for file in self.files)

    @property
    def num_moved(self) -> int:
        """Number of rows whose file was found by the end of its path."""
        return sum(not TAIL_WAYS.isdisjoint(ways) for ways in self.ways.values())

    def notes(self) -> list[str]:
        """A line for each way in which names differ from those of the files, with an example."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, ways in self.ways.items():
            for way in ways:
                rows[way].append(row)
        return [
            f"{WAYS[way]}: {counted(len(these), 'row')}, e.g. {self.names[these[0]]} is "
            f"{as_unicode(str(self.files[these[0]]))}"
            for way, these in rows.items()
        ]

    def refuse_unclear(self, where: str) -> None:
        """Stop where a name could mean several files, or two names one file.

        Args:
            where: what the names come from, for the error.

        Raises:
            CatalogError: there are such names; the candidates are named.
        """
        if self.unclear:
            raise CatalogError(
                f"{counted(len(self.unclear), 'image name')} could mean several files",
                where=where,
                details=[f"{name}: {listed(files)}" for name, files in self.unclear.items()],
                fix="write the names in the table exactly as the files are named, with their "
                "folders\n--images-root DIR names the one folder to look in",
            )
        if self.shared:
            raise CatalogError(
                f"different image names lead to one file: {counted(len(self.shared), 'file')}",
                where=where,
                details=[f"{file}: {listed(names)}" for file, names in self.shared.items()],
                fix="write the names in the table exactly as the files are named, with their "
                "folders\n--images-root DIR names the folder with all of them",
            )


def find_files(
    names: Sequence[str],
    root: str,
    *,
    folders: Folders | None = None,
    most_folders: int | None = None,
    take_whole_folder: bool = True,
    take_spread: bool = False,
) -> FoundFiles:
    r"""Find the files that names mean: as they stand under `root`, else by the ends of their paths.

    Args:
        names: paths relative to `root`, paths of this or of another machine, URLs; with slashes of
            either kind. An empty name has no file.
        root: a folder or URL.
        folders: what was listed already.
        most_folders: how many folders below `root` to look into for the ends of paths; None: all.
        take_whole_folder: take `root` for the one folder elsewhere of all names, if it holds a
            file for each of them; for a root that the user named.
        take_spread: let names without a folder be files in several folders below `root`.
    """
    folders = folders or Folders()
    found = FoundFiles(names, [None] * len(names))
    for row, name in enumerate(names):
        if is_url(name) and "\\" not in name:
            found.files[row] = name
        elif name:
            _keep(found, row, folders.find(root, name))
    elsewhere = _elsewhere(found)
    if elsewhere:
        # Names that stand for themselves show that the root is not the folder of others.
        take_whole_folder &= found.num_found == 0
        matches = match_tails(
            folders,
            root,
            dict.fromkeys(names[row] for row in elsewhere),
            most_folders=most_folders,
            take_whole_folder=take_whole_folder,
            take_spread=take_spread and found.num_found == 0,
        )
        for row in elsewhere:
            if names[row] in matches:
                _keep(found, row, matches[names[row]])
    _part_names_of_one_file(found)
    return found


def _keep(found: FoundFiles, row: int, match: Match) -> None:
    if len(match.files) == 1:
        found.files[row] = match.files[0]
        if match.ways:
            found.ways[row] = match.ways
    elif match.files:
        found.unclear[found.names[row]] = match.files


def _elsewhere(found: FoundFiles) -> list[int]:
    """Rows whose start leads nowhere here, so that they may be names of another place."""
    if None not in found.files:
        return []
    starts: set[tuple[str, ...]] = set()
    relative = False
    missing = []
    for row, (name, file) in enumerate(zip(found.names, found.files, strict=True)):
        if file is None:
            if name and name not in found.unclear and not is_url(name):
                missing.append(row)
        elif is_full(name):
            starts.add(_start_of(name))
        else:
            relative = True
    return [
        row
        for row in missing
        if (
            _start_of(found.names[row]) not in starts if is_full(found.names[row]) else not relative
        )
    ]


def _start_of(name: str) -> tuple[str, ...]:
    parts = [part for part in name.replace("\\", "/").lower().split("/") if part]
    return tuple(parts[:-1][:TELLING_FOLDERS])


def _part_names_of_one_file(found: FoundFiles) -> None:
    """Keep a file for the name that is its own, and refuse it to two that are nearly its own."""
    loose = {
        row for row, ways in found.ways.items() if not (LOOSE_WAYS | TAIL_WAYS).isdisjoint(ways)
    }
    if not loose:
        return
    own = {file for row, file in enumerate(found.files) if row not in loose}
    names: dict[str, set[str]] = defaultdict(set)
    for row in loose:
        file = found.files[row]
        assert file is not None
        if file in own and LOOSE_WAYS.isdisjoint(found.ways[row]):
            names[file] |= {found.names[row], file}
        elif file in own:
            found.files[row] = None
            del found.ways[row]
        else:
            names[file].add(found.names[row])
    for file, these in names.items():
        # One path may be written with slashes of both kinds, and in upper and lower case.
        if len({plain(name.replace("\\", "/")) for name in these}) > 1:
            found.shared[file] = tuple(sorted(these))
