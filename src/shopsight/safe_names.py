"""Names of files and folders that every file system takes, made from any text.

Labels, data sets and backbones are named by people; Windows refuses `aux`, `3:4` and `hat.`, and
on Windows and macOS `Shirt` and `shirt` are one folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable

LONGEST_BYTES = 120
"""Longest name that is made, in UTF-8: short enough for paths of 260 characters, all that older
Windows programs open."""

OTHER_NAME = (
    'give another name: without < > : " / \\ | ? * and none of con, prn, aux, nul, com1, lpt1'
)
"""What to do about a name that the system does not take."""
# Files that are being written, or that a killed process left behind; what was moved aside for a new
# one; what could not take its place and is the user's. Scans skip hidden names.
PART_PREFIX, PART_SUFFIX = ".shopsight-", ".part"
ASIDE_SUFFIX, KEPT_SUFFIX = ".old", ".kept"
PART_DIGITS = 24
PART_LENGTH = len(PART_PREFIX) + PART_DIGITS + len(PART_SUFFIX)

# What some file system refuses in a name or at its ends, and the escape character itself.
_UNSAFE = re.compile(r'[%/\\:*?"<>|\x00-\x1f\x7f]|^[. ]|[. ]$')
_REFUSED_BY_WINDOWS = re.compile(r'[/\\:*?"<>|\x00-\x1f]|[. ]$')
# Devices of DOS: Windows opens them whatever follows the first dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)", re.IGNORECASE)
_LONGEST_ENTRY_BYTES = 255
_DIGEST_DIGITS = 16
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")


def is_safe(name: str) -> bool:
    """Whether every file system takes this name as it is, up to the case of its letters."""
    bad = _UNSAFE.search(name.replace("%", "_")) or _DEVICE.match(name)
    return bool(name) and not bad and len(_bytes(name)) <= _LONGEST_ENTRY_BYTES


def safe_name(text: str) -> str:
    """Write a text as a name that every file system takes; different texts get different names.

    What some file system refuses becomes `%XX`, as in a URL, so a name of up to `LONGEST_BYTES`
    can be read back. Of a longer one the rest is replaced by a hash of the whole text; the suffix
    of a file stays.

    >>> safe_name("Shirts & Tops"), safe_name("size 3:4"), safe_name("aux"), safe_name("")
    ('Shirts & Tops', 'size 3%3A4', '%61ux', '%')
    """
    name = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", text) or "%"
    if _DEVICE.match(name):
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name if len(_bytes(name)) <= LONGEST_BYTES else _shortened(name, text)


def unique_names(texts: Iterable[str]) -> dict[str, str]:
    """Give each text a name of its own also where case and Unicode form are ignored.

    Of texts that such a file system takes for one, the first in the order of code points keeps the
    plain name, and the others get a number.

    >>> unique_names(["shirt", "Shirt", "hat"])
    {'Shirt': 'Shirt', 'hat': 'hat', 'shirt': 'shirt (2)'}

    Args:
        texts: labels, in any order; it does not matter.

    Returns:
        The name of each text.
    """
    ordered = sorted(set(texts))
    first: dict[str, str] = {}
    for text in ordered:
        first.setdefault(folded_name(safe_name(text)), text)
    names, used = {}, set(first)
    for text in ordered:
        name = safe_name(text)
        if first[folded_name(name)] != text:
            name = _numbered(name, used)
            used.add(folded_name(name))
        names[text] = name
    return names


def numbered_name(name: str, number: int) -> str:
    """The name of a file with a number before its suffix; no longer than file systems take.

    >>> numbered_name("photo.jpg", 2)
    'photo-2.jpg'
    """
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    end = f"-{number}{suffix}"
    room = _LONGEST_ENTRY_BYTES - len(_bytes(end))
    while stem and len(_bytes(stem)) > room:
        stem = stem[:-1]
    return stem + end


def is_windows_name(name: str) -> bool:
    """Whether Windows takes a part of a path as it is: no device of DOS, no `a?`, no `hat.`."""
    return not (_REFUSED_BY_WINDOWS.search(name) or _DEVICE.match(name))


def _numbered(name: str, used: set[str]) -> str:
    number = 2
    while folded_name(f"{name} ({number})") in used:
        number += 1
    return f"{name} ({number})"


def folded_name(name: str) -> str:
    """Equal for names that some file system takes for one: Unicode's canonical caseless match."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _shortened(name: str, text: str) -> str:
    digest = hashlib.sha256(_bytes(text)).hexdigest()[:_DIGEST_DIGITS]
    suffix = _SUFFIX.search(name)
    end = f"~{digest}{suffix[0] if suffix else ''}"
    start = _bytes(name)[: LONGEST_BYTES - len(end)].decode("utf-8", "ignore")
    # Not in the middle of an escape.
    return re.sub(r"%[0-9A-F]?$", "", start) + end


def _bytes(text: str) -> bytes:
    # File names that are not UTF-8 come as halves of surrogate pairs.
    return text.encode("utf-8", "surrogatepass")
