"""Files from web servers: redirects, limits, and errors that say whose fault it is.

Not by fsspec and aiohttp: they neither check where a redirect leads, nor bound an answer's size
and time, nor tell a page that is not there from a server that is down.
"""

from __future__ import annotations

import base64
import email.utils
import socket
import ssl
import time
import zlib
from http.client import HTTPException, HTTPResponse, IncompleteRead, responses
from importlib.metadata import version
from urllib.parse import SplitResult, unquote, urljoin

from shopsight.errors import RemoteError, first_line
from shopsight.io.access import Access
from shopsight.io.addresses import endpoint, host_of, joined, shown, web_parts
from shopsight.io.connections import Connection, Host, connection, host_state
from shopsight.io.logins import with_login

TRIES = 4
FIRST_PAUSE_S = 0.5
"""Before the second try; doubled for each further one."""
LONGEST_PAUSE_S = 120.0
"""A host that asks for more patience is not asked again."""
MOST_REDIRECTS = 5
GIVE_UP_AFTER = 3
"""So many requests failed for good, one after another: the next ones are tried once."""
RECOVERY_S = 60.0
"""How long a host is left alone that did not answer the last `GIVE_UP_AFTER` requests in time."""

_BLOCK_BYTES = 1 << 16
# Requests that may succeed later.
_PASSING = {"timed out", "interrupted", "too many requests", "server error"}
_REDIRECTS = {301, 302, 303, 307, 308}
_REASON_OF_STATUS = {
    **dict.fromkeys((404, 410), "missing"),
    **dict.fromkeys((401, 403, 407, 451), "forbidden"),
    429: "too many requests",
}
_DECODERS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class _BusyError(RemoteError):
    """The server asks to wait for `pause_s` seconds."""

    pause_s = 0.0


def fetch(address: str, access: Access, *, most_bytes: int) -> bytes:
    """Read a file from a web server.

    What may pass is tried again, up to `TRIES` times, after growing pauses or as long as the
    server asks for.

    Args:
        address: http or https.
        access: which hosts may be asked.
        most_bytes: the file may have.

    Raises:
        RemoteError: see `shopsight.io.reasons` for why.
    """
    parts = with_login(web_parts(address))
    host = host_state(parts)
    tries = 1 if host.failures >= GIVE_UP_AFTER else TRIES
    for number in range(1, tries + 1):
        _wait_for(host, address)
        try:
            data = _follow(parts, access, most_bytes=most_bytes, fresh=number > 1)
        except RemoteError as error:
            pause_s = _pause_s(error, number) if number < tries else None
            if pause_s is None:
                _note_failure(host, error)
                tried = f" ({number} tries)" if number > 1 else ""
                where = error.where or shown(address)
                what = error.what + tried
                raise RemoteError(error.reason, what, where=where, fix=error.fix) from error
            if isinstance(error, _BusyError):
                # The other threads that ask this host wait as well.
                host.busy_until_s = time.monotonic() + pause_s
            else:
                time.sleep(pause_s)
        else:
            host.failures = 0
            return data
    raise AssertionError("the last try returns or raises")


def check_web(address: str, access: Access) -> None:
    """Refuse a web server that may not be asked, public or not.

    Raises:
        RemoteError: "not allowed".
    """
    if not access.allows_web(endpoint(address)):
        raise RemoteError(
            "not allowed",
            f"{host_of(address)} would be asked on the word of a file, which you have to allow",
            where=shown(address),
            fix="--allow-remote",
        )


def _pause_s(error: RemoteError, number: int) -> float | None:
    """How long to wait before the next try; None where that would not help."""
    if error.reason not in _PASSING:
        return None
    pause_s = FIRST_PAUSE_S * 2 ** (number - 1)
    if isinstance(error, _BusyError):
        pause_s = max(pause_s, error.pause_s)
    return pause_s if pause_s <= LONGEST_PAUSE_S else None


def _wait_for(host: Host, address: str) -> None:
    if time.monotonic() < host.silent_until_s:
        what = f"the host did not answer the last {GIVE_UP_AFTER} requests in time"
        raise RemoteError("timed out", what, where=shown(address))
    while (left_s := host.busy_until_s - time.monotonic()) > 0:
        time.sleep(left_s)


def _note_failure(host: Host, error: RemoteError) -> None:
    if error.reason not in _PASSING:
        return
    host.failures += 1
    if error.reason == "timed out" and host.failures >= GIVE_UP_AFTER:
        host.silent_until_s = time.monotonic() + RECOVERY_S


def _follow(parts: SplitResult, access: Access, *, most_bytes: int, fresh: bool) -> bytes:
    """Read the file that an address leads to, over redirects; each is checked like the first."""
    first = parts
    for _ in range(MOST_REDIRECTS + 1):
        check_web(joined(parts), access)
        found = _ask(parts, access, most_bytes=most_bytes, fresh=fresh, login_of=first)
        if isinstance(found, bytes):
            return found
        parts = web_parts(found)
    raise RemoteError("bad answer", f"more than {MOST_REDIRECTS} redirects")


