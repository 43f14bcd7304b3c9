r"""Paths of another machine, or of another folder: which files here they mean.

`C:\Users\me\shop\images\a.jpg` under `data/images` is `a.jpg`, because both paths end in
`images/a.jpg`. A folder of the names is taken to be the folder here whose path ends in most of the
same parts; what comes before them, on either side, is a *start*. One start holds for everything
below it: beside `/shop/hats` that is `photos/hats`, the names of `/shop/shirts` are looked for in
`photos/shirts` and nowhere else, even if another folder has files of the same names. The shorter
start goes first, so that the longest ends decide.

The bare name of a file is no evidence. It counts only where a start says in which folder it must
be; where the user named one folder, the names are all of one folder, and every one is there; or,
in a table of bare names, where its files are spread over many folders, each name in one of them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from shopsight.image_files.file_lookup import Folders, Listing, Match
from shopsight.image_files.name_spellings import LOOSE_WAYS, plain, spellings, stem_of
from shopsight.paths import full, is_url, join

Parts = tuple[str, ...]
"""The names of the folders of a path, in lower case and one Unicode form."""

MANY_FOLDERS = 8
MOST_IN_ONE_FOLDER = 0.5
"""A folder with more of a table's files than this fraction is the folder of the table."""

_NUMBERS = re.compile(r"\d+")


def match_tails(
    folders: Folders,
    root: str,
    names: Collection[str],
    *,
    most_folders: int | None = None,
    take_whole_folder: bool = False,
    take_spread: bool = False,
) -> dict[str, Match]:
    """Find the files that names of another place mean.

    Args:
        folders: what was listed already.
        root: the folder or URL below which the files lie.
        names: paths of any system, none of which leads to a file as it stands.
        most_folders: how many folders below `root` to look into; None looks into all.
        take_whole_folder: take `root` for the one folder of all names if it has all their files.
        take_spread: take names without any folder for those of files in several folders.

    Returns:
        A match for each name that has one; with several files where it is not clear. Files are
        relative to `root`.
    """
    heads: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        if not is_url(name):
            head, _, base = _simplest(name).rpartition("/")
            heads[head].append((name, base))
    rows: dict[Parts, list[tuple[str, str]]] = defaultdict(list)
    for head, bases in heads.items():
        rows[_parts(head)] += bases
    bare = rows.pop((), [])
    if not rows:
        return _spread(_Tree.of(folders, root, most_folders), bare) if take_spread else {}
    tree = _Tree.of(folders, root, most_folders)
    found = _by_starts(tree, rows)
    if not found and take_whole_folder and len(rows) == 1:
        (bases,) = rows.values()
        matches = {name: tree.find([""], base, "folder") for name, base in bases}
        return matches if all(match.files for match in matches.values()) else {}
    return found


@dataclass
class _Tree:
    """The folders below a root that hold files.

    Attributes:
        folders: what was listed.
        root: the folder or URL.
        by_path: names of folders relative to `root`, by all parts of their full path.
        by_end: full paths, by each of their ends.
    """

    folders: Folders
    root: str
    by_path: dict[Parts, list[str]] = field(default_factory=lambda: defaultdict(list))
    by_end: dict[Parts, list[Parts]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, folders: Folders, root: str, most_folders: int | None) -> _Tree:
        tree = cls(folders, root)
        above = _parts(full(root))
        for name in folders.walk(root, most=most_folders):
            if not tree.listing(name).files:
                continue
            path = (*above, *_parts(name))
            if path not in tree.by_path:
                for start in range(len(path)):
                    tree.by_end[path[start:]].append(path)
            tree.by_path[path].append(name)
        return tree

    def listing(self, name: str) -> Listing:
        return self.folders.listing(join(self.root, name))

    def find(self, places: Collection[str], base: str, way: str) -> Match:
        """The files of this name in any of the folders; those that differ least."""
        hits = [(place, self.listing(place).find_file(base)) for place in places]
        hits = [(place, match) for place, match in hits if match.files]
        if not hits:
            return Match()
        least = min(len(match.ways) for _, match in hits)
        nearest = [(place, match) for place, match in hits if len(match.ways) == least]
        files = tuple(place + file for place, match in nearest for file in match.files)
        return Match(files, (way, *nearest[0][1].ways))

    def holders(self, places: Collection[str]) -> dict[str, list[str]]:
        """Those of many folders that hold a file, by its stem."""
        found: dict[str, list[str]] = defaultdict(list)
        for place in places:
            for stem in {plain(stem_of(file)) for file in self.listing(place).files}:
                found[stem].append(place)
        return found


