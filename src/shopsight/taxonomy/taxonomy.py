"""A taxonomy: the paths that a platform knows, out of a text file with a path on each line.

    gid://shopify/TaxonomyCategory/aa-1 : Apparel & Accessories > Clothing      Shopify's
    166 - Apparel & Accessories > Clothing                                      Google's, with ids
    Apparel & Accessories > Clothing                                            paths alone

Lines that begin with # are comments; the first may hold the version. A path implies those above it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from shopsight.errors import TaxonomyError
from shopsight.label_tree import path_parts, path_text
from shopsight.tables.encodings import decode_table
from shopsight.tables.table_files import read_bytes, refuse_other_kinds
from shopsight.tables.table_names import is_table
from shopsight.text import counted, lines_of

MOST_PATHS = 1_000_000
"""Shopify has some twelve thousand, Google five."""
LONGEST_PATH = 4096
"""Characters, as of a label."""

_SHOPIFY = re.compile(r"(gid://\S+)\s+:\s+(\S.*)")
_GOOGLE = re.compile(r"(\d+)\s+-\s+(\S.*)")
_VERSION = re.compile(r"\d{4}-\d{2}(?:-[0-9A-Za-z]+)*")
_MAPPING = re.compile(r"\s*[→⇒]")
_FORMATS = "gid://... : A > B   or   123 - A > B   or   A > B"


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """The paths of a taxonomy.

    Attributes:
        name: for messages: its file, or the name that it is known by.
        version: as its first comment says; empty where none does.
        paths: as their file writes them, names parted by `PATH_SEPARATOR`.
        ids: the path of each id; empty where paths have none.
    """

    name: str
    version: str
    paths: tuple[str, ...]
    ids: Mapping[str, str]

    @cached_property
    def nodes(self) -> frozenset[tuple[str, ...]]:
        """The names of every path, and of those above it."""
        parts = map(path_parts, self.paths)
        return frozenset(one[:depth] for one in parts for depth in range(1, len(one) + 1))

    @cached_property
    def every_path(self) -> tuple[str, ...]:
        """The paths, and after them those above them that the file does not name."""
        return tuple(dict.fromkeys([*self.paths, *map(path_text, sorted(self.nodes))]))

    def known_part(self, label: str) -> str | None:
        """The longest part of a path, from the top, that exists; None where no part does.

        It is the path itself where the whole of it exists, or is the id of one.
        """
        if label in self.ids:
            return label
        parts = path_parts(label)
        depths = range(len(parts), 0, -1)
        known = next((depth for depth in depths if parts[:depth] in self.nodes), 0)
        return path_text(parts[:known]) if known else None

    def has(self, label: str) -> bool:
        """Whether a path, or an id, exists."""
        return label in self.ids or path_parts(label) in self.nodes


def read_taxonomy(path: str) -> Taxonomy:
    """Read a taxonomy from a file or URL; gzip's are unpacked.

    Raises:
        TableError: there is no such file, or it is no text.
        TaxonomyError: its lines are no paths.
    """
    if is_table(path):
        raise TaxonomyError(
            "a table, and a taxonomy is a text file with a path on each line",
            where=path,
            fix=f"write its paths into a .txt file: {_FORMATS}",
        )
    data = read_bytes(path)
    refuse_other_kinds(data, path)
    text, _ = decode_table(data, None, path)
    return parse_taxonomy(text, path)


def parse_taxonomy(text: str, name: str) -> Taxonomy:
    """Read a taxonomy from its text.

    Args:
        text: a path on each line.
        name: the file, for errors.

    Raises:
        TaxonomyError: its lines are no paths, or of two kinds.
    """
    lines = [line.strip() for line in lines_of(text)]
    comments = [line for line in lines if line.startswith("#")]
    numbered = [(at, line) for at, line in enumerate(lines, 1) if line and line[0] != "#"]
    _check_lines(numbered, name)
    kind = next((one for one in (_SHOPIFY, _GOOGLE) if one.fullmatch(numbered[0][1])), None)
    ids = dict[str, str]()
    if kind is None:
        paths = [path_text(path_parts(line)) for _, line in numbered]
    else:
        ids = _with_ids(kind, numbered, name)
        paths = list(ids.values())
    version = next((found[0] for line in comments[:1] if (found := _VERSION.search(line))), "")
    return Taxonomy(name, version, tuple(dict.fromkeys(paths)), ids)


def _check_lines(numbered: list[tuple[int, str]], name: str) -> None:
    if not numbered:
        raise TaxonomyError("no paths in it", where=name, fix=f"a path on each line: {_FORMATS}")
    if len(numbered) > MOST_PATHS:
        raise TaxonomyError(
            f"{counted(len(numbered), 'line')}: a taxonomy has at most {MOST_PATHS:,}", where=name
        )
    if _MAPPING.match(numbered[0][1]):
        raise TaxonomyError(
            "a mapping between two taxonomies, not a taxonomy",
            where=name,
            fix="--label-map FILE   (renames labels by it)",
        )
    long = [(at, line) for at, line in numbered if len(line) > LONGEST_PATH]
    if long:
        raise TaxonomyError(
            f"{counted(len(long), 'line')} of more than {LONGEST_PATH:,} characters are no paths",
            where=name,
            details=[f"line {at}: {line[:60]}..." for at, line in long],
        )


def _with_ids(kind: re.Pattern[str], numbered: list[tuple[int, str]], name: str) -> dict[str, str]:
    """The path of each id.

    Raises:
        TaxonomyError: lines without an id, or one id with two paths.
    """
    matches = [(at, line, kind.fullmatch(line)) for at, line in numbered]
    others = [f"line {at}: {line[:80]}" for at, line, match in matches if match is None]
    if others:
        raise TaxonomyError(
            f"{len(others):,} of {counted(len(numbered), 'line')} have no id, as the first has",
            where=name,
            details=others,
            fix="remove them, or write # before them",
        )
    ids, twice = dict[str, str](), list[str]()
    for at, _, match in matches:
        assert match is not None
        path = path_text(path_parts(match[2]))
        if ids.setdefault(match[1], path) != path:
            twice.append(f"line {at}: {match[1]} is {ids[match[1]]!r} and {path!r}")
    if twice:
        raise TaxonomyError("ids with two paths", where=name, details=twice)
    return ids
