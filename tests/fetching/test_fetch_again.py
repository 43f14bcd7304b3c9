"""The second run, and the one after an interruption: what is there stays, and is not sent again."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import polars as pl
import pytest

from shopsight.datasets.open import open_catalog
from shopsight.errors import DamagedFileError, LockedError, WriteError
from shopsight.fetching import store
from shopsight.output_locks import only_writer_of_folder
from shopsight.progress import Advance, use_listener
from tests.fetching.conftest import fetched, known, photo, table
from tests.helpers import Recorder
from tests.web_server import Route, WebServer, redirect, reply

pytestmark = pytest.mark.enable_socket


def contents(out: Path) -> list[bytes]:
    """The files of the catalog's rows."""
    return [Path(ref).read_bytes() for ref in open_catalog(out / "catalog.parquet").refs()]


def records(out: Path) -> list[dict[str, object]]:
    return pl.read_parquet(out / "fetch.parquet").sort("canonical_url").to_dicts()


def test_unchanged_images_are_not_sent_again(server: WebServer, tmp_path: Path) -> None:
    sent = []

    def by_date(handler: object) -> None:
        headers = handler.headers  # type: ignore[attr-defined]
        date = "Wed, 21 Oct 2015 07:28:00 GMT"
        if headers.get("If-Modified-Since") == date:
            reply(status=304)(handler)  # type: ignore[arg-type]
            return
        sent.append(handler.path)  # type: ignore[attr-defined]
        reply(photo(2), headers={"Last-Modified": date})(handler)  # type: ignore[arg-type]

    server.routes |= {"/1.jpg": known(photo(1), 'W/"1"'), "/2.jpg": by_date}
    server.routes |= {"/3.jpg": reply(photo(3))}
    data = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in (1, 2, 3)))
    out = tmp_path / "out"
    fetched(data, out)
    before = contents(out)
    done = fetched(data, out)
    # The last one is sent by a server that knows no conditions; its bytes are the same.
    assert done.counts.fates["unchanged"] == 3
    assert sent == ["/2.jpg"]
    assert [record["status"] for record in records(out)] == [304, 304, 200]
    assert contents(out) == before == [photo(1), photo(2), photo(3)]


@pytest.mark.parametrize("version", ["", "?v=1"])
def test_other_bytes_under_the_same_address(
    version: str, server: WebServer, tmp_path: Path
) -> None:
    server.routes[f"/1.jpg{version}"] = known(photo(1), '"1"')
    data, out = table(tmp_path, f"{server.url}/1.jpg{version}"), tmp_path / "out"
    fetched(data, out)
    server.routes[f"/1.jpg{version}"] = known(photo(2), '"2"')
    assert fetched(data, out).counts.fates["changed"] == 1
    assert contents(out) == [photo(2)]


@pytest.mark.parametrize(("now", "fate"), [(1, "unchanged"), (2, "changed")])
def test_another_version_is_asked_for_without_a_condition(
    now: int, fate: str, server: WebServer, tmp_path: Path
) -> None:
    """The server's validators may be numbers that both versions have."""
    server.routes |= {"/1.jpg?v=1": known(photo(1), '"x"'), "/1.jpg?v=2": known(photo(now), '"x"')}
    out = tmp_path / "out"
    fetched(table(tmp_path, f"{server.url}/1.jpg?v=1"), out)
    data = table(tmp_path, f"{server.url}/1.jpg?v=2")
    assert fetched(data, out).counts.fates[fate] == 1  # type: ignore[index]
    assert "If-None-Match" not in server.headers
    assert contents(out) == [photo(now)]
    assert len(records(out)) == 1
    fetched(data, out)
    assert server.headers["If-None-Match"] == '"x"'


