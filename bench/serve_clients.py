"""Clients for bench/serve.py and its parts, and processes that serve on a free port."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import psutil
from PIL import Image

from shopsight.datasets.synthetic import draw_product

ROUTE = "/v1/predict"
TRIES_S, LONGEST_START_S = 0.2, 60.0


def photo(side: int = 600, number: int = 1) -> bytes:
    """A JPEG as a shop's photos are; of 600 pixels a side it has about 60 kB."""
    image = Image.fromarray(draw_product("shoe", number=number, view=0, seed=0))
    noise = np.random.default_rng(number).normal(0, 6, (side, side, 3))
    file = io.BytesIO()
    pixels = np.clip(np.asarray(image.resize((side, side))) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()


def request(path: str, body: bytes, kind: str) -> bytes:
    """The bytes of a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def form(files: list[bytes], filename: str = "a") -> tuple[bytes, str]:
    """A form with a field `file` for each, and its content type."""
    head = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    body = b"".join(head.encode() + data + b"\r\n" for data in files) + b"--x--\r\n"
    return body, "multipart/form-data; boundary=x"


async def answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The status, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1]), b"connection: close" not in head


async def asked(port: int, data: bytes) -> int:
    """The status of one request on a connection of its own; 0 where it was closed without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        status, _ = await answer(reader)
        return status
    except (OSError, asyncio.IncompleteReadError):
        return 0
    finally:
        writer.close()


class Clients:
    """Clients that keep their connections, in a process of their own.

    Args:
        port: of the service.
        requests: what they send, in turn.
        clients: how many.
        seconds: how long.
        most: answers after which they end.
    """

    def __init__(
        self,
        port: int,
        requests: list[bytes],
        clients: int,
        *,
        seconds: float = 600.0,
        most: int | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue()
        self._seconds = seconds
        self._process = context.Process(
            target=_load, args=(port, requests, clients, seconds, most, self._queue)
        )
        self._process.start()

    def results(self) -> tuple[list[float], list[str]]:
        """The seconds of each answer of 200, and what was lost."""
        found = self._queue.get(timeout=self._seconds + 120)
        self._process.join()
        return found


def _load(
    port: int, requests: list[bytes], clients: int, seconds: float, most: int | None, queue: object
) -> None:
    async def run() -> None:
        times, lost = list[float](), list[str]()
        ends = time.perf_counter() + seconds

        async def ask(first: int) -> None:
            """On a connection until it is closed, then on a new one."""
            number = first
            while time.perf_counter() < ends and (most is None or len(times) < most):
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    return
                keep = True
                while keep and time.perf_counter() < ends and (most is None or len(times) < most):
                    started, number = time.perf_counter(), number + 1
                    try:
                        writer.write(requests[number % len(requests)])
                        status, keep = await answer(reader)
                    except (OSError, asyncio.IncompleteReadError) as error:
                        lost.append(repr(error))
                        return
                    if status == 200:
                        times.append(time.perf_counter() - started)
                writer.close()

        await asyncio.gather(*[ask(first) for first in range(clients)])
        queue.put((times, lost))  # type: ignore[attr-defined]

    asyncio.run(run())


def service(model: str) -> list[str]:
    """The command of our service."""
    return [sys.executable, "-m", "shopsight", "serve", model]


@contextmanager
def started(command: list[str]) -> Iterator[tuple[psutil.Process, int]]:
    """A service on a free port, which has answered once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.DEVNULL)
    process = psutil.Process(running.pid)
    try:
        data = request(ROUTE, *form([photo()]))
        while not _answers(port, data):
            assert running.poll() is None, command
            time.sleep(TRIES_S)
        yield process, port
    finally:
        for one in [*_children(process), process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        running.wait()


def _answers(port: int, data: bytes) -> bool:
    """Whether the service is there: the port may listen before the model is loaded."""
    try:
        return asyncio.run(asyncio.wait_for(asked(port, data), LONGEST_START_S)) == 200
    except (OSError, TimeoutError):
        return False


def cpu_seconds(process: psutil.Process) -> float:
    """Of a service and of the processes that it began."""
    times = [one.cpu_times() for one in [process, *_children(process)]]
    return sum(one.user + one.system for one in times)


def resident_mb(process: psutil.Process) -> float:
    """Memory that it holds."""
    return process.memory_info().rss / 2**20


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
