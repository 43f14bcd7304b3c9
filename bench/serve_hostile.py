"""What strangers send to the service, for bench/serve.py: by thousands, and several at a time.

Fuzzed images, pictures of 13,000 x 13,000 pixels, headers of 40 MB, bodies that are cut off,
clients that send slowly or stay silent, paths that lead out. While that comes, somebody else sends
a good photo every second. Asserted: no answer of 5xx, no growth of memory, and the good photo's
answer in time.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import statistics
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import psutil
from PIL import Image
from serve_clients import ROUTE, asked, form, photo, request, resident_mb, service, started

from shopsight.serve.limits import Limits

TOGETHER = 60
"""Damaged images in a request."""
AT_A_TIME = 6
EVERY_S = 1.0
LONGEST_S = Limits().queue_seconds
"""As much work may wait before a good photo."""
MOST_GROWTH = 0.1
HUGE_HEADER = 40_000_000
SHARES = {"bomb": 0.02, "header": 0.004, "cut": 0.03, "slow": 0.012, "path": 0.04}
"""Of all uploads, by kind; the others are fuzzed images."""
PATHS = (
    "/v1/../../etc/passwd",
    "/static/..%2f..%2f..%2fetc/passwd",
    "/static/%2e%2e/%2e%2e/server.py",
    "/v1/items/..%2f..%2fmodel.json/thumbnail",
    "/v1/items/%00/thumbnail",
    "//etc/passwd",
    "/..\\..\\windows\\win.ini",
    "/%ff%fe/..;/",
)
NAMES = ("../../../etc/cron.d/x", "..\\..\\boot.ini", "/etc/passwd", "a\0b.jpg", "CON", "x" * 5_000)

Attack = Callable[[int, random.Random], Coroutine[Any, Any, int]]


def whole_images() -> list[bytes]:
    """An image of each format that the service reads, and of some that it does not."""
    found = []
    image = Image.effect_noise((120, 90), 60).convert("RGB")
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "TIFF", "PPM"):
        file = io.BytesIO()
        image.save(file, kind)
        found.append(file.getvalue())
    progressive = io.BytesIO()
    image.save(progressive, "JPEG", progressive=True)
    return [*found, progressive.getvalue(), photo(200)]


def damaged(source: random.Random, files: list[bytes]) -> bytes:
    """A file with bytes changed, cut, or another one behind it."""
    data = bytearray(source.choice(files))
    for _ in range(source.randrange(1, 30)):
        data[source.randrange(len(data))] = source.randrange(256)
    if source.random() < 0.3:
        del data[source.randrange(len(data)) :]
    if source.random() < 0.2:
        data += source.choice(files)
    return bytes(data)


def bomb(side: int = 13_000) -> bytes:
    """A PNG of RGBA that is small as a file and large as pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 4 * side)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def hostile(model: str, count: int) -> None:
    """Send so many uploads, a few at a time, in an order that is always the same."""
    source = random.Random(0)
    with started(service(model)) as (process, port):
        found = asyncio.run(_attacked(process, port, _orders(count, source), source))
    print("hostile:", json.dumps(found), flush=True)
    assert not [one for one in found["statuses"] if one.startswith("5")], found
    assert found["good"]["others"] == {}, found
    assert found["good"]["longest_s"] < LONGEST_S, found
    assert found["mb_at_the_end"] < (1 + MOST_GROWTH) * found["mb_after_a_fifth"], found


def _orders(count: int, source: random.Random) -> list[tuple[str, int]]:
    """What to send: a kind, and how many uploads one request of it is."""
    orders = []
    for kind, share in SHARES.items():
        orders += [(kind, 1)] * round(share * count)
    left = count - len(orders)
    while left > 0:
        orders.append(("fuzzed", min(TOGETHER, left)))
        left -= TOGETHER
    source.shuffle(orders)
    return orders


