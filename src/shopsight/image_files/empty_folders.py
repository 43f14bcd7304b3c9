"""Folders in which no image is: a class that an archive or a copy lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def folders_without(
    images: Iterable[str], folders: Iterable[str], closed: Collection[str] = ()
) -> list[str]:
    """The outermost of some folders below which no image is, in a folder that has some; sorted.

    Args:
        images: paths with forward slashes.
        folders: with or without a slash at the end; "" is the one around all.
        closed: folders that nobody could look into.

    >>> folders_without(["hat/1.jpg", "a/b/2.jpg"], ["", "hat/", "shoe/", "shoe/new/", "a/c/"])
    ['a/c', 'shoe']
    """
    full: set[str] = set()
    for image in images:
        folder = image
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in full:
                break
            full.add(folder)
    bare = (folder.rstrip("/") for folder in folders)
    return sorted(
        folder
        for folder in bare
        if folder not in full and folder not in closed and folder.rpartition("/")[0] in full
    )
