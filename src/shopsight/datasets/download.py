"""Files from the web, with a time limit and progress."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from shopsight.progress import task

_BLOCK_BYTES = 1 << 20


def download(url: str, path: Path, *, timeout_s: float) -> None:
    """Write the content of a URL to a file.

    Args:
        url: an `https://`, `http://` or `file://` URL.
        path: the file; a partial one stays behind when the download fails.
        timeout_s: how long to wait for a connection, and for each block of data.

    Raises:
        OSError: no connection, no such page, or no data within the time limit.
    """
    with urllib.request.urlopen(url, timeout=timeout_s) as reply:
        total = int(reply.headers.get("Content-Length") or 0) or None
        with task(f"Fetching {path.name}", total, "bytes") as advance, path.open("wb") as file:
            while block := reply.read(_BLOCK_BYTES):
                file.write(block)
                advance(len(block))