def _ask(
    parts: SplitResult, access: Access, *, most_bytes: int, fresh: bool, login_of: SplitResult
) -> bytes | str:
    """Ask a server once: the file, or the address that it is redirected to."""
    try:
        with connection(parts, access, fresh=fresh) as lent:
            try:
                response = _head(lent, parts, login_of)
            except (ConnectionError, HTTPException) as error:
                if lent.used == 0 or isinstance(error, ConnectionRefusedError):
                    raise
                # The server had closed the connection meanwhile.
                lent.close()
                response = _head(lent, parts, login_of)
            lent.used += 1
            with response:
                try:
                    return _content(response, parts, most_bytes)
                finally:
                    if not response.isclosed() or response.will_close:
                        lent.close()
    except (OSError, HTTPException) as error:
        raise _why(error, parts) from error


def _head(lent: Connection, parts: SplitResult, login_of: SplitResult) -> HTTPResponse:
    headers = {
        "User-Agent": f"shopsight/{version('shopsight')}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
    }
    # A name and password are for the host that they were given for.
    if "@" in login_of.netloc and endpoint(joined(login_of)) == endpoint(joined(parts)):
        login = unquote(login_of.netloc.rpartition("@")[0])
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return lent.answer(parts, headers)


def _content(response: HTTPResponse, parts: SplitResult, most_bytes: int) -> bytes | str:
    status = response.status
    if status != 200 and response.length is not None and response.length < _BLOCK_BYTES:
        # A short page, which must be read before the next request.
        response.read()
    if status in _REDIRECTS and response.headers.get("Location"):
        there = str(urljoin(joined(parts), response.headers["Location"].strip()))
        if there.partition(":")[0].lower() not in {"http", "https"}:
            raise RemoteError("bad answer", f"it redirects to {shown(there)}")
        return there
    if status == 200:
        return _body(response, most_bytes)
    said = f"the host answers {status} {response.reason or responses.get(status, '')}".rstrip()
    reason = _REASON_OF_STATUS.get(status, "server error" if status >= 500 else "bad answer")
    asked_s = _retry_after_s(response.headers.get("Retry-After"))
    if asked_s is None or status not in {429, 503}:
        raise RemoteError(reason, said)
    busy = _BusyError(reason, f"{said} and asks to wait {asked_s:.0f} s")
    busy.pause_s = asked_s
    raise busy


def _retry_after_s(value: str | None) -> float | None:
    """Seconds to wait: given as such, or as a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _body(response: HTTPResponse, most_bytes: int) -> bytes:
    """The content, unpacked where the server packed it unasked."""
    announced = response.length
    if announced is not None and announced > most_bytes:
        raise _too_large(most_bytes)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    unpack = None
    if encoding in _DECODERS:
        unpack = zlib.decompressobj(_DECODERS[encoding])
    elif encoding not in {"identity", ""}:
        raise RemoteError("bad answer", f"the host packs the file as {encoding}, unasked")
    blocks, size = list[bytes](), 0
    while block := response.read1(_BLOCK_BYTES):
        if unpack is not None:
            block = _unpacked(unpack, block, most_bytes - size)
        size += len(block)
        if size > most_bytes:
            raise _too_large(most_bytes)
        blocks.append(block)
    if response.length or (unpack is not None and not unpack.eof):
        raise RemoteError("interrupted", f"the answer breaks off after {size:,} bytes")
    response.close()
    return b"".join(blocks)


def _unpacked(unpack: zlib._Decompress, block: bytes, most_bytes: int) -> bytes:
    try:
        made = unpack.decompress(block, most_bytes + 1)
    except zlib.error as error:
        raise RemoteError(
            "bad answer", f"what the host packed cannot be unpacked: {error}"
        ) from error
    if unpack.unconsumed_tail:
        raise _too_large(most_bytes)
    return made


def _too_large(most_bytes: int) -> RemoteError:
    return RemoteError("too large", f"the file has more than {most_bytes:,} bytes")


def _why(error: Exception, parts: SplitResult) -> RemoteError:
    """The error for a user: whose fault it is."""
    end = parts.netloc.rpartition("@")[2]
    if isinstance(error, TimeoutError):
        return RemoteError("timed out", f"{end} did not answer in time: {first_line(error)}")
    if isinstance(error, ConnectionRefusedError):
        return RemoteError("refused", f"{end} refused the connection")
    if isinstance(error, socket.gaierror):
        return RemoteError("no such host", f"{end} has no address: {error.strerror or error}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return RemoteError(
            "not trusted",
            f"the host's certificate is not trusted: {error.verify_message or first_line(error)}",
            fix="a proxy that reads the traffic has a certificate of its own: name its file in the "
            "environment variable SSL_CERT_FILE; a wrong clock has the same effect",
        )
    if isinstance(error, ssl.SSLError):
        return RemoteError("not trusted", f"{end} speaks no TLS that is understood: {error.reason}")
    if isinstance(error, IncompleteRead | ConnectionError):
        return RemoteError("interrupted", f"{end} broke off: {first_line(error)}")
    if isinstance(error, HTTPException):
        what = f"{end} does not answer as a web server: {type(error).__name__}"
        return RemoteError("bad answer", what)
    return RemoteError("refused", f"{end} is not reached: {getattr(error, 'strerror', 0) or error}")
