"""What a web server may send, broken in many ways: heads, lengths, chunks, packing, redirects.

An input is what a server sends to each request. What follows `REPEATED` in it is sent again and
again, until the other side has enough or `ENDLESS_S` are over. Limits of time are cut, so that
what keeps sending for ever is told from what ends.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import random
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from shopsight.errors import RemoteError
from shopsight.io import connections, web
from shopsight.io.access import Access
from shopsight.io.reasons import REASONS
from tests.fuzz.file_bytes import photo
from tests.fuzz.limits import named

REPEATED = b"||repeated||"
MOST_BYTES = 1_000_000
ENDLESS_S = 3.0
ANSWER_S, SILENCE_S, LONGEST_PAUSE_S = 1.0, 0.3, 0.05
LONGEST_ERROR = 1_000
_READ_BYTES = 1 << 16


def read_from_server(path: Path) -> str:
    """Read a file from a server that sends this; what comes is no longer than it may be."""
    limits = (
        patch.object(connections, "ANSWER_S", ANSWER_S),
        patch.object(connections, "SILENCE_S", SILENCE_S),
        patch.object(web, "FIRST_PAUSE_S", 0.0),
        patch.object(web, "LONGEST_PAUSE_S", LONGEST_PAUSE_S),
    )
    with contextlib.ExitStack() as stack:
        for limit in limits:
            stack.enter_context(limit)
        port = stack.enter_context(_sending(path.read_bytes()))
        access = Access(hosts=frozenset({("127.0.0.1", port)}))
        try:
            data = web.fetch(f"http://127.0.0.1:{port}/a.jpg", access, most_bytes=MOST_BYTES)
        except RemoteError as error:
            refused = error
        else:
            assert len(data) <= MOST_BYTES
            return "file"
        finally:
            connections.forget_hosts()
        assert refused.reason in REASONS
        length = len(str(refused))
        assert length < LONGEST_ERROR, f"an error of {length:,} characters"
        return named(refused)


@contextlib.contextmanager
def _sending(data: bytes) -> Iterator[int]:
    """A server that sends this to each request, and closes the connection; its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    data = data.replace(b"{PORT}", str(listening.getsockname()[1]).encode())
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                lent, _ = listening.accept()
                threading.Thread(target=answer, args=(lent,), daemon=True).start()

    def answer(lent: socket.socket) -> None:
        with lent, contextlib.suppress(OSError):
            lent.settimeout(ENDLESS_S)
            asked = b""
            while b"\r\n\r\n" not in asked and (more := lent.recv(_READ_BYTES)):
                asked += more
            start, mark, part = data.partition(REPEATED)
            lent.sendall(start)
            end = time.monotonic() + ENDLESS_S
            block = part * max(1, _READ_BYTES // max(1, len(part)))
            while mark and block and time.monotonic() < end and not stopped.is_set():
                lent.sendall(block)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        stopped.set()
        # Wakes the thread that waits.
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(1.0)


def _answer(*headers: bytes, body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", b""]) + body


def _sized(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    length = b"Content-Length: " + str(len(body)).encode()
    return _answer(length, *headers, body=body, status=status)


def _chunked(body: bytes, size: int = 100) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@functools.cache
def whole_answers() -> dict[str, bytes]:
    """Answers that are a file."""
    file = photo(1)
    packed, deflated = gzip.compress(file, mtime=0), zlib.compress(file)
    return {
        "sized": _sized(file),
        "unsized": _answer(b"Connection: close", body=file),
        "old": b"HTTP/1.0 200 OK\r\n\r\n" + file,
        "chunked": _answer(b"Transfer-Encoding: chunked", body=_chunked(file)),
        "gzip": _sized(packed, b"Content-Encoding: gzip"),
        "deflate": _sized(deflated, b"Content-Encoding: deflate"),
        "gzip-chunked": _answer(
            b"Transfer-Encoding: chunked", b"Content-Encoding: gzip", body=_chunked(packed)
        ),
        "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + _sized(file),
    }


@functools.cache
def hostile_answers() -> dict[str, bytes]:
    """Answers that must be refused, by what they try."""
    file = photo(1)
    bomb = gzip.compress(bytes(20 * MOST_BYTES), mtime=0)
    # Blocks of no content, which are not the last one.
    nothing = zlib.compressobj(0, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    empty = nothing.compress(b"") + nothing.flush(zlib.Z_SYNC_FLUSH)
    chunks = b"Transfer-Encoding: chunked"
    gzipped = b"Content-Encoding: gzip"
    return {
        "endless": _answer(body=REPEATED + bytes(1000)),
        "endless-chunks": _answer(chunks, body=REPEATED + b"3\r\nabc\r\n"),
        "endless-chunk-line": _answer(chunks, body=REPEATED + b"0"),
        "endless-trailer": _answer(chunks, body=b"3\r\nabc\r\n0\r\n" + REPEATED + b"A: b\r\n"),
        "endless-continue": REPEATED + b"HTTP/1.1 100 Continue\r\n\r\n",
        "endless-headers": b"HTTP/1.1 200 OK\r\n" + REPEATED + b"A: b\r\n",
        "endless-header": b"HTTP/1.1 200 OK\r\nA: " + REPEATED + b"b",
        "endless-status": REPEATED + b"HTTP/1.1",
        "endless-error": _answer(status=b"404 no", body=REPEATED + b"no"),
        "long-reason": _answer(status=b"500 " + b"x" * 60_000),
        "long-location": _sized(b"", b"Location: http://h/" + b"x" * 60_000, status=b"302 x"),
        "bomb": _sized(bomb, gzipped),
        "behind-the-end": _answer(gzipped, body=gzip.compress(file) + REPEATED + bytes(1000)),
        "packed-nothing": _answer(gzipped, body=empty + REPEATED + b"\x00\x00\x00\xff\xff"),
        "loop": _sized(b"", b"Location: /a.jpg", status=b"302 Found"),
        "silent": b"HTTP/1.1 200 OK\r\n",
        "short": _sized(file)[:-100],
        "retry": _sized(b"", b"Retry-After: \xb2", status=b"503 busy"),
        "retry-late": _sized(b"", b"Retry-After: " + b"9" * 400, status=b"503 busy"),
        "location": _sized(b"", b"Location: http://[::1", status=b"302 Found"),
        "location-port": _sized(b"", b"Location: http://h:99999/", status=b"302 Found"),
        "location-file": _sized(b"", b"Location: file:///etc/passwd", status=b"302 Found"),
        "location-private": _sized(b"", b"Location: http://10.0.0.1/", status=b"302 Found"),
        "location-name": _sized(b"", b"Location: http://" + b"a" * 70, status=b"302 Found"),
        "location-letters": _sized(b"", b"Location: /\xe9?\xff=\x80 x", status=b"302 Found"),
        "location-nul": _sized(b"", b"Location: /\x00\r\n /b", status=b"302 Found"),
    }


_HEADERS = (
    b"Content-Length: -1", b"Content-Length: 1e9", b"Content-Length: 99999999999999999999",
    b"Content-Length: 0", b"Content-Length: 5, 6", b"Content-Length: \xb2", b"Content-Length:",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Encoding: br",
    b"Content-Encoding: gzip", b"Content-Encoding: deflate", b"Content-Encoding: \xff",
    b"Connection: keep-alive", b"Connection: close", b"Retry-After: 1e400", b"Retry-After: \xb2",
    b"Retry-After: Fri, 31 Dec 999999 23:59:59 GMT", b"Retry-After: -5", b"Location:",
    b"Location: //", b"Location: http://", b"Location: http://user:pw@127.0.0.1:{PORT}/",
    b"Location: http://127.0.0.1:{PORT}/b", b"Location: ///x", b"Location: ?", b"Location: #",
    b"Location: http://\xe9.example/", b"Location: http://a..b/", b"Location: zip://x::http://h/",
    b"Location: http://127.0.0.1:{PORT}:1/", b"Location: http://[v1.x]/", b"Location: s3://b/a",
    b" folded: x", b":", b"\x00", b"A" * 70_000 + b": b",
)  # fmt: skip
_STATUS = (
    b"HTTP/1.1 302 Found", b"HTTP/1.1 308 x", b"HTTP/1.1 503 busy", b"HTTP/1.1 429 \x1b[2J",
    b"HTTP/1.1 99 x", b"HTTP/1.1 1000 x", b"HTTP/1.1 -1 x", b"HTTP/1.1 \xb2\xb2\xb2 x",
    b"HTTP/0.9 200", b"HTTP/2 200", b"HTTP/9.9 200 OK", b"HTTP/1.1", b"", b"ICY 200 OK",
    b"HTTP/1.1 204 none", b"HTTP/1.1 206 part", b"HTTP/1.1 304 same", b"HTTP/1.1 101 switch",
    b"HTTP/1.1 401 " + b"x" * 70_000, b"\x16\x03\x01\x02\x00",
)  # fmt: skip


def edit_head(data: bytes, rng: random.Random) -> bytes:
    """Exchange the status, or add, exchange or remove a header."""
    head, blank, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    kind, at = rng.randrange(4), rng.randrange(1, len(lines) + 1)
    if kind == 0:
        lines[0] = rng.choice(_STATUS)
    elif kind == 1:
        lines[at : at + 1] = [rng.choice(_HEADERS)]
    elif kind == 2 and len(lines) > 1:
        del lines[at - 1]
    else:
        lines.insert(at, rng.choice(_HEADERS))
    return b"\r\n".join(lines) + blank + body


def repeat_end(data: bytes, rng: random.Random) -> bytes:
    """Send what follows some place for ever."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + REPEATED + data[at : at + rng.choice((1, 7, 100, 5000))]


IN_ANSWERS = (edit_head, edit_head, edit_head, repeat_end)
