"""Files of the data sets that shopsight knows: from fixed addresses, bounded in size and time.

Who calls `download` compares what came with a hash; no address here comes from a file.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.response import addinfourl

from shopsight.errors import SourceError, first_line
from shopsight.progress import task
from shopsight.runtime import certificate_file

_BLOCK_BYTES = 1 << 20


def download(url: str, path: Path, *, timeout_s: float, most_bytes: int) -> None:
    """Write the content of a URL to a file.

    Args:
        url: an `https://`, `http://` or `file://` URL.
        path: the file; a partial one stays behind when the download fails.
        timeout_s: how long to wait for a connection, and for each block of data.
        most_bytes: the file may have.

    Raises:
        SourceError: no connection, a certificate that is not trusted, no such page, no data
            within the time limit, or too much of it; it says which.
        OSError: the file cannot be written.
    """
    try:
        reply = urllib.request.urlopen(url, timeout=timeout_s, context=_context(url))
    except HTTPError as error:
        error.close()  # it is the reply as well
        raise _failed(url, error) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _failed(url, error) from error
    with reply:
        total = int(reply.headers.get("Content-Length") or 0) or None
        with task(f"Fetching {path.name}", total, "bytes") as advance, path.open("wb") as file:
            size = 0
            for block in _blocks(url, reply):
                size += len(block)
                if size > most_bytes:
                    what = f"the host sends more than the {most_bytes:,} bytes that may be"
                    raise SourceError(what, where=url)
                file.write(block)
                advance(len(block))


def _context(url: str) -> ssl.SSLContext | None:
    if not url.startswith("https://"):
        return None
    return ssl.create_default_context(cafile=certificate_file())


def _blocks(url: str, reply: HTTPResponse | addinfourl) -> Iterator[bytes]:
    try:
        while block := reply.read(_BLOCK_BYTES):
            yield block
    except (OSError, HTTPException) as error:
        raise _failed(url, error) from error


def _failed(url: str, error: Exception) -> SourceError:
    """The error for a user: whose fault it is, and what to do."""
    if isinstance(error, HTTPError):
        return SourceError(f"the host answers {error.code} {error.reason}", where=url)
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return SourceError(
            f"the host's certificate is not trusted: {reason.verify_message or first_line(reason)}",
            where=url,
            fix="a proxy that reads the traffic has a certificate of its own: name its file in the "
            "environment variable SSL_CERT_FILE; a wrong clock has the same effect",
        )
    text = first_line(reason) if isinstance(reason, BaseException) else str(reason)
    return SourceError(f"no answer, as without a network: {text}", where=url)
