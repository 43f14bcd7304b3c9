"""Fetching a shop's photos from a server of this machine: first run, second run, and img2dataset.

    python bench/bench_fetch.py [--images 12000] [--failing 0.05] [--peer FOLDER]

A server in a process of its own serves JPEGs of some 30 kB with ETags, and counts requests and
bytes. First all images are there; then a fraction fails, in equal parts by 404, by 500 for ever, by
a page instead of an image, by a body that ends early, and by 503 twice before the image comes: what
is lost would show in the counts. --peer is a folder into which img2dataset was installed
(`pip install --target FOLDER img2dataset`); it takes the same list with as many threads.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

HERE = Path(__file__)
KINDS = ("missing", "broken", "page", "cut", "busy")


def photo(number: int) -> bytes:
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (24, 18, 3), dtype=np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(small).resize((600, 800), Image.Resampling.BICUBIC)
    image.save(file, "JPEG", quality=80, comment=f"{number}")
    return file.getvalue()


def kind_of(number: int, failing: float) -> str:
    """Every so many-th image fails, each time in the next way."""
    if not failing:
        return "whole"
    every = round(1 / failing)
    return "whole" if number % every else KINDS[number // every % len(KINDS)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    photos: list[bytes]
    failing = 0.0
    seen: Counter[str]
    busy: Counter[int]
    lock = threading.Lock()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        if self.path == "/stats":
            self._answer(200, json.dumps(self.seen).encode(), "application/json")
            self.seen.clear()
            return
        if self.path.startswith("/failing/"):
            type(self).failing = float(self.path.rpartition("/")[2])
            self._answer(200, b"", "text/plain")
            return
        number = int(Path(self.path).stem)
        self._photo(number, kind_of(number, self.failing))

    def _photo(self, number: int, kind: str) -> None:
        # A thousand different files are enough: their addresses and marks differ.
        content = self.photos[number % len(self.photos)]
        with self.lock:
            self.seen["requests"] += 1
            self.busy[number] += 1
        if kind == "missing":
            self._answer(404, b"no such photo", "text/plain")
        elif kind == "broken":
            self._answer(500, b"failed", "text/plain")
        elif kind == "page":
            self._answer(200, b"<!doctype html><p>Photo not available", "text/html")
        elif kind == "busy" and self.busy[number] < 3:
            self._answer(503, b"", "text/plain", {"Retry-After": "0"})
        elif kind == "cut":
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
        elif self.headers.get("If-None-Match") == f'"{number}"':
            self._answer(304, b"", None, {"ETag": f'"{number}"'})
        else:
            self._answer(200, content, "image/jpeg", {"ETag": f'"{number}"'})

    def _answer(
        self, status: int, body: bytes, kind: str | None, headers: dict[str, str] | None = None
    ) -> None:
        with self.lock:
            self.seen["bytes"] += len(body)
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def serve() -> None:
    Handler.photos = [photo(number) for number in range(1_000)]
    Handler.seen, Handler.busy = Counter(), Counter()
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


def stats(address: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{address}/stats", timeout=60) as answer:
        found: dict[str, int] = json.load(answer)
        return found


def measured(title: str, address: str, command: list[str], environment: dict[str, str]) -> str:
    """Run a command; print its seconds, its peak of memory, and what the server saw."""
    stats(address)
    began = time.perf_counter()
    done = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert done.stdout is not None
    output = done.stdout.read().decode(errors="replace")
    _, status, usage = os.wait4(done.pid, 0)
    seconds, seen = time.perf_counter() - began, stats(address)
    print(
        f"{title}: {seconds:.1f} s, {seen.get('requests', 0):,} requests, "
        f"{seen.get('bytes', 0) / 1e6:.1f} MB served, peak {usage.ru_maxrss / 1000:.0f} MB, "
        f"exit code {os.waitstatus_to_exitcode(status)}",
        flush=True,
    )
    return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--failing", type=float, default=0.05)
    parser.add_argument("--per-host", type=int, default=16)
    parser.add_argument("--peer", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    server = subprocess.Popen(
        [sys.executable, HERE, "--serve"], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    assert server.stdout is not None
    address = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), address, options)
    finally:
        server.kill()


def compare(folder: Path, address: str, options: argparse.Namespace) -> None:
    rows = range(options.images)
    table = folder / "shop.parquet"
    urls = [f"{address}/{row}.jpg" for row in rows]
    pl.DataFrame({"image": urls, "url": urls}).write_parquet(table)
    own = [sys.executable, "-m", "shopsight", "fetch", str(table), "--allow-private", "--json"]
    own += ["--per-host", str(options.per_host)]
    for failing in (0.0, options.failing):
        urllib.request.urlopen(f"{address}/failing/{failing}", timeout=60).close()
        print(f"{options.images:,} images, {failing:.0%} fail")
        out = folder / f"ours-{failing}"
        for title in ("shopsight fetch", "again"):
            output = measured(title, address, [*own, "--out", str(out)], dict(os.environ))
            counts = {key: value for key, value in json.loads(output).items() if key != "failures"}
            print(f"  {counts}")
        if options.peer is not None:
            _peer(folder / f"peer-{failing}", table, address, options)


def _peer(out: Path, table: Path, address: str, options: argparse.Namespace) -> None:
    code = (
        "from img2dataset import download\n"
        f"download(url_list={str(table)!r}, input_format='parquet', url_col='url', "
        f"output_folder={str(out)!r}, output_format='files', resize_mode='no', "
        f"processes_count=1, thread_count={options.per_host}, retries=2, "
        "number_sample_per_shard=1000, enable_wandb=False)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(options.peer), "NO_ALBUMENTATIONS_UPDATE": "1"}
    for title in ("img2dataset", "again"):
        measured(title, address, [sys.executable, "-c", code], environment)
        files = sum(1 for _ in out.rglob("*.jpg"))
        shards = [json.loads(one.read_text(encoding="utf-8")) for one in out.glob("*_stats.json")]
        said = sum(one["successes"] for one in shards)
        print(f"  {files:,} files, {said:,} successes said")


if __name__ == "__main__":
    main()
