"""The files of a folder that somebody handed on: in it, and files."""

from __future__ import annotations

import os
from pathlib import Path

from shopsight.errors import LocationError


def refuse_links_out(folder: Path) -> None:
    """Refuse a folder in which a link leads out of it.

    Raises:
        LocationError: "not allowed": one does.
    """
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                file_within(folder, str(path.relative_to(folder)))


def file_within(folder: Path, name: str) -> Path:
    """The file `name` of a folder, which no link may lead out of.

    Args:
        folder: what the user named; it may be a link itself.
        name: relative to it.

    Returns:
        Its path, whether it is there or not.

    Raises:
        LocationError: "not allowed": it is a link out of the folder.
    """
    path = folder / name
    home = os.path.realpath(folder)
    target = os.path.realpath(path)
    if target != home and not target.startswith(os.path.join(home, "")):  # noqa: PTH118
        raise LocationError(
            "not allowed",
            f"is a link that leads out of the folder, to {target}",
            where=str(path),
            fix="copy the folder with what its links lead to: cp -rL, or rsync --copy-links",
        )
    return path
