"""stdout and stderr: text that no encoding can break, and a reader that may leave early."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO


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


def flush() -> None:
    """Write out what is buffered; a reader that is gone (`| head`) is not an error."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            _discard(stream)


def is_closed_pipe(error: OSError) -> bool:
    """Whether writing failed because nobody reads stdout any more."""
    # Windows reports it as an invalid argument. Errors about files carry the file's name.
    return error.errno == errno.EPIPE or (
        os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
    )


def _discard(stream: TextIO) -> None:
    """Send what is still buffered nowhere, or Python would try again when it ends, and complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
