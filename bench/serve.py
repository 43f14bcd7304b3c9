"""The service against plain FastAPI + timm, on one machine and in one run.

    python bench/serve.py MODEL [--seconds 10] [--stops 20] [--hostile 10000]

Both serve the same backbone in a process of its own; the clients are a third process, with
connections that are kept, at 1, 8 and 64 clients. Then the service is stopped under load, and asked
what strangers ask. Figures are ratios: what else runs on the machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from shopsight.datasets.synthetic import draw_product

CLIENTS = (1, 8, 64)
STOP_CLIENTS = 16
PEER = Path(__file__).with_name("serve_peer.py")


def photo(side: int = 600) -> bytes:
    """A JPEG of about 50 kB, as a shop's photos are."""
    image = Image.fromarray(draw_product("shoe", number=1, view=0, seed=0)).resize((side, side))
    noise = np.random.default_rng(0).normal(0, 6, (side, side, 3))
    file = io.BytesIO()
    pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def request(path: str, body: bytes, kind: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def form(files: list[bytes]) -> tuple[bytes, str]:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = b"".join(head + data + b"\r\n" for data in files) + b"--x--\r\n"
    return body, "multipart/form-data; boundary=x"


async def answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1]), b"connection: close" not in head


async def ask_until(
    port: int, data: bytes, ends: float, times: list[float], lost: list[str]
) -> None:
    """One client: on a connection until it is closed, then on a new one."""
    while time.perf_counter() < ends:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        keep = True
        while keep and time.perf_counter() < ends:
            started = time.perf_counter()
            try:
                writer.write(data)
                status, keep = await answer(reader)
            except (OSError, asyncio.IncompleteReadError) as error:
                lost.append(repr(error))
                return
            if status == 200:
                times.append(time.perf_counter() - started)
        writer.close()


def load(port: int, data: bytes, clients: int, seconds: float, results: object) -> None:
    """Ask for so long; puts the times of answers and what was lost into a queue."""

    async def run() -> None:
        times, lost = list[float](), list[str]()
        ends = time.perf_counter() + seconds
        asking = [ask_until(port, data, ends, times, lost) for _ in range(clients)]
        await asyncio.gather(*asking)
        results.put((times, lost))  # type: ignore[attr-defined]

    asyncio.run(run())


def measured(port: int, data: bytes, clients: int, seconds: float) -> tuple[list[float], list[str]]:
    """The clients run in a process of their own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=load, args=(port, data, clients, seconds, queue))
    process.start()
    found = queue.get(timeout=seconds + 120)
    process.join()
    return found


@contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, command
                time.sleep(0.2)
        # The port listens before the model is there: one answer is waited for.
        measured(port, request("/v1/predict", *form([photo()])), 1, 3)
        yield process, port
    finally:
        process.kill()
        process.wait()


def service(model: str) -> list[str]:
    return [sys.executable, "-m", "shopsight", "serve", model]


def speed(model: str, seconds: float) -> dict[str, object]:
    """Requests a second, and the processor time of one: what else runs slows only the former."""
    body, kind = form([photo()])
    data = request("/v1/predict", body, kind)
    rows: dict[str, object] = {}
    peer_command = [sys.executable, str(PEER)]
    with started(peer_command) as peer, started(service(model)) as ours:
        for clients in CLIENTS:
            times: dict[str, list[float]] = {"peer": [], "ours": []}
            cpu = dict.fromkeys(times, 0.0)
            # In turns, so that what else runs slows both.
            for name, one in (("peer", peer), ("ours", ours), ("ours", ours), ("peer", peer)):
                process, port = psutil.Process(one[0].pid), one[1]
                before = process.cpu_times()
                found, lost = measured(port, data, clients, seconds / 2)
                assert not lost, lost
                after = process.cpu_times()
                times[name].extend(found)
                cpu[name] += after.user + after.system - before.user - before.system
            rate = {name: len(found) / seconds for name, found in times.items()}
            cpu_ms = {name: 1000 * cpu[name] / max(1, len(times[name])) for name in times}
            rows[f"{clients} clients"] = {
                "requests_per_second": {name: round(one, 1) for name, one in rate.items()},
                "p50_ms": {n: round(1000 * float(np.median(one)), 1) for n, one in times.items()},
                "cpu_ms_per_request": {name: round(one, 1) for name, one in cpu_ms.items()},
                "times_as_fast": round(rate["ours"] / rate["peer"], 2),
                "times_less_cpu": round(cpu_ms["peer"] / cpu_ms["ours"], 2),
            }
            print(f"{clients} clients:", json.dumps(rows[f"{clients} clients"]), flush=True)
    return rows


def stops(model: str, count: int) -> dict[str, int]:
    """Stop the service under load of clients that keep their connections."""
    body, kind = form([photo()])
    data = request("/v1/predict", body, kind)
    context = multiprocessing.get_context("spawn")
    lost, answered, codes = 0, 0, set[int]()
    for _ in range(count):
        with started(service(model)) as (process, port):
            queue = context.Queue()
            client = context.Process(target=load, args=(port, data, STOP_CLIENTS, 600.0, queue))
            client.start()
            time.sleep(3)
            process.send_signal(signal.SIGTERM)
            codes.add(process.wait(60))
            times, missing = queue.get(timeout=60)
            client.join()
            lost, answered = lost + len(missing), answered + len(times)
    found = {"stops": count, "answered": answered, "lost": lost, "exit_codes": sorted(codes)}
    print("stops:", json.dumps(found), flush=True)
    return found  # type: ignore[return-value]


def hostile(model: str, count: int) -> dict[str, object]:
    """Damaged files, sixty in a request: statuses, memory, and the next good request."""
    source, good = random.Random(0), photo(200)
    with started(service(model)) as (process, port):
        memory, statuses = [], dict[int, int]()
        for first in range(0, count, 60):
            files = [_damaged(source, good) for _ in range(min(60, count - first))]
            status = asyncio.run(_once(port, request("/v1/predict", *form(files))))
            statuses[status] = statuses.get(status, 0) + len(files)
            memory.append(psutil.Process(process.pid).memory_info().rss >> 20)
        began = time.perf_counter()
        after = asyncio.run(_once(port, request("/v1/predict", photo(), "image/jpeg")))
        found = {
            "uploads_by_status": statuses,
            "mb_after_a_tenth": memory[len(memory) // 10],
            "mb_at_the_end": memory[-1],
            "next_good": [after, round(1000 * (time.perf_counter() - began), 1)],
        }
    print("hostile:", json.dumps(found), flush=True)
    return found


async def _once(port: int, data: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    status, _ = await answer(reader)
    writer.close()
    return status


def _damaged(source: random.Random, good: bytes) -> bytes:
    data = bytearray(good)
    for _ in range(source.randrange(1, 30)):
        data[source.randrange(len(data))] = source.randrange(256)
    if source.random() < 0.3:
        del data[source.randrange(len(data)) :]
    return bytes(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a run or a bundle of tf_efficientnet_lite0")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--hostile", type=int, default=10_000)
    given = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {len(photo()) >> 10} kB",
        flush=True,
    )
    speed(given.model, given.seconds)
    if given.stops:
        stops(given.model, given.stops)
    if given.hostile:
        hostile(given.model, given.hostile)


if __name__ == "__main__":
    main()
