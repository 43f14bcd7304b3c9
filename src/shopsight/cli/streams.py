"""stdout and stderr: text that no encoding can break and no terminal obeys, readers that leave."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from shopsight.control_characters import printable


def open_missing() -> None:
    """Let what is printed go nowhere where there is no stdout or stderr: `>&-`, and pythonw.

    Python has None in their place then, which has no `write`.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Open until the program ends, as the stream would be.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def use_utf8() -> None:
    r"""Write UTF-8 to pipes and files, and let no character end the command.

    Windows gives a pipe the encoding of the user's country, such as cp1252, which has no Chinese;
    JSON is UTF-8 everywhere. A terminal keeps its own encoding. What an encoding lacks, such as
    half of a surrogate pair in a file's name, is written as `\udcff`, which JSON understands too.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


class _Shown:
    """A stream to which control characters are written as escapes."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        # A bar of another library begins anew at the start of its line, and has no other such.
        start = "\r" if text.startswith("\r") else ""
        cells = text.removeprefix("\r").split("\t")
        self.stream.write(start + "\t".join(printable(cell) for cell in cells))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def shown() -> Iterator[None]:
    """Have the block's stdout and stderr show what a terminal would obey, whoever prints it.

    What shopsight prints is shown already; warnings and logs of libraries quote names and cells.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", _Shown(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def terminal(stream: TextIO) -> TextIO:
    """The stream itself, for what is to be obeyed: colors and bars."""
    return stream.stream if isinstance(stream, _Shown) else stream


def flush(*, probe: bool = False) -> list[str]:
    """Write out what is buffered; a reader that is gone (`| head`) is not an error.

    Args:
        probe: write an empty line to stdout first: without a buffer (PYTHONUNBUFFERED) nothing else
            shows whether the error of a full disk was about stdout or about another file.

    Returns:
        Which of "stdout" and "stderr" is a file on a full disk; the rest of it is given up.
    """
    full = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            if probe and name == "stdout":
                stream.write("\n")
            stream.flush()
        except OSError as error:
            if is_full_disk(error):
                full.append(name)
            _discard(stream)
    return full


def report(text: str) -> None:
    """Print a line on stderr; where that is not possible, nobody can be reached."""
    with suppress(OSError):
        sys.stderr.write(printable(text) + "\n")


def is_closed_pipe(error: OSError) -> bool:
    """Whether writing failed because nobody reads stdout any more."""
    # Windows reports it as an invalid argument. Errors about files carry the file's name.
    return error.errno == errno.EPIPE or (
        os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    )


def is_full_disk(error: OSError) -> bool:
    """Whether a disk had no room for what was written."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def _discard(stream: TextIO) -> None:
    """Send what is still buffered nowhere, or Python would try again when it ends, and complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