def test_conditions_are_for_the_server_that_gave_the_file(
    server: WebServer, tmp_path: Path
) -> None:
    server.routes |= {"/1.jpg": redirect("/there.jpg"), "/there.jpg": known(photo(1), '"1"')}
    data, out = table(tmp_path, f"{server.url}/1.jpg"), tmp_path / "out"
    fetched(data, out)
    # Another file now, at a server that gives the same validator.
    server.routes |= {"/1.jpg": redirect("/other.jpg"), "/other.jpg": known(photo(2), '"1"')}
    assert fetched(data, out).counts.fates["changed"] == 1
    assert contents(out) == [photo(2)]
    assert records(out)[0]["final_url"] == f"{server.url}/other.jpg"


@pytest.mark.parametrize("status", [404, 500])
def test_what_fails_now_keeps_its_file(status: int, server: WebServer, tmp_path: Path) -> None:
    server.routes |= {"/1.jpg": known(photo(1), '"1"'), "/2.jpg": known(photo(2), '"2"')}
    data, out = table(tmp_path, f"{server.url}/1.jpg", f"{server.url}/2.jpg"), tmp_path / "out"
    fetched(data, out)
    server.routes["/1.jpg"] = reply(status=status)
    done = fetched(data, out)
    assert (done.counts.fates["kept"], done.counts.fates["unchanged"]) == (1, 1)
    assert (done.failed_table, done.failed[0].is_kept) == (None, True)
    assert contents(out) == [photo(1), photo(2)]
    server.routes["/1.jpg"] = known(photo(1), '"1"')
    server.asked.clear()
    done = fetched(data, out, retry_failed=True)
    assert server.asked == ["/1.jpg"]
    assert (done.counts.fates["unchanged"], done.counts.fates["not asked"]) == (1, 1)


@pytest.mark.parametrize("content", [None, b"half"])
def test_files_that_are_gone_are_fetched_again(
    content: bytes | None, server: WebServer, tmp_path: Path
) -> None:
    server.routes["/1.jpg"] = known(photo(1), '"1"')
    data, out = table(tmp_path, f"{server.url}/1.jpg"), tmp_path / "out"
    fetched(data, out)
    (file,) = (out / "images").rglob("*.jpg")
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for retry_failed in (True, False):
        fetched(data, out, retry_failed=retry_failed)
        assert contents(out) == [photo(1)]


class Interrupts(Recorder):
    """Ctrl-C after so many images."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def task(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        def advance(count: int) -> None:
            self.left -= count
            if self.left <= 0:
                raise KeyboardInterrupt

        return nullcontext(advance)


def test_an_interrupted_command_goes_on(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {f"/{n}.jpg": known(photo(n), f'"{n}"') for n in range(50)}
    data, out = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(50))), tmp_path / "out"
    with use_listener(Interrupts(20)), pytest.raises(KeyboardInterrupt):
        fetched(data, out)
    assert len(records(out)) == 20
    assert len(list((out / "images").rglob("*.jpg"))) == 20
    assert not list(out.rglob(".shopsight*"))
    server.asked.clear()
    done = fetched(data, out, retry_failed=True)
    assert (done.counts.fates["fetched"], done.counts.fates["not asked"]) == (30, 20)
    assert len(server.asked) == 30
    assert contents(out) == [photo(n) for n in range(50)]


def test_a_silent_answer_does_not_hold_up_an_interrupt(server: WebServer, tmp_path: Path) -> None:
    """The connection is broken off; the server's 20 s are not waited for."""
    import threading
    import time

    release = threading.Event()

    def silent(_: object) -> None:
        release.wait(15)

    server.routes |= {"/0.jpg": reply(photo(0)), **{f"/{n}.jpg": silent for n in range(1, 4)}}
    data = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(4)))
    began_s = time.monotonic()
    with use_listener(Interrupts(1)), pytest.raises(KeyboardInterrupt):
        fetched(data, tmp_path / "out")
    release.set()
    assert time.monotonic() - began_s < 5
    assert len(records(tmp_path / "out")) == 1


