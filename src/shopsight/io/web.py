"""Files from web servers: what may pass is tried again, and a host that fails is left alone.

Not by fsspec and aiohttp: they neither check where a redirect leads, nor bound an answer's size
and time, nor tell a page that is not there from a server that is down.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from shopsight.errors import RemoteError
from shopsight.io import connections
from shopsight.io.access import PUBLIC, Access
from shopsight.io.addresses import shown, web_parts
from shopsight.io.connections import Host, host_state
from shopsight.io.logins import with_login
from shopsight.io.web_request import Request, StatusError, ask
from shopsight.progress import task

TRIES = 4
FIRST_PAUSE_S = 0.5
"""Before the second try; doubled for each further one."""
LONGEST_PAUSE_S = 120.0
"""A host that asks for more patience is not asked again."""
GIVE_UP_AFTER = 3
"""So many requests failed for good, one after another: the next ones are tried once."""
RECOVERY_S = 60.0
"""How long a host is left alone that did not answer the last `GIVE_UP_AFTER` requests in time."""

# Requests that may succeed later.
_PASSING = {"timed out", "interrupted", "too many requests", "server error"}


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
    return _tried(address, Request(access, most_bytes), tries=TRIES)


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

        request = Request(PUBLIC.typed(address), most_bytes, take=write, answer_s=answer_s)
        try:
            _tried(address, request, tries=1)
        except _NotWrittenError as failed:
            raise failed.error from None


class _NotWrittenError(Exception):
    """What came cannot be kept; an `OSError` itself would count as one of the connection."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _tried(address: str, request: Request, *, tries: int) -> bytes:
    """Ask for a file up to so many times; a host that failed again and again is asked once."""
    parts = with_login(web_parts(address))
    host = host_state(parts)
    tries = 1 if host.failures >= GIVE_UP_AFTER else tries
    began_s = time.monotonic()
    for number in range(1, tries + 1):
        _wait_for(host, address)
        try:
            answer = ask(parts, request, fresh=number > 1)
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
            if _asked_s(error) is not None:
                # The other threads that ask this host wait as well.
                host.busy_until_s = time.monotonic() + pause_s
            else:
                time.sleep(pause_s)
        else:
            host.failures = 0
            return answer.content
    raise AssertionError("the last try returns or raises")


def _pause_s(error: RemoteError, number: int) -> float | None:
    """How long to wait before the next try; None where that would not help."""
    if error.reason not in _PASSING:
        return None
    pause_s = max(FIRST_PAUSE_S * 2 ** (number - 1), _asked_s(error) or 0.0)
    return pause_s if pause_s <= LONGEST_PAUSE_S else None


def _asked_s(error: RemoteError) -> float | None:
    """For how many seconds the server asks to be left alone."""
    return error.asked_s if isinstance(error, StatusError) else None


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