async def _attacked(
    process: psutil.Process, port: int, orders: list[tuple[str, int]], source: random.Random
) -> dict[str, Any]:
    attacks = _attacks(port)
    statuses, memory, began = Counter[str](), list[float](), time.perf_counter()
    times, others = list[float](), Counter[int]()
    good = asyncio.ensure_future(_good_photos(port, times, others))
    todo = iter(orders)
    slow = list[asyncio.Task[int]]()

    async def attack() -> None:
        for kind, number in todo:
            if kind == "slow":
                # They stay for as long as the service lets them, beside the others.
                slow.append(asyncio.ensure_future(attacks[kind](number, source)))
                continue
            status = await attacks[kind](number, source)
            statuses[f"{status} {kind}"] += number
            memory.append(resident_mb(process))

    await asyncio.gather(*[attack() for _ in range(AT_A_TIME)])
    for status in await asyncio.gather(*slow):
        statuses[f"{status} slow"] += 1
    good.cancel()
    with suppress(asyncio.CancelledError):
        await good
    started_last = time.perf_counter()
    last = await asked(port, request(ROUTE, photo(), "image/jpeg"))
    return {
        "uploads": sum(statuses.values()),
        "seconds": round(time.perf_counter() - began),
        "statuses": dict(sorted(statuses.items())),
        "mb_after_a_fifth": round(memory[len(memory) // 5], 1),
        "mb_at_the_end": round(resident_mb(process), 1),
        "mb_at_most": round(max(memory), 1),
        "good": {
            "answered": len(times),
            "others": dict(others),
            "p50_s": round(statistics.median(times), 2),
            "longest_s": round(max(times), 2),
            "after_all": [last, round(time.perf_counter() - started_last, 3)],
        },
    }


async def _good_photos(port: int, times: list[float], others: Counter[int]) -> None:
    data = request(ROUTE, photo(), "image/jpeg")
    while True:
        started_at = time.perf_counter()
        status = await asked(port, data)
        if status == 200:
            times.append(time.perf_counter() - started_at)
        else:
            others[status] += 1
        await asyncio.sleep(EVERY_S)


def _attacks(port: int) -> dict[str, Attack]:
    files, huge, good = whole_images(), bomb(), photo(200)

    async def fuzzed(number: int, source: random.Random) -> int:
        some = [damaged(source, files) for _ in range(number)]
        return await asked(port, request(ROUTE, *form(some)))

    async def bombs(_: int, source: random.Random) -> int:
        if source.random() < 0.5:
            return await asked(port, request(ROUTE, huge, "image/png"))
        return await asked(port, request(ROUTE, *form([huge, good, huge])))

    async def header(_: int, source: random.Random) -> int:
        one = b"X: " + b"a" * HUGE_HEADER if source.random() < 0.5 else b"A: b\r\n" * 300_000
        return await asked(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + one)

    async def cut(_: int, source: random.Random) -> int:
        data = request(ROUTE, *form([good]))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data[: source.randrange(1, len(data))])
        with suppress(OSError):
            await writer.drain()
        writer.close()
        return 0

    async def slow(_: int, source: random.Random) -> int:
        return await _slowly(port, source, good)

    async def path(_: int, source: random.Random) -> int:
        if source.random() < 0.5:
            return await asked(port, request(ROUTE, *form([good], source.choice(NAMES))))
        head = f"GET {source.choice(PATHS)} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        return await asked(port, head.encode("latin-1"))

    return {
        "fuzzed": fuzzed,
        "bomb": bombs,
        "header": header,
        "cut": cut,
        "slow": slow,
        "path": path,
    }


async def _slowly(port: int, source: random.Random, good: bytes) -> int:
    """Half a header, a silent body, one that trickles, or most of a large one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    large = request(ROUTE, good + bytes(19_000_000), "image/jpeg")
    small = request(ROUTE, good, "image/jpeg")
    first = source.choice([b"POST /v1/pre", small[:200], small[:-100], large[:-100]])
    try:
        writer.write(first)
        while not reader.at_eof() and first == small[:-100]:
            with suppress(TimeoutError):
                async with asyncio.timeout(2):
                    head = await reader.readuntil(b"\r\n")
                    return int(head.split(b" ", 2)[1])
            writer.write(b"\0")
        head = await reader.readuntil(b"\r\n")
        return int(head.split(b" ", 2)[1])
    except (OSError, asyncio.IncompleteReadError):
        return 0
    finally:
        writer.close()
