"""How names of one file may differ: spellings that are equal, and those that may stand for it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

from shopsight.paths import is_url

WAYS = {
    "slashes": "backslashes in image names, read as slashes",
    "query": "image names with a query, read without it",
    "percent": "percent-encoded image names, decoded",
    "form": "image names that differ from the file's in Unicode form",
    "case": "image names that differ from the file's in upper and lower case",
    "no suffix": "image names without the file's suffix",
    "suffix": "image names with another suffix than the file's",
    "digits": "image ids that differ from the file's in leading zeros or decimals",
    "spread": "image names without a folder, each found in one of several folders",
    "tail": "image names of another place, matched by their longest ends",
    "folder": "image names of one folder elsewhere, all of which are in the folder named here",
}
"""How a name may differ from that of its file, and the start of a note about it."""

# What a guess leads to is no proof: a file that a row names better is not given to another name.
LOOSE_WAYS = frozenset({"suffix", "digits"})


def plain(name: str) -> str:
    """Equal for names that differ in upper and lower case or in Unicode form alone."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def stem_of(name: str) -> str:
    """A file's name without its suffix."""
    return name.rpartition(".")[0] or name


def number_of(text: str) -> str:
    """The digits of a whole number without leading zeros and decimals; empty for other texts.

    >>> number_of("00123"), number_of("123.0"), number_of("12a")
    ('123', '123', '')
    """
    found = re.fullmatch(r"0*(\d+)(\.0+)?", text, re.ASCII)
    return found[1] if found else ""


def spellings(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a name can stand for, likeliest first, each with how it differs (keys of `WAYS`)."""
    slashed = name.replace("\\", "/")
    way: tuple[str, ...] = () if slashed == name else ("slashes",)
    yield slashed, way
    if way:
        # On POSIX a backslash can be a letter of a name.
        yield name, ()
    if is_url(slashed):
        return
    bare = re.split(r"[?#]", slashed, maxsplit=1)[0]
    if bare and bare != slashed:
        yield bare, (*way, "query")
        way = (*way, "query")
    decoded = unquote(bare, errors="strict") if _is_percent_encoded(bare) else bare
    if decoded != bare:
        yield decoded, (*way, "percent")


def _is_percent_encoded(name: str) -> bool:
    if not re.search(r"%[0-9A-Fa-f]{2}", name):
        return False
    try:
        unquote(name, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
