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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead, responses
from importlib.metadata import version
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin

from shopsight.errors import RemoteError, first_line
from shopsight.io import connections
from shopsight.io.access import PUBLIC, Access
from shopsight.io.addresses import endpoint, host_of, joined, shown, web_parts
from shopsight.io.connections import Connection, Host, connection, host_state
from shopsight.io.logins import with_login
from shopsight.io.web_content import BLOCK_BYTES, content_blocks
from shopsight.progress import task

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

# Of what a server says in words, and of an address that it redirects to.
_LONGEST_REASON, _LONGEST_ADDRESS = 100, 4096
# Requests that may succeed later.
_PASSING = {"timed out", "interrupted", "too many requests", "server error"}
_REDIRECTS = {301, 302, 303, 307, 308}
_REASON_OF_STATUS = {
    **dict.fromkeys((404, 410), "missing"),
    **dict.fromkeys((401, 403, 407, 451), "forbidden"),
    429: "too many requests",
}


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
    request = _Request(access, most_bytes, take=lambda _total, blocks: b"".join(blocks))
    return _tried(address, request, tries=TRIES)


def download(address: str, path: Path, *, most_bytes: int, answer_s: float) -> None:
    """Write a file of a web server whose address is a part of shopsight; it is asked once.

    Args:
        address: http or https. Who calls compares what came with a hash.
        path: the file; a partial one stays behind when the download fails.
        most_bytes: the file may have.
        answer_s: how long it may take in all.

    Raises:
        RemoteError: see `shopsight.io.reasons` for why.
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:

        def write(total: int | None, blocks: Iterator[bytes]) -> bytes:
            with task(f"Fetching {path.name}", total, "bytes") as advance:
                for block in blocks:
                    try:
                        file.write(block)
                    except OSError as error:
                        raise _NotWrittenError(error) from error
                    advance(len(block))
            return b""

        request = _Request(PUBLIC.typed(address), most_bytes, take=write, answer_s=answer_s)
        try:
            _tried(address, request, tries=1)
        except _NotWrittenError as failed:
            raise failed.error from None


class _NotWrittenError(Exception):
    """What came cannot be kept; an `OSError` itself would count as one of the connection."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class _Request:
    """How a file is asked for, and what becomes of it.

    Attributes:
        access: which hosts may be asked.
        most_bytes: the file may have.
        take: gets the number of bytes, where it is known, and the blocks; returns what `fetch`
            does.
        answer_s: how long an answer may take; None: `connections.ANSWER_S`.
    """

    access: Access
    most_bytes: int
    take: Callable[[int | None, Iterator[bytes]], bytes]
    answer_s: float | None = None


def _tried(address: str, request: _Request, *, tries: int) -> bytes:
    """Ask for a file up to so many times; a host that failed again and again is asked once."""
    parts = with_login(web_parts(address))
    host = host_state(parts)
    tries = 1 if host.failures >= GIVE_UP_AFTER else tries
    began_s = time.monotonic()
    for number in range(1, tries + 1):
        _wait_for(host, address)
        try:
            data = _follow(parts, request, fresh=number > 1)
        except RemoteError as error:
            # Who drips until the time is over would else do so each time.
            is_last = number == tries or time.monotonic() - began_s > connections.ANSWER_S
            pause_s = None if is_last else _pause_s(error, number)
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


def _follow(parts: SplitResult, request: _Request, *, fresh: bool) -> bytes:
    """Read the file that an address leads to, over redirects; each is checked like the first."""
    first = parts
    for _ in range(MOST_REDIRECTS + 1):
        check_web(joined(parts), request.access)
        found = _ask(parts, request, fresh=fresh, login_of=first)
        if isinstance(found, bytes):
            return found
        parts = web_parts(found)
    raise RemoteError("bad answer", f"more than {MOST_REDIRECTS} redirects")


def _ask(
    parts: SplitResult, request: _Request, *, fresh: bool, login_of: SplitResult
) -> bytes | str:
    """Ask a server once: the file, or the address that it is redirected to."""
    try:
        with connection(parts, request.access, fresh=fresh) as lent:
            lent.answer_s = request.answer_s
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
                    return _content(response, parts, request)
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


def _content(response: HTTPResponse, parts: SplitResult, request: _Request) -> bytes | str:
    status = response.status
    if status != 200 and response.length is not None and response.length < BLOCK_BYTES:
        # A short page, which must be read before the next request.
        response.read()
    if status in _REDIRECTS and response.headers.get("Location"):
        return _there(parts, response.headers["Location"].strip())
    if status == 200:
        return request.take(response.length, content_blocks(response, request.most_bytes))
    raise _refusal(response)


def _there(parts: SplitResult, location: str) -> str:
    """The address that a redirect leads to, which may say only the path."""
    if len(location) > _LONGEST_ADDRESS:
        what = f"it redirects to an address of {len(location):,} characters"
        raise RemoteError("bad answer", what)
    try:
        there = str(urljoin(joined(parts), location))
    except ValueError as error:
        what = f"it redirects to what is no address: {shown(location)}"
        raise RemoteError("bad answer", what) from error
    if there.partition(":")[0].lower() not in {"http", "https"}:
        raise RemoteError("bad answer", f"it redirects to {shown(there)}")
    return there


def _refusal(response: HTTPResponse) -> RemoteError:
    """The error of an answer that is neither a file nor leads to one."""
    status = response.status
    said_reason = (response.reason or responses.get(status, ""))[:_LONGEST_REASON]
    said = f"the host answers {status} {said_reason}".rstrip()
    reason = _REASON_OF_STATUS.get(status, "server error" if status >= 500 else "bad answer")
    asked_s = _retry_after_s(response.headers.get("Retry-After"))
    if asked_s is None or status not in {429, 503}:
        return RemoteError(reason, said)
    busy = _BusyError(reason, f"{said} and asks to wait {asked_s:.0f} s")
    busy.pause_s = asked_s
    return busy


def _retry_after_s(value: str | None) -> float | None:
    """Seconds to wait: given as such, or as a date."""
    if value is None:
        return None
    # Also a raised 2 is a digit to Python, and in Latin 1, which heads are in.
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


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
