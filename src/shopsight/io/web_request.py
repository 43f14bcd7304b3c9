"""One request to a web server: over redirects, within limits, to the answer or to an error.

Nothing is tried again here; `web` and `shopsight.fetching` do, each in its own way.
"""

from __future__ import annotations

import base64
import email.utils
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead, responses
from importlib.metadata import version
from urllib.parse import SplitResult, unquote, urljoin

from shopsight.address_secrets import without_logins
from shopsight.errors import RemoteError, first_line
from shopsight.io.access import Access
from shopsight.io.addresses import endpoint, host_of, joined, shown, web_parts
from shopsight.io.connections import Connection, connection
from shopsight.io.web_content import BLOCK_BYTES, content_blocks

MOST_REDIRECTS = 5

# Of what a server says in words, of an address that it redirects to, and of a validator.
_LONGEST_REASON, _LONGEST_ADDRESS, _LONGEST_VALIDATOR = 100, 4096, 1024
# 30 years; a server may write a number of a thousand digits.
_LONGEST_WAIT_S = 1e9
_REDIRECTS = {301, 302, 303, 307, 308}
_NOT_MODIFIED = 304
_REASON_OF_STATUS = {
    **dict.fromkeys((404, 410), "missing"),
    **dict.fromkeys((401, 403, 407, 451), "forbidden"),
    408: "timed out",
    429: "too many requests",
}


class StatusError(RemoteError):
    """A server answered, but not with the file.

    Attributes:
        status: of the answer.
        asked_s: for how many seconds it asks to be left alone; None where it does not say.
    """

    status = 0
    asked_s: float | None = None


