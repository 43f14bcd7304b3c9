"""Folders that the user leaves out of a folder of images."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection

from shopsight.errors import CatalogError


class LeftOut:
    """Tells which folders are left out.

    Args:
        names: of folders at any depth, or paths below the folder of the images.

    Attributes:
        counts: the number of folders that were left out, by what the user named.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._given = {_plain(name.replace(os.sep, "/").strip("/")): name for name in names}
        self._seen: set[str] = set()

    def has(self, path: str) -> bool:
        """Whether a folder, by its path below that of the images, is left out; it is counted."""
        if not self._given:
            return False
        path = _plain(path)
        name = path.rpartition("/")[2]
        self._seen.add(name)
        given = path if path in self._given else name
        if given not in self._given:
            return False
        self.counts[given] += 1
        return True

    def check(self, root: str) -> None:
        """Refuse what was named and is not there.

        Raises:
            CatalogError: no folder has this name; the nearest one is offered.
        """
        for name, given in self._given.items():
            if not self.counts[name]:
                near = difflib.get_close_matches(name, self._seen, n=1, cutoff=0.5)
                raise CatalogError(
                    f"no folder {given!r} to skip"
                    + (f"; did you mean {near[0]!r}?" if near else ""),
                    where=root,
                    details=[f"{folder}/" for folder in sorted(self._seen)],
                    fix="--skip-folder NAME, or the path below DATA",
                )


def _plain(name: str) -> str:
    """The name in the Unicode form that people type; macOS may give another."""
    return unicodedata.normalize("NFC", name)
