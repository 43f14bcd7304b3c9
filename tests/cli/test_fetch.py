"""`shopsight fetch` on the command line: what it says, and its exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fetching.conftest import photo, table
from tests.helpers import Shopsight
from tests.web_server import WebServer, reply, serving

pytestmark = pytest.mark.enable_socket


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as started:
        yield started


def test_the_command_says_what_came_and_ends_with_1(
    server: WebServer, tmp_path: Path, shopsight: Shopsight
) -> None:
    server.routes |= {"/a.jpg": reply(photo(1)), "/b.jpg": reply(photo(2))}
    cells = [f"{server.url}/{name}.jpg" for name in ("a", "b", "b", "gone")]
    words = ["fetch", str(table(tmp_path, *cells)), "--out", str(tmp_path / "out")]
    words += ["--allow-private"]
    done = shopsight(*words)
    assert done.code == 1
    for line in ("fetched", "shared", "failed", "in all"):
        assert line in done.out
    assert "missing 1" in done.out
    assert "catalog.parquet: 3 rows, 2 files" in done.out
    assert f"not fetched: {cells[-1]}: the host answers 404" in done.err
    server.routes["/gone.jpg"] = reply(photo(3))
    done = shopsight(*words, "--retry-failed", "--json")
    assert done.code == 0
    assert (done.json["fetched"], done.json["not_asked"], done.json["shared"]) == (1, 2, 1)