def _spread(tree: _Tree, bases: list[tuple[str, str]]) -> dict[str, Match]:
    """Match bare names to files that lie in several folders, as data sets of many images do.

    `images_001/`, `images_002/`, or a folder for each class or for the first digits of an id. A
    name that several folders have tells that they do not share the files of one table; and beside
    a folder with most of them, another one with the missing ones proves nothing, unless their
    names differ in numbers alone.
    """
    places = [name for names in tree.by_path.values() for name in names]
    holders = tree.holders(places)
    found: dict[str, Match] = {}
    used: Counter[str] = Counter()
    for name, base in bases:
        stems = dict.fromkeys((plain(stem_of(base)), plain(base)))
        these = list(dict.fromkeys(place for stem in stems for place in holders.get(stem, ())))
        match = tree.find(these, base, "spread")
        if len(match.files) > 1:
            return {}
        if match.files and LOOSE_WAYS.isdisjoint(match.ways):
            found[name] = match
            used[match.files[0].rpartition("/")[0]] += 1
    alike = len({_NUMBERS.sub("", folder) for folder in used}) == 1
    is_spread = len(used) > 1 and (alike or max(used.values()) <= len(found) * MOST_IN_ONE_FOLDER)
    return found if is_spread else {}


def _by_starts(tree: _Tree, rows: dict[Parts, list[tuple[str, str]]]) -> dict[str, Match]:
    """Match the names below each start, the shortest first."""
    starts: dict[Parts, set[Parts]] = defaultdict(set)
    for head in rows:
        for begin in range(len(head)):
            if head[begin:] in tree.by_end:
                end = len(head) - begin
                starts[head[:begin]] |= {path[:-end] for path in tree.by_end[head[begin:]]}
                break
    found: dict[str, Match] = {}
    waiting = set(rows)
    for length in sorted({len(start) for start in starts}):
        below: dict[Parts, list[Parts]] = defaultdict(list)
        for head in waiting:
            if head[:length] in starts and len(head) >= length:
                below[head[:length]].append(head)
        for start, heads in below.items():
            matches: dict[str, Match] = {}
            for head in heads:
                ends = sorted(here + head[length:] for here in starts[start])
                places = [name for path in ends for name in tree.by_path.get(path, ())]
                matches |= _in_folders(tree, places, rows[head])
            if matches:
                found |= matches
                waiting -= set(heads)
    return found


def _in_folders(tree: _Tree, places: list[str], bases: list[tuple[str, str]]) -> dict[str, Match]:
    holders = tree.holders(places) if len(places) > MANY_FOLDERS else None
    found = {}
    for name, base in bases:
        these = places
        if holders is not None:
            stems = (plain(stem_of(base)), plain(base))
            these = list(dict.fromkeys(place for stem in stems for place in holders.get(stem, ())))
        match = tree.find(these, base, "tail")
        if match.files:
            found[name] = match
    return found


def _simplest(name: str) -> str:
    """A name with slashes, without a query, and decoded."""
    *_, (simplest, _) = spellings(name)
    return simplest.replace("\\", "/")


def _parts(path: str) -> Parts:
    return tuple(part for part in plain(path).split("/") if part not in {"", ".", ".."})