def test_what_a_killed_command_left_is_read(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {f"/{n}.jpg": known(photo(n), f'"{n}"') for n in range(3)}
    data, out = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(3))), tmp_path / "out"
    fetched(data, out)
    # As if it had been killed while it wrote the third line.
    lines = [json.dumps(row) for row in pl.read_parquet(out / "fetch.parquet").to_dicts()]
    half = lines[2][: len(lines[2]) // 2]
    (out / "fetch.unfinished.jsonl").write_text("\n".join([*lines[:2], half]), encoding="utf-8")
    (out / "fetch.parquet").unlink()
    done = fetched(data, out)
    assert (done.counts.fates["unchanged"], done.counts.fates["fetched"]) == (2, 1)
    assert len(records(out)) == 3
    assert not (out / "fetch.unfinished.jsonl").exists()


def test_a_killed_process_loses_nothing_that_it_recorded(server: WebServer, tmp_path: Path) -> None:
    """A real process, killed in the middle."""
    hold = 40

    def route(number: int) -> Route:
        def answer(handler: object) -> None:
            if len(server.asked) > hold:
                process.kill()
            known(photo(number), f'"{number}"')(handler)  # type: ignore[arg-type]

        return answer

    server.routes |= {f"/{n}.jpg": route(n) for n in range(80)}
    data, out = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(80))), tmp_path / "out"
    code = (
        "import sys; from shopsight.fetching import store; store.PIECE_IMAGES = 4\n"
        "from shopsight.cli.app import main; sys.exit(main())"
    )
    words = ["fetch", str(data), "--out", str(out), "--allow-private", "--group", "group"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.wait(60)
    kept = len((out / "fetch.unfinished.jsonl").read_text(encoding="utf-8").splitlines())
    assert 20 <= kept <= hold
    hold = 1000
    server.asked.clear()
    done = fetched(data, out, retry_failed=True)
    assert kept - 1 <= done.counts.fates["not asked"] <= kept
    assert contents(out) == [photo(n) for n in range(80)]
    assert not list(out.rglob(".shopsight*.part"))


def test_a_full_disk_ends_the_command_and_keeps_what_was_written(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.routes |= {f"/{n}.jpg": known(photo(n), f'"{n}"') for n in range(40)}
    data, out = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(40))), tmp_path / "out"
    write, written = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        if len(written) == 25:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        written.append(path)
        return write(path, content)

    monkeypatch.setattr(store, "PIECE_IMAGES", 10)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match="the disk is full"):
        fetched(data, out)
    monkeypatch.setattr(Path, "write_bytes", write)
    assert len(records(out)) == len(list((out / "images").rglob("*.jpg"))) == 25
    assert not list(out.rglob(".shopsight*.part"))
    done = fetched(data, out)
    assert (done.counts.fates["unchanged"], done.counts.fates["fetched"]) == (25, 15)


def test_a_second_process_is_refused(server: WebServer, tmp_path: Path) -> None:
    server.routes["/1.jpg"] = reply(photo(1))
    data, out = table(tmp_path, f"{server.url}/1.jpg"), tmp_path / "out"
    with only_writer_of_folder(out), pytest.raises(LockedError, match="another process"):
        fetched(data, out)
    assert not server.asked


@pytest.mark.parametrize(
    ("column", "value"),
    [("sha256", "../../../etc/passwd"), ("format", "../x"), ("bytes", "many"), ("url", None)],
)
def test_a_table_of_a_stranger_leads_nowhere(
    column: str, value: str | None, server: WebServer, tmp_path: Path
) -> None:
    server.routes["/1.jpg"] = reply(photo(1))
    data, out = table(tmp_path, f"{server.url}/1.jpg"), tmp_path / "out"
    fetched(data, out)
    rows = pl.read_parquet(out / "fetch.parquet")
    changed = pl.lit(value, pl.String).alias(column)
    rows.with_columns(changed).write_parquet(out / "fetch.parquet")
    with pytest.raises(DamagedFileError, match=r"fetch\.parquet"):
        fetched(data, out)
