r"""From the name of an image, as a table writes it, to the file that it means.

Tables come from other systems and programs: `IMG_1.JPG` for `img_1.jpg`, `a\b.jpg`, accents in
another Unicode form, `.jpeg` for `.jpg`, ids without a suffix or without their leading zeros.
Names are looked up in listings of folders, each read once, so that a table leads to the same files
on every system, under the names that these have. What differs is kept with each match, for a note.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shopsight.errors import RemoteError
from shopsight.image_files.name_spellings import number_of, plain, spellings, stem_of
from shopsight.image_files.scan import is_litter, leads_to_folder
from shopsight.images.idx import idx_member
from shopsight.images.kinds import SUFFIXES_OF_FORMAT, has_image_suffix, suffix_of
from shopsight.io import opening
from shopsight.io.access import PUBLIC
from shopsight.io.addresses import check_protocol, protocol_of
from shopsight.io.confinement import is_inside, is_there_outside, real_root
from shopsight.paths import is_full, is_url, join


@dataclass(frozen=True)
class Match:
    """The files that a name may mean.

    Attributes:
        files: one where it is clear, none where it is missing, several where they are equally near.
        ways: how the name differs from the files', keys of `WAYS`.
    """

    files: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()


NO_MATCH = Match()


@dataclass(frozen=True)
class Listing:
    """What lies in a folder.

    Attributes:
        files: names of its files.
        folders: names of the folders in it.
    """

    files: frozenset[str]
    folders: frozenset[str] = frozenset()

    @cached_property
    def files_by_plain(self) -> dict[str, list[str]]:
        """Files whose names are equal but for case and Unicode form."""
        return _by(plain, self.files)

    @cached_property
    def images_by_stem(self) -> dict[str, list[str]]:
        """Images whose names are equal but for their suffix, case and Unicode form."""
        return _by(lambda name: plain(stem_of(name)), filter(has_image_suffix, self.files))

    @cached_property
    def images_by_number(self) -> dict[str, list[str]]:
        """Images whose names are the same whole number, with and without leading zeros."""
        images = (
            name for name in self.files if has_image_suffix(name) and stem_of(name).isdecimal()
        )
        return _by(lambda name: number_of(stem_of(name)), images)

    @cached_property
    def folders_by_plain(self) -> dict[str, list[str]]:
        """Folders whose names are equal but for case and Unicode form."""
        return _by(plain, self.folders)

    def find_file(self, name: str) -> Match:
        """The file of this name, else the nearest: by form, case, suffix, and digits of an id.

        An image of an IDX file, `train-images-idx3-ubyte#17`, is found by the name of that file.
        """
        if name in self.files:
            return Match((name,))
        member = idx_member(name)
        if member is not None:
            container, index = member
            match = self.find_file(container)
            return Match(tuple(f"{file}#{index}" for file in match.files), match.ways)
        same = self.files_by_plain.get(plain(name))
        if same:
            return _narrowed(same, name, whole)
        # The suffix of an image that a name has may be a part of it: `shoe.v2` is `shoe.v2.jpg`.
        longer = self.images_by_stem.get(plain(name))
        if longer:
            return _narrowed(longer, name, stem_of, "no suffix")
        if has_image_suffix(name):
            others = self.images_by_stem.get(plain(stem_of(name)))
            if others:
                return _narrowed(_of_same_kind(others, name), stem_of(name), stem_of, "suffix")
        # A spreadsheet takes the zeros of an id, not those of a file's name.
        number = number_of(name)
        digits = self.images_by_number.get(number) if number else None
        return Match(tuple(digits), ("digits",)) if digits else NO_MATCH

    def find_folder(self, name: str) -> list[str]:
        """The folder of this name, else those whose names differ in case or form alone."""
        # What leads elsewhere is in no listing.
        if name in self.folders or name in {"", ".", ".."}:
            return [name]
        return self.folders_by_plain.get(plain(name), [])


@dataclass
class Folders:
    """Listings of folders, each folder read once.

    Attributes:
        roots: `Access.roots`. A name that leads out of them, and out of the folder that names are
            looked up in, is taken as it is where there is such a file, without a look into its
            folder: reading it is what is refused.
    """

    roots: tuple[str, ...] | None = None
    _listings: dict[str, Listing] = field(default_factory=dict)
    _places: dict[tuple[str, str], list[tuple[str, Listing]] | None] = field(default_factory=dict)

    def find(self, root: str, name: str) -> Match:
        """The files under `root` that a table may mean by `name`, with their own names.

        Web servers give no listings, and addresses are taken as they are: the audit finds what is
        missing.

        Args:
            root: a folder or URL.
            name: a path with slashes of either kind, or a URL.
        """
        for spelling, way in spellings(name):
            match = self._find(root, spelling)
            if match.files:
                return Match(match.files, way + match.ways) if way else match
        return NO_MATCH

    def listing(self, folder: str) -> Listing:
        """What lies in a folder; nothing where it cannot be listed."""
        bare = folder.rstrip("/")
        # "C:" alone is the working folder of that drive.
        folder = f"{bare}/" if not bare or bare.endswith(":") else bare
        if folder not in self._listings:
            self._listings[folder] = list_folder(folder)
        return self._listings[folder]

    def walk(self, root: str, *, most: int | None = None) -> Iterator[str]:
        """Folders below `root`, itself first and near ones before deep ones.

        Hidden folders and what systems leave behind are left out, and links that lead back.

        Args:
            root: a folder or URL.
            most: stop after so many folders; None goes everywhere.

        Yields:
            Names relative to `root`: empty, or with a slash at the end.
        """
        level, links, count = [""], set[str](), 0
        while level:
            deeper: list[str] = []
            for folder in level:
                yield folder
                count += 1
                if most is not None and count >= most:
                    return
                deeper += [
                    f"{folder}{name}/"
                    for name in sorted(self.listing(join(root, folder)).folders)
                    if not (name.startswith(".") or is_litter(name))
                    and not self._leads_off(root, folder + name, links)
                ]
            level = deeper

    def _leads_off(self, root: str, folder: str, links: set[str]) -> bool:
        """Whether a folder is a link out of the data, or into what is walked anyway."""
        path = join(root, folder)
        # Python 3.11 does not know Windows' junctions.
        is_junction = getattr(os.path, "isjunction", os.path.islink)
        if is_url(root) or not (os.path.islink(path) or is_junction(path)):  # noqa: PTH114
            return False
        if not self._is_inside(root, folder):
            return True
        real, base = os.path.realpath(path), os.path.realpath(root)
        inside = f"{real}{os.sep}".startswith(f"{base}{os.sep}")
        around = f"{base}{os.sep}".startswith(f"{real}{os.sep}")
        if inside or around or real in links:
            return True
        links.add(real)
        return False

    def _find(self, root: str, name: str) -> Match:
        head, slash, base = name.rpartition("/")
        places = self._places_of(root, head + slash)
        if places is None:
            return Match((name,))
        if places is _OUTSIDE:
            return Match((name,)) if self._is_there(root, name) else NO_MATCH
        if not places:
            return NO_MATCH
        best = NO_MATCH
        for place, listing in places:
            match = listing.find_file(base)
            files = tuple(place + file for file in match.files)
            best = Match(best.files + files, best.ways or match.ways)
        if best.files and places[0][0] != head + slash:
            ways = _ways_between(head + slash, places[0][0])
            return Match(best.files, tuple(dict.fromkeys((*ways, *best.ways))))
        return best

    def _places_of(self, root: str, head: str) -> list[tuple[str, Listing]] | None:
        """The folders that the start of a name may mean, with what is in each; None of an address.

        A folder is named as a start of names below `root`: empty, or with a slash at its end.
        """
        if (root, head) not in self._places:
            self._places[root, head] = self._look_up(root, head)
        return self._places[root, head]

    def _look_up(self, root: str, head: str) -> list[tuple[str, Listing]] | None:
        start = head if is_full(head) else root
        if is_url(head) or protocol_of(start) in {"http", "https"}:
            return None
        if not self._is_inside(root, head):
            return _OUTSIDE
        if is_full(head):
            folders, base = [head], ""
        else:
            folders, base = [""] if not head else self._folders(root, head.rstrip("/")), root
        listings = (
            (folder, self.listing(join(base, folder)))
            for folder in folders
            if self._is_inside(root, folder)
        )
        return [(folder, listing) for folder, listing in listings if listing.files]

    def _is_inside(self, root: str, folder: str) -> bool:
        """Whether a table may name files in a folder, given in full or relative to `root`."""
        return is_url(root) or is_inside(join(root, folder), self._roots_of(root, folder))

    def _is_there(self, root: str, name: str) -> bool:
        member = idx_member(name)
        file = member[0] if member else name
        return is_there_outside(join(root, file), self._roots_of(root, file) or ())

    def _roots_of(self, root: str, name: str) -> tuple[str, ...] | None:
        if self.roots is None or is_full(name):
            return self.roots
        # shopsight itself looks in this folder, in the table's name.
        return (*self.roots, real_root(root))

    def _folders(self, root: str, path: str) -> list[str]:
        if not path:
            return [""]
        if is_url(root):
            return [f"{path}/"]
        parent, _, last = path.rpartition("/")
        return [
            f"{above}{folder}/"
            for above in self._folders(root, parent)
            if self._is_inside(root, above)
            for folder in self.listing(join(root, above)).find_folder(last)
        ]


# Of names that lead out of the data.
_OUTSIDE: list[tuple[str, Listing]] = [("", Listing(frozenset()))]


def list_folder(folder: str) -> Listing:
    """Names of the files and of the folders in a folder or a store.

    Raises:
        RemoteError: the store refuses, or its driver is missing.
    """
    files: list[str] = []
    folders: list[str] = []
    if is_url(folder):
        files, folders = _list_store(folder)
    else:
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    (folders if leads_to_folder(entry) else files).append(entry.name)
        except (OSError, ValueError):
            # No such folder, none that may be read, or no name of a folder at all.
            return Listing(frozenset())
    return Listing(frozenset(files), frozenset(folders))


def _list_store(folder: str) -> tuple[list[str], list[str]]:
    if check_protocol(folder) == "web":
        return [], []
    try:
        # A folder of the user's, or below one: a table's addresses are not listed.
        return opening.list_folder(folder, PUBLIC.typed(folder))
    except RemoteError as error:
        if error.reason == "missing":
            return [], []
        raise


def whole(name: str) -> str:
    """The name itself, where a function of names is asked for."""
    return name


def _by(key: Callable[[str], str], names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        found.setdefault(key(name), []).append(name)
    return found


def _narrowed(files: Sequence[str], name: str, part: Callable[[str], str], *ways: str) -> Match:
    """Of files equal but for case and form, those nearest to the name in the compared part."""
    composed = unicodedata.normalize("NFC", name)
    exact = [file for file in files if part(file) == name]
    same_case = [file for file in files if unicodedata.normalize("NFC", part(file)) == composed]
    if exact:
        return Match(tuple(exact), ways)
    if same_case:
        return Match(tuple(same_case), ("form", *ways))
    return Match(tuple(files), ("case", *ways))


def _of_same_kind(files: Sequence[str], name: str) -> Sequence[str]:
    """Of files that differ in suffix, those whose suffix is another spelling: `.jpg`, `.jpeg`."""
    suffix = suffix_of(name)
    spelled = next((all_ for all_ in SUFFIXES_OF_FORMAT.values() if suffix in all_), frozenset())
    return [file for file in files if suffix_of(file) in spelled] or files


def _ways_between(written: str, found: str) -> tuple[str, ...]:
    """How a folder's name in a table differs from its own, beside slashes."""
    if written == found or plain(written) != plain(found):
        return ()
    same_case = unicodedata.normalize("NFC", written) == unicodedata.normalize("NFC", found)
    return ("form",) if same_case else ("case",)
