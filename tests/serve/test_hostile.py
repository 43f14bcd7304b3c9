"""What a stranger may send: no 5xx, nothing of it in the log, and the next good request in time."""

from __future__ import annotations

import io
import random
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.serve.service import Service, form, serving_within

pytestmark = pytest.mark.enable_socket  # the service is on this machine

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"


@pytest.fixture(scope="module")
def strict(tiny_run: Path) -> Iterator[Service]:
    """A service that waits for a second where others wait for ten."""
    with serving_within(
        tiny_run, header_seconds=1.0, body_seconds=3.0, stalled_seconds=1.0, connections=40
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _still_well(strict: Service, photo: bytes) -> Iterator[None]:
    yield
    started = time.monotonic()
    assert strict.post_image("/v1/predict", photo).status == 200
    assert time.monotonic() - started < 10
    said = "".join(strict.lines)
    assert "Traceback" not in said
    assert "error:" not in said
    assert "/" not in said.partition("serving at")[2].replace("http://127.0.0.1", "")


def _sent(service: Service, data: bytes, *, pause: float = 0.0) -> bytes:
    """What comes back until the service closes, or answers a whole request."""
    with service.connect() as connection:
        connection.settimeout(15)
        try:
            connection.sendall(data)
            time.sleep(pause)
            return _received(connection)
        except OSError:
            return b""


def _received(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65_536):
        pieces.append(piece)
        if b"\r\n\r\n" in b"".join(pieces) and b"keep" not in piece:
            break
    return b"".join(pieces)


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000_000, {0, 400}),
        (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 300_000, {0, 400}),
        (b"GET " + b"/" * 30_000 + b" HTTP/1.1\r\n\r\n", {0, 400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), {0, 400}),
        (b"GET / HTTP/9.9\r\n\r\n", {400, 403}),
        (b"GET /healthz HTTP/1.1\r\n\r\n", {0, 400, 403}),
        (HEAD + b"Content-Length: -5\r\n\r\n", {0, 400}),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", {400}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc", {0, 400}),
        (HEAD + b"Content-Length: 900000000\r\n\r\nabc", {413}),
        (HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", {400}),
        (b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n\r\n", {415}),
        (b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
        (b"GET /static/..%2f..%2fapp.py HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
        (b"GET /%00%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n", {404}),
    ],
    ids=range(15),
)
def test_what_is_no_request(strict: Service, data: bytes, allowed: set[int]) -> None:
    assert _status(_sent(strict, data)) in allowed


def test_a_large_chunked_body_is_refused(strict: Service) -> None:
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = _sent(strict, head + chunk * 24 + b"0\r\n\r\n")
    assert _status(answer) == 413


@pytest.mark.parametrize(
    ("data", "allowed"),
    [
        (b"GET /healthz HTTP/1.1\r\nHo", {0}),
        (b"", {0}),
        (HEAD + b"Content-Length: 1000\r\n\r\nabc", {408}),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", {408}),
    ],
)
def test_a_slow_client_is_not_waited_for(strict: Service, data: bytes, allowed: set[int]) -> None:
    started = time.monotonic()
    assert _status(_sent(strict, data)) in allowed
    assert time.monotonic() - started < 8


def test_a_header_that_trickles_is_cut_off(strict: Service) -> None:
    """Each byte comes in time, the header does not."""
    with strict.connect() as connection:
        started = time.monotonic()
        with suppress(OSError):  # reset, or broken pipe
            while time.monotonic() - started < 10:
                connection.sendall(b"G")
                time.sleep(0.2)
        assert time.monotonic() - started < 6


def test_a_body_that_is_cut_off(strict: Service, photo: bytes) -> None:
    body, kind = form([("file", photo)])
    for end in (0, 10, len(body) // 2, len(body) - 3):
        with strict.connect() as connection:
            head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:end])


def test_clients_that_leave_are_forgotten(strict: Service, photo: bytes) -> None:
    body, kind = form([("file", photo)] * 30)
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    for _ in range(8):
        with strict.connect() as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    ends = time.monotonic() + 30
    while b"shopsight_waiting_images 0.0" not in strict.get("/metrics").body:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_too_many_connections(strict: Service) -> None:
    held = [strict.connect() for _ in range(60)]
    try:
        time.sleep(0.3)
    finally:
        for one in held:
            one.close()
    time.sleep(0.3)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _bomb(width: int, height: int) -> bytes:
    """A PNG of RGBA that is small as a file and large as pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 4 * width)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", pixels)
        + _chunk(b"IEND", b"")
    )


def test_a_picture_of_3_gigabytes(strict: Service) -> None:
    data = _bomb(13_000, 13_000)
    assert len(data) < 1_000_000
    before = psutil.Process(strict.process.pid).memory_info().rss
    started = time.monotonic()
    found = strict.post_files("/v1/predict", [data] * 8).json()["predictions"]
    assert [one["error"]["reason"] for one in found] == ["too large"] * 8
    assert time.monotonic() - started < 5
    assert psutil.Process(strict.process.pid).memory_info().rss - before < 200_000_000


def _files() -> dict[str, bytes]:
    found = {}
    image = Image.effect_noise((120, 90), 60).convert("RGB")
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        file = io.BytesIO()
        image.save(file, kind)
        found[kind] = file.getvalue()
    return found


def test_fuzzed_images(strict: Service) -> None:
    """Bytes changed, cut, doubled and put together: an answer for each, and no growth."""
    whole, source = _files(), random.Random(5)
    process = psutil.Process(strict.process.pid)
    sizes = []
    for round_ in range(12):
        damaged = [_damaged(source, list(whole.values())) for _ in range(50)]
        answer = strict.post_files("/v1/predict", damaged)
        assert answer.status == 200, answer.body[:300]
        for one in answer.json()["predictions"]:
            assert (one["error"] is None) == bool(one["labels"])
        if round_ >= 4:
            sizes.append(process.memory_info().rss)
    assert max(sizes) < 1.2 * sizes[0]


def _damaged(source: random.Random, files: list[bytes]) -> bytes:
    data = bytearray(source.choice(files))
    for _ in range(source.randrange(1, 20)):
        data[source.randrange(len(data))] = source.randrange(256)
    if source.random() < 0.3:
        del data[source.randrange(len(data)) :]
    if source.random() < 0.2:
        data += source.choice(files)
    return bytes(data)


def _answers_to_twelve(service: Service, body: bytes, kind: str) -> list[bytes]:
    """What twelve connections are answered that ask at once."""
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    connections = [service.connect() for _ in range(12)]
    for one in connections:
        one.sendall(request)
    answers = [_received(one) for one in connections]
    for one in connections:
        one.close()
    return answers


def test_many_wait_and_some_are_asked_to_come_again(tiny_run: Path, photo: bytes) -> None:
    with serving_within(tiny_run, queue_seconds=0.0) as busy:
        body, kind = form([("file", photo)] * 60)
        answers = _answers_to_twelve(busy, body, kind)
        assert {_status(answer) for answer in answers} == {200, 429}
        (refused, *_) = [answer for answer in answers if _status(answer) == 429]
        wait = refused.lower().partition(b"retry-after: ")[2].partition(b"\r\n")[0]
        assert 1 <= int(wait) <= 60


def test_much_that_comes_slowly_keeps_nobody_out(tiny_run: Path, photo: bytes) -> None:
    """Where bodies that do not end fill the measure, the largest is given up for a photo."""
    with serving_within(tiny_run, bodies_bytes=3_000_000, stalled_seconds=60.0) as small:
        head = HEAD + b"Content-Length: 1000000\r\n\r\n"
        held = [small.connect() for _ in range(6)]
        for one in held:
            one.sendall(head + bytes(900_000))
        time.sleep(0.5)
        started = time.monotonic()
        for _ in range(3):
            assert small.post_image("/v1/predict", photo + bytes(150_000)).status == 200
        assert time.monotonic() - started < 10
        for one in held:
            one.settimeout(0.5)
        answers = []
        for one in held:
            with suppress(OSError):
                answers.append(_received(one))
            one.close()
        assert answers
        for answer in answers:
            assert _status(answer) == 429
            assert b"retry-after" in answer.lower()
            assert b"connection: close" in answer.lower()


def test_a_body_counts_until_it_is_answered(tiny_run: Path, photo: bytes) -> None:
    body, kind = form([("file", photo)] * 60)
    with serving_within(tiny_run, bodies_bytes=2 * len(body)) as small:
        answers = _answers_to_twelve(small, body, kind)
        assert {_status(answer) for answer in answers} == {200, 429}
        assert small.post_image("/v1/predict", photo, kind).status == 400
        assert small.post_files("/v1/predict", [photo] * 60).status == 200
