"""Wildcards of the command line where no shell expands them: cmd.exe and PowerShell."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence

_URL = re.compile(r"[A-Za-z][\w+.-]+://")


def expanded(words: Sequence[str], *, windows: bool = os.name == "nt") -> list[str]:
    """Replace `*.jpg` by the names that match it, on Windows only.

    Elsewhere the shell has done it, and a wildcard that is left is part of a name. Only `*`, `**`
    and `?` are wildcards: no file name of Windows has them, and many have brackets.

    Args:
        words: paths, URLs and patterns, as the user gave them.
        windows: whether the shell leaves wildcards to the program.

    Returns:
        The paths, those of a pattern sorted; a pattern that matches nothing stays as it is, so
        that the error names it.
    """
    if not windows:
        return list(words)
    return [path for word in words for path in _matches(word) or [word]]


def _matches(word: str) -> list[str]:
    if not set(word) & {"*", "?"} or _URL.match(word):
        return []
    return sorted(glob.glob(word.replace("[", "[[]"), recursive=True))  # noqa: PTH207
