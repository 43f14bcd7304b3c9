"""What the tests of fetching share: a server, photos, tables of addresses, and a fast clock."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from PIL import Image

from shopsight.commands.fetch import FetchResult, fetch
from shopsight.fetching.fetch_images import FetchRules
from shopsight.fetching.host_queues import Clock
from shopsight.read_options import ReadOptions
from tests.web_server import Route, WebServer, reply, serving

PRIVATE = ReadOptions(allow_private=True, group="group")


class FastClock(Clock):
    """A clock on which waiting takes no time.

    Attributes:
        waited_s: how long would have been waited, each time.
    """

    def __init__(self) -> None:
        self.waited_s: list[float] = []
        self._skipped_s = 0.0

    def now_s(self) -> float:
        return time.monotonic() + self._skipped_s

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            changed.wait()
            return
        self.waited_s.append(seconds)
        self._skipped_s += seconds
        changed.wait(0.0005)


def photo(number: int, kind: str = "JPEG", size: tuple[int, int] = (48, 32)) -> bytes:
    file = io.BytesIO()
    # Pixels of JPEGs may be alike; their comments are not.
    Image.new("RGB", size, (number % 256, 90, 120)).save(file, kind, comment=f"photo {number}")
    return file.getvalue()


def known(content: bytes, etag: str) -> Route:
    """A file whose server says whether it is the one that the client has."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers.get("If-None-Match") == etag:
            reply(status=304, headers={"ETag": etag})(handler)
        else:
            reply(content, headers={"ETag": etag})(handler)

    return answer


def table(folder: Path, *cells: str, header: str = "image,label,group,price") -> Path:
    """A table of images at addresses, two a product."""
    path = folder / "catalog.csv"
    rows = [f'"{cell}",hat,P-{number // 2},{number}.5' for number, cell in enumerate(cells)]
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def fetched(
    data: Path,
    out: Path,
    *,
    width: int | None = None,
    per_host: int = 4,
    retry_failed: bool = False,
    read: ReadOptions = PRIVATE,
    rules: FetchRules | None = None,
) -> FetchResult:
    """Fetch, on a fast clock where no rules are given."""
    return fetch(
        data,
        out=out,
        width=width,
        per_host=per_host,
        retry_failed=retry_failed,
        read=read,
        rules=rules or FetchRules(clock=FastClock()),
    )


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as started:
        yield started
