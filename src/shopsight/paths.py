r"""Where files are, as text: paths of this and of other systems, and URLs.

Tables, catalogs and runs are written on one system and read on another. What is stored has forward
slashes, which every system reads; `C:\photos`, `\\server\share` and URLs are all full paths.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path, PurePath
from types import ModuleType

# A scheme has two letters or more: `C:` is a drive.
_URL_PATTERN = r"[A-Za-z][\w+.-]+(::[A-Za-z][\w+.-]+)*://"
_DRIVE_PATTERN = r"[A-Za-z]:[\\/]"
FULL_PATTERN = rf"^(/|\\\\|{_DRIVE_PATTERN}|{_URL_PATTERN})"
"""What `is_full` asks, for the columns of a table."""

_URL = re.compile(_URL_PATTERN)
_DRIVE = re.compile(_DRIVE_PATTERN)
_FULL = re.compile(FULL_PATTERN)


def is_url(location: str) -> bool:
    """Whether it is a URL (`s3://bucket/photos`), not a path."""
    return _URL.match(location) is not None


def is_full(location: str) -> bool:
    r"""Whether it needs no folder before it: a URL, or an absolute path of any system.

    >>> [is_full(one) for one in ("/a", r"C:\a", "C:/a", r"\\server\share\a", "s3://b/a", "a/b")]
    [True, True, True, True, True, False]
    """
    return _FULL.match(location) is not None


def exists(path: str | Path) -> bool:
    """Whether there is something; unlike `Path.exists`, no error for what can be no path at all.

    Nor where one may not look: a name that is too long, a zero byte, a folder of somebody else.
    """
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | Path) -> bool:
    """Whether there is a file, links followed; see `exists`."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder, links followed; see `exists`."""
    return os.path.isdir(path)  # noqa: PTH112


def full(location: str) -> str:
    """The full path with forward slashes; a URL, and a path of another system, as it is."""
    if is_url(location):
        return location
    path = Path(location)
    if _DRIVE.match(location) and not path.is_absolute() and not exists(path):
        # Written on Windows, read elsewhere.
        return location.replace("\\", "/")
    return path.absolute().as_posix()


def without_dots(path: str) -> str:
    """A full path without `..` and `.` in it; links are followed only where it needs that.

    >>> without_dots("/shop/../photos/.") in ("/photos", without_dots("/photos"))
    True
    """
    plain = Path(os.path.normpath(path))
    # Above a folder that is a link lies something else than above its name.
    with suppress(OSError):
        if not plain.samefile(path):
            plain = Path(path).resolve()
    return plain.as_posix()


def join(folder: str, name: str) -> str:
    """The path of `name`, which may be full already, in a folder or below a URL."""
    if is_full(name):
        return name
    # On POSIX a backslash is a letter like any other.
    return f"{folder.rstrip('/' + os.sep)}/{name}"


def parent_of(location: str, *, flavor: type[PurePath] = Path) -> str:
    r"""The folder of a file, or what comes before the last part of a URL.

    >>> parent_of("s3://bucket/labels.csv"), parent_of("labels.csv")
    ('s3://bucket', '.')
    >>> parent_of("http://host/t.csv?path=a/b"), name_of("http://host/t.csv?path=a/b")
    ('http://host', 't.csv')

    Args:
        location: a path or URL.
        flavor: whose rules hold for a path; those of this system by default.
    """
    if is_url(location):
        return _without_query(location).rpartition("/")[0]
    return flavor(location).parent.as_posix()


def name_of(location: str) -> str:
    """The last part of a URL, or of a path; the whole of it for the root of a drive."""
    if is_url(location):
        return _without_query(location).rstrip("/").rpartition("/")[2]
    return Path(location).absolute().name or location


def _without_query(url: str) -> str:
    """An address up to its `?`, behind which slashes are no folders; keys of stores may have it."""
    return url.partition("?")[0] if url.lower().startswith(("http://", "https://")) else url


def relative(path: str, start: str, *, flavor: ModuleType = os.path) -> str | None:
    """The way from one folder to another with forward slashes; None where there is none.

    There is none from drive to drive, and from a drive to a network share.

    Args:
        path: the folder to reach.
        start: where the way begins.
        flavor: whose rules hold: `os.path`, `ntpath` or `posixpath`.
    """
    try:
        way: str = flavor.relpath(path, start)
    except ValueError:
        return None
    return way.replace(flavor.sep, "/")