@dataclass(frozen=True)
class Validators:
    """By what a server knows whether a file is still the one that it gave.

    Attributes:
        address: that gave the file, behind all redirects; no other is asked with these.
        etag: the header ETag; None where there was none.
        last_modified: the header Last-Modified.
    """

    address: str
    etag: str | None = None
    last_modified: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a conditional request; none where nothing is known."""
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Answer:
    """What a server gave.

    Attributes:
        content: of the file; empty where it is unchanged.
        is_unchanged: the file is the one whose validators were sent (304).
        validators: those of this file.
        is_measured: how long the content is was said before it came, so that none is missing.
    """

    content: bytes
    is_unchanged: bool
    validators: Validators
    is_measured: bool


def joined_blocks(_total: int | None, blocks: Iterator[bytes]) -> bytes:
    """All of the content, in memory."""
    return b"".join(blocks)


@dataclass(frozen=True)
class Request:
    """How a file is asked for, and what becomes of it.

    Attributes:
        access: which hosts may be asked.
        most_bytes: the file may have.
        take: gets the number of bytes, where it is known, and the blocks; returns the content.
        answer_s: how long the answer may take, redirects included; None: `connections.ANSWER_S`
            for each.
        validators: of the file as it is known, which is then not sent again.
    """

    access: Access
    most_bytes: int
    take: Callable[[int | None, Iterator[bytes]], bytes] = field(default=joined_blocks)
    answer_s: float | None = None
    validators: Validators | None = None

    def conditions(self, address: str) -> Mapping[str, str]:
        """The headers that make a request of this address conditional."""
        known = self.validators
        return known.headers if known is not None and known.address == address else {}


def ask(parts: SplitResult, request: Request, *, fresh: bool) -> Answer:
    """Read the file that an address leads to, over redirects; each is checked like the first.

    Args:
        parts: of the address, as `web_parts` and `with_login` give them.
        request: how it is asked for.
        fresh: over a connection that was not used before.

    Raises:
        RemoteError: see `shopsight.io.reasons` for why; a `StatusError` where the server answered.
    """
    first, spent_s = parts, 0.0
    for _ in range(MOST_REDIRECTS + 1):
        check_web(joined(parts), request.access)
        began_s = time.monotonic()
        found = _ask_once(parts, request, fresh=fresh, login_of=first, spent_s=spent_s)
        if isinstance(found, Answer):
            return found
        spent_s += time.monotonic() - began_s
        parts = web_parts(found)
    raise RemoteError("bad answer", f"more than {MOST_REDIRECTS} redirects")


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


def _ask_once(
    parts: SplitResult, request: Request, *, fresh: bool, login_of: SplitResult, spent_s: float
) -> Answer | str:
    """Ask a server once: the file, or the address that it is redirected to."""
    conditions = request.conditions(without_logins(joined(parts)))
    try:
        with connection(parts, request.access, fresh=fresh) as lent:
            lent.answer_s, lent.spent_s = request.answer_s, spent_s
            try:
                response = _head(lent, parts, login_of, conditions)
            except (ConnectionError, HTTPException) as error:
                is_old = lent.used > 0 and not lent.is_interrupted
                if not is_old or isinstance(error, ConnectionRefusedError):
                    raise
                # The server had closed the connection meanwhile.
                lent.close()
                response = _head(lent, parts, login_of, conditions)
            lent.used += 1
            with response:
                try:
                    return _content(response, parts, request)
                finally:
                    if not response.isclosed() or response.will_close:
                        lent.close()
    except (OSError, HTTPException) as error:
        raise _why(error, parts) from error


def _head(
    lent: Connection, parts: SplitResult, login_of: SplitResult, conditions: Mapping[str, str]
) -> HTTPResponse:
    headers = {
        "User-Agent": f"shopsight/{version('shopsight')}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **conditions,
    }
    # A name and password are for the host that they were given for.
    if "@" in login_of.netloc and endpoint(joined(login_of)) == endpoint(joined(parts)):
        login = unquote(login_of.netloc.rpartition("@")[0])
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return lent.answer(parts, headers)


def _content(response: HTTPResponse, parts: SplitResult, request: Request) -> Answer | str:
    status, address = response.status, without_logins(joined(parts))
    if status != 200 and response.length is not None and response.length < BLOCK_BYTES:
        # A short page, which must be read before the next request.
        response.read()
    if status in _REDIRECTS and response.headers.get("Location"):
        return _there(parts, response.headers["Location"].strip())
    if status == 200:
        is_measured = response.length is not None or response.chunked
        content = request.take(response.length, content_blocks(response, request.most_bytes))
        return Answer(content, False, _validators(address, response.headers), is_measured)
    if status == _NOT_MODIFIED and request.conditions(address):
        assert request.validators is not None
        return Answer(b"", True, request.validators, True)
    raise _refusal(response)


def _validators(address: str, headers: HTTPMessage) -> Validators:
    etag, last_modified = headers.get("ETag"), headers.get("Last-Modified")
    return Validators(address, _validator(etag), _validator(last_modified))


def _validator(value: str | None) -> str | None:
    """A header to be sent back; None of one that no request could hold."""
    if not value or len(value) > _LONGEST_VALIDATOR or not value.isascii():
        return None
    return value if value.isprintable() else None


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
    asked_s = None
    if status in {429, 503}:
        asked_s = retry_after_s(response.headers.get("Retry-After"), response.headers.get("Date"))
    if asked_s is not None:
        said += f" and asks to wait {asked_s:.0f} s"
    error = StatusError(reason, said)
    error.status, error.asked_s = status, asked_s
    return error


def retry_after_s(value: str | None, date: str | None) -> float | None:
    """Seconds to wait, of a header that gives them or a moment; None where it gives neither.

    Args:
        value: the header Retry-After.
        date: the header Date: a moment is one by the server's clock, which may be wrong.
    """
    if value is None:
        return None
    # Also a raised 2 is a digit to Python, and in Latin 1, which heads are in.
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_WAIT_S)
    moment_s, now_s = _moment_s(value), _moment_s(date)
    return None if moment_s is None else max(0.0, moment_s - (now_s or time.time()))


def _moment_s(date: str | None) -> float | None:
    try:
        return None if date is None else email.utils.parsedate_to_datetime(date).timestamp()
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
