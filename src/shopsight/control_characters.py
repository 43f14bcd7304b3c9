r"""Characters that a terminal obeys or hides, written so that they are seen: `\x1b`, `\u202e`.

Names of files and folders, labels, cells and answers of servers hold what somebody else chose. Sent
to a terminal, an escape sequence in one colors or erases what was printed, sets the window's title
or disguises a link; others turn the direction of writing, or take no room at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

# C0 but the line feed, DEL and C1; what turns the direction of writing; separators of lines and
# paragraphs; halves of surrogate pairs, which no encoding has.
_OBEYED = "\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# What Unicode has renderers ignore, but for what selects the form of a letter or an emoji.
_HIDDEN = (
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
# Joiners shape letters of Persian and Indic scripts, and emoji; beside Latin letters they hide.
_SHAPED = "\u0590-\u1fff\u2190-\ud7ff\ufb1d-\ufefc\U00010000-\U000dffff"
_STRAY_JOINER = rf"(?<![{_SHAPED}])[\u200c\u200d]|[\u200c\u200d](?![{_SHAPED}])"
_CONTROL = re.compile(f"[{_OBEYED}{_HIDDEN}]|{_STRAY_JOINER}")


def printable(text: str) -> str:
    r"""Text whose control characters, line feeds excepted, are written as escapes.

    >>> printable("red\x1b[31m\nhat")
    'red\\x1b[31m\nhat'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    r"""Text in which line feeds are written as escapes too.

    >>> one_line("new\nline")
    'new\\nline'
    """
    return printable(text).replace("\n", "\\n")


def json_text(
    value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None
) -> str:
    r"""A value as JSON whose control characters are escapes, which read back as what they were.

    >>> json_text(["Größe\u202e"])
    '["Größe\\u202e"]'

    Args:
        value: What JSON holds.
        indent: Spaces of a level; without it, all is one line.
        default: What of a value that JSON does not hold is written instead.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=default)
    if text.isascii() and text.isprintable():
        # Most lines; for a million of them it counts.
        return text
    return _CONTROL.sub(lambda found: json.dumps(found[0])[1:-1], text)
