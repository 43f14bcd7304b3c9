r"""Which local files may be read on the word of a table or a link: those below the data's folders.

A path is judged by where it leads: `..` and links are followed first, and what is opened then is
the place that was judged. Below a folder of the data, hidden files and folders (`.ssh`, `.env`)
are not read either: no data set has its images there.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence

from shopsight.errors import LocationError

OUTSIDE_FIX = (
    "--images-root FOLDER   (names the folder of the images)\n"
    "--allow-outside   (reads whatever file the table or a link names)"
)
# How long it is believed where a folder leads: a link may be set anew.
_BELIEVED_S = 1.0
_MOST_FOLDERS = 10_000

_real_folders: dict[str, tuple[str, float]] = {}


def real_root(folder: str) -> str:
    """The folder as `Access.roots` has it: all links followed."""
    return os.path.realpath(folder)


def place_of(path: str, roots: Sequence[str] | None) -> str:
    """Where a path leads, all links followed; the path itself where every file may be read.

    Args:
        path: of a file or folder.
        roots: folders, as `real_root` gives them; None for all files.

    Raises:
        LocationError: "outside": it leads to a file that is below none of the folders.
        FileNotFoundError: there is no such file either.
        ValueError: it can be no path, for a zero byte in it.
    """
    if roots is None:
        return path
    place = _real_place(path, roots)
    if place is not None and any(_is_below(place, root) for root in roots):
        return place
    if place is not None and not os.path.lexists(place):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    leads = "" if place in {None, path} else f": it leads to {place}"
    raise LocationError(
        "outside", f"the file is outside the data{leads}", where=path, fix=OUTSIDE_FIX
    )


def place_of_name(path: str, roots: Sequence[str]) -> str | None:
    """`place_of` of a path whose last name is no link, which only opening it will tell.

    Asks the system nothing, mostly. None where more has to be asked.
    """
    folder, name = os.path.split(path)
    if os.name == "nt" or name in {"", ".", ".."} or not os.path.isabs(path):  # noqa: PTH117
        return None
    place = os.path.join(_real_folder(folder), name)  # noqa: PTH118
    return place if any(_is_below(place, root) for root in roots) else None


def is_inside(path: str, roots: Sequence[str] | None) -> bool:
    """Whether a path leads to a place below one of the folders, be there a file or not."""
    if roots is None:
        return True
    try:
        place = _real_place(path, roots)
    except (OSError, ValueError):
        return False
    return place is not None and any(_is_below(place, root) for root in roots)


def is_there_outside(path: str, roots: Sequence[str]) -> bool:
    """Whether a path leads to a file that is below none of the folders.

    A path to another machine, as Windows has them, is not followed to find out.
    """
    try:
        place = _real_place(path, roots)
    except (OSError, ValueError):
        return False
    if place is None or any(_is_below(place, root) for root in roots):
        return False
    return os.path.lexists(place)


def _real_place(path: str, roots: Sequence[str]) -> str | None:
    """Where a path leads; None where not even that may be asked."""
    if os.name == "nt":
        drive = os.path.normcase(os.path.splitdrive(os.path.abspath(path))[0])  # noqa: PTH100
        known = {os.path.normcase(os.path.splitdrive(root)[0]) for root in roots}
        # Following a path to another machine would connect to it, in this user's name.
        return None if drive.startswith("\\\\") and drive not in known else os.path.realpath(path)
    folder, name = os.path.split(path)
    if name in {"", ".", ".."} or not os.path.isabs(path):  # noqa: PTH117
        return os.path.realpath(path)
    place = os.path.join(_real_folder(folder), name)  # noqa: PTH118
    return os.path.realpath(place) if os.path.islink(place) else place  # noqa: PTH114


def _real_folder(folder: str) -> str:
    """`realpath`, remembered for a moment: images lie in few folders."""
    now_s = time.monotonic()
    known = _real_folders.get(folder)
    if known is not None and now_s < known[1]:
        return known[0]
    if len(_real_folders) >= _MOST_FOLDERS:
        _real_folders.clear()
    real = os.path.realpath(folder)
    _real_folders[folder] = (real, now_s + _BELIEVED_S)
    return real


def _is_below(place: str, root: str) -> bool:
    place, root = os.path.normcase(place), os.path.normcase(root)
    if place == root:
        return True
    base = root.rstrip(os.sep) + os.sep
    return place.startswith(base) and f"{os.sep}." not in place[len(base) - 1 :]
