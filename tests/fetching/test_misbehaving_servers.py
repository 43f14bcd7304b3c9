"""Servers as they are: each way to fail has its reason, nothing is endless, and nothing is lost."""

from __future__ import annotations

import email.utils
import gzip
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import polars as pl
import pytest

from shopsight.commands.fetch import FetchResult
from shopsight.fetching.fetch_images import FetchRules
from shopsight.io import connections
from shopsight.progress import use_listener
from shopsight.read_options import ReadOptions
from tests.fetching.conftest import PRIVATE, FastClock, fetched, photo, table
from tests.helpers import Recorder
from tests.web_server import Route, WebServer, raw, redirect, reply, serving

pytestmark = pytest.mark.enable_socket

LOGIN = b"<!DOCTYPE html><html><head><title>\n Log in &amp; shop </title></head><p>...</p></html>"


def one_failure(server: WebServer, folder: Path, answer: Route, **options: object) -> FetchResult:
    """Fetch an image that fails beside one that does not."""
    server.routes |= {"/bad.jpg": answer, "/good.jpg": reply(photo(1))}
    data = table(folder, f"{server.url}/bad.jpg", f"{server.url}/good.jpg")
    done = fetched(data, folder / "out", **options)  # type: ignore[arg-type]
    assert done.counts.fates == {
        "fetched": 1, "changed": 0, "unchanged": 0, "not asked": 0, "kept": 0, "failed": 1
    }  # fmt: skip
    assert done.num_table_rows == 1
    return done


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Content without a length and without an end."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(photo(1) * 1000)
    except OSError:
        return


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.close_connection = True
    try:
        for _ in range(100):
            handler.wfile.write(b"\xff")
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:
        return


def reset(handler: BaseHTTPRequestHandler) -> None:
    """A connection that ends with an error in the middle of the content."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"half")
    handler.wfile.flush()
    # Without lingering, the system answers with a reset.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def bomb() -> Route:
    return reply(gzip.compress(bytes(40_000_000)), headers={"Content-Encoding": "gzip"})


def png_bomb() -> bytes:
    """A PNG whose header says 60,000 x 60,000 pixels."""
    data = bytearray(photo(1, "PNG"))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize(
    ("answer", "reason", "asked"),
    [
        pytest.param(reply(status=404), "missing", 1, id="404"),
        pytest.param(reply(status=410), "missing", 1, id="410"),
        pytest.param(reply(status=403), "forbidden", 1, id="403"),
        pytest.param(reply(LOGIN), "not an image", 1, id="html"),
        pytest.param(reply(b'{"error": "no"}'), "not an image", 1, id="json"),
        pytest.param(reply(b""), "empty", 1, id="empty"),
        pytest.param(reply(photo(1)[:100]), "truncated", 1, id="truncated-at-the-source"),
        pytest.param(reply(png_bomb()), "too large", 1, id="png-bomb"),
        pytest.param(bomb(), "too large", 1, id="gzip-bomb"),
        pytest.param(endless, "too large", 1, id="endless"),
        pytest.param(redirect("/bad.jpg"), "bad answer", 6, id="redirect-loop"),
        pytest.param(redirect("file:///etc/passwd"), "bad answer", 1, id="redirect-to-a-file"),
        pytest.param(raw(b"220 mail.example ESMTP\r\n"), "bad answer", 1, id="no-http"),
        pytest.param(reset, "interrupted", 8, id="reset"),
        pytest.param(
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "interrupted", 8, id="short"
        ),
        pytest.param(
            raw(b"HTTP/1.0 200 OK\r\n\r\n" + photo(1)[:-9]), "interrupted", 8, id="cut-off"
        ),
        pytest.param(reply(status=500), "server error", 8, id="500"),
        pytest.param(reply(status=429), "too many requests", 8, id="429"),
    ],
)
def test_each_failure_has_its_reason(
    answer: Route, reason: str, asked: int, server: WebServer, tmp_path: Path
) -> None:
    done = one_failure(server, tmp_path, answer)
    assert (done.failed[0].reason, server.asked.count("/bad.jpg")) == (reason, asked)
    assert dict(done.counts.reasons) == {reason: 1}
    rows = pl.read_csv(tmp_path / "out" / "failed.csv")
    assert rows["reason"].to_list() == [reason]
    assert rows["group"].to_list() == ["P-0"]


def test_a_page_instead_of_an_image_is_named_by_its_title(
    server: WebServer, tmp_path: Path
) -> None:
    server.routes["/login"] = reply(LOGIN)
    error = one_failure(server, tmp_path, redirect("/login")).failed[0].error
    assert "an HTML page titled 'Log in & shop', no image" in error
    assert f"from {server.url}/login, to which {server.url}/bad.jpg was redirected" in error


@pytest.mark.parametrize(
    ("answer_s", "silence_s", "words"), [(0.3, 20.0, "more than 0.3 s"), (20.0, 0.01, "timed out")]
)
def test_what_is_too_slow_is_tried_three_times(
    answer_s: float,
    silence_s: float,
    words: str,
    server: WebServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SILENCE_S", silence_s)
    rules = FetchRules(answer_s=answer_s, clock=FastClock())
    server.routes |= {"/bad.jpg": dripping}
    done = fetched(table(tmp_path, f"{server.url}/bad.jpg"), tmp_path / "out", rules=rules)
    assert done.failed[0].reason == "timed out"
    assert words in done.failed[0].error
    assert len(server.asked) == 3


def test_redirects_share_the_time_of_a_file(server: WebServer, tmp_path: Path) -> None:
    def late(there: str) -> Route:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            time.sleep(0.2)
            redirect(there)(handler)

        return answer

    server.routes |= {"/a.jpg": late("/b"), "/b": late("/c"), "/c": late("/d"), "/d": late("/e")}
    rules = FetchRules(answer_s=0.5, clock=FastClock())
    done = fetched(table(tmp_path, f"{server.url}/a.jpg"), tmp_path / "out", rules=rules)
    assert done.failed[0].reason == "timed out"
    assert "/e" not in server.asked


def test_more_than_was_announced_is_no_part_of_the_next_image(
    server: WebServer, tmp_path: Path
) -> None:
    def longer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(photo(1))))
        handler.end_headers()
        handler.wfile.write(photo(1) + b"rest" * 100)

    server.routes |= {"/1.jpg": longer, "/2.jpg": reply(photo(2))}
    data = table(tmp_path, f"{server.url}/1.jpg", f"{server.url}/2.jpg")
    done = fetched(data, tmp_path / "out", per_host=1)
    assert done.counts.fates["fetched"] == 2
    assert done.counts.num_files == 2


def test_what_passes_is_asked_for_again(server: WebServer, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = [reply(status=500), raw(b""), reply(status=429), reply(photo(1))]
    clock = FastClock()
    rules = FetchRules(clock=clock)
    done = fetched(table(tmp_path, f"{server.url}/a.jpg"), tmp_path / "out", rules=rules)
    assert done.counts.fates["fetched"] == 1
    assert len(server.asked) == 4
    # 1, 2 and 4 s, and up to a quarter more.
    assert 6.9 < sum(clock.waited_s) < 8.75


def test_pauses_grow_up_to_a_minute(server: WebServer, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = reply(status=500)
    clock = FastClock()
    fetched(table(tmp_path, f"{server.url}/a.jpg"), tmp_path / "out", rules=FetchRules(clock=clock))
    expected = [1, 2, 4, 8, 16, 32, 60]
    assert len(clock.waited_s) == len(expected)
    for waited_s, nominal_s in zip(clock.waited_s, expected, strict=True):
        assert 0.95 * nominal_s <= waited_s <= min(60, 1.25 * nominal_s)


def dated(seconds: float, *, skew_s: float) -> dict[str, str]:
    """Headers of a server whose clock is wrong, which asks to wait until a moment by it."""
    now_s = time.time() + skew_s
    date, moment = (email.utils.formatdate(one, usegmt=True) for one in (now_s, now_s + seconds))
    return {"Date": date, "Retry-After": moment}


def busy(headers: dict[str, str], status: int = 429) -> Route:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        # Without the date that the handler would add.
        lines = [f"HTTP/1.1 {status} Busy", *(f"{name}: {text}" for name, text in headers.items())]
        handler.wfile.write("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())

    return answer


@pytest.mark.parametrize(
    ("headers", "least_s", "most_s"),
    [
        ({"Retry-After": "37"}, 36.5, 37),
        (dated(37, skew_s=0), 35.5, 38),
        (dated(37, skew_s=86_400), 35.5, 38),
        (dated(37, skew_s=-86_400), 35.5, 38),
        # In the past, or no time at all: as without.
        (dated(-600, skew_s=0), 0.9, 1.25),
        ({"Retry-After": "soon"}, 0.9, 1.25),
        ({"Retry-After": "-5"}, 0.9, 1.25),
        # Absurd: ten minutes.
        ({"Retry-After": "864000"}, 599, 600),
        ({"Retry-After": "9" * 400}, 599, 600),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 599, 600),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_host_that_asks_for_patience_gets_it(
    status: int,
    headers: dict[str, str],
    least_s: float,
    most_s: float,
    server: WebServer,
    tmp_path: Path,
) -> None:
    server.routes["/a.jpg"] = [busy(headers, status), reply(photo(1))]
    clock, shown = FastClock(), Recorder()
    with use_listener(shown):
        done = fetched(
            table(tmp_path, f"{server.url}/a.jpg"), tmp_path / "out", rules=FetchRules(clock=clock)
        )
    assert done.counts.fates["fetched"] == 1
    assert least_s <= sum(clock.waited_s) <= most_s
    said = [line for line in shown.lines if "it is asked again after 10 min" in line]
    assert len(said) == (most_s == 600)


def test_a_host_that_asks_for_days_again_is_given_up(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {f"/{n}.jpg": busy({"Retry-After": "864000"}) for n in range(9)}
    clock, shown = FastClock(), Recorder()
    data = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(9)))
    with use_listener(shown):
        done = fetched(data, tmp_path / "out", per_host=1, rules=FetchRules(clock=clock))
    assert dict(done.counts.reasons) == {"given up": 8, "too many requests": 1}
    assert len(server.asked) == 2
    assert done.table is None
    assert any("8 images not asked for; --retry-failed asks again" in one for one in shown.lines)


def test_a_host_that_is_down_is_left_alone_and_given_up(server: WebServer, tmp_path: Path) -> None:
    with serving() as other:
        other.routes |= {f"/{n}.jpg": reply(status=503) for n in range(200)}
        server.routes |= {f"/{n}.jpg": reply(photo(n)) for n in range(200)}
        cells = [f"{one.url}/{n}.jpg" for n in range(200) for one in (server, other)]
        data, shown = table(tmp_path, *cells), Recorder()
        with use_listener(shown):
            done = fetched(data, tmp_path / "out")
        assert done.counts.fates["fetched"] == done.counts.fates["failed"] == 200
        # Twenty failures, what was on its way, and one that asks whether it answers again.
        assert 21 <= len(other.asked) <= 25
        assert any("20 times in a row" in line for line in shown.lines)
        assert any("is given up" in line for line in shown.lines)
        assert set(done.counts.reasons) == {"given up", "server error"}
        other.routes |= {f"/{n}.jpg": reply(photo(n)) for n in range(200)}
        server.asked.clear()
        done = fetched(data, tmp_path / "out", retry_failed=True)
        assert done.counts.fates["fetched"] == done.counts.fates["not asked"] == 200
        assert not server.asked
        assert not done.failed


def test_a_host_that_recovers_loses_nothing(server: WebServer, tmp_path: Path) -> None:
    for n in range(60):
        server.routes[f"/{n}.jpg"] = [reply(status=500), reply(status=500), reply(photo(n))]
    data = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(60)))
    down = 24
    first = server.route

    def route(path: str) -> Route:
        # Down for the first requests, whatever is asked for.
        answer = first(path)
        return reply(status=502) if len(server.asked) <= down else answer

    server.route = route  # type: ignore[method-assign]
    done = fetched(data, tmp_path / "out", per_host=2)
    assert done.counts.fates["fetched"] + done.counts.fates["failed"] == 60
    # In a row they fail more than twenty times: then it is given up, and asked later.
    while done.failed:
        done = fetched(data, tmp_path / "out", retry_failed=True)
    assert done.counts.num_files == 60


def test_dead_images_in_a_row_are_no_dead_host(server: WebServer, tmp_path: Path) -> None:
    server.routes |= {f"/{n}.jpg": reply(photo(n)) for n in range(40, 80)}
    data = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(80)))
    done = fetched(data, tmp_path / "out")
    assert (done.counts.fates["fetched"], dict(done.counts.reasons)) == (40, {"missing": 40})


def test_a_host_without_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unknown(host: str, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    data = table(tmp_path, "https://images.shop.example/a.jpg")
    done = fetched(data, tmp_path / "out")
    assert done.failed[0].reason == "no such host"
    assert asked == ["images.shop.example"] * 8


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = fetched(table(tmp_path, f"http://127.0.0.1:{port}/a.jpg"), tmp_path / "out")
    assert done.failed[0].reason == "refused"


PUBLIC = ReadOptions(group="group")


def test_private_addresses_are_not_asked(server: WebServer, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::1]")
    data = table(tmp_path, *(f"http://{host}:{port}/a.jpg" for host in hosts))
    done = fetched(data, tmp_path / "out", read=PUBLIC)
    assert set(done.counts.reasons) == {"private"}
    assert done.counts.fates["failed"] == len(hosts)
    assert "--allow-private" in done.failed[0].error
    assert not server.connections


def test_a_redirect_into_a_private_network_is_not_followed(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.url.rpartition(":")[2])
    with serving() as inside:
        inside.routes["/secret.jpg"] = reply(photo(9))
        server.routes["/a.jpg"] = redirect(f"{inside.url}/secret.jpg")
        monkeypatch.setattr(connections, "is_private", lambda ip: ip != "127.0.0.2")
        monkeypatch.setattr(socket, "getaddrinfo", resolved({"shop.example": "127.0.0.2"}))
        monkeypatch.setattr(connections, "_connected", to_loopback(connections._connected))
        data = table(tmp_path, f"http://shop.example:{port}/a.jpg")
        done = fetched(data, tmp_path / "out", read=PUBLIC)
        assert done.failed[0].reason == "private"
        assert server.asked == ["/a.jpg"]
        assert not inside.connections


Addresses = list[tuple[socket.AddressFamily, str, int]]


def resolved(addresses: dict[str, str]) -> Callable[..., object]:
    """A resolver that knows these names; others are taken for addresses."""

    def getaddrinfo(host: str, port: int, **_: object) -> object:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (addresses.get(host, host), port))]

    return getaddrinfo


def to_loopback(connect: Callable[[Addresses], socket.socket]) -> Callable[..., socket.socket]:
    """Connect to this machine in place of an address that a test takes for a public one."""
    return lambda addresses: connect([(family, "127.0.0.1", port) for family, _, port in addresses])


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere when it is looked up again (DNS rebinding)."""
    answers = ["93.184.216.34", *["127.0.0.1"] * 9]
    connected: Addresses = []

    def rebound(_host: str, port: int, **_: object) -> object:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    def refuse(addresses: Addresses) -> socket.socket:
        connected.extend(addresses)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    monkeypatch.setattr(connections, "_connected", refuse)
    port = server.url.rpartition(":")[2]
    data = table(tmp_path, f"http://rebinding.example:{port}/a.jpg")
    done = fetched(data, tmp_path / "out", read=PUBLIC)
    # Once it was public, and connected to; then it was private, and no connection was tried.
    assert [ip for _, ip, _ in connected] == ["93.184.216.34"]
    assert done.failed[0].reason == "private"
    assert len(answers) == 8


def test_a_host_is_asked_for_few_images_at_a_time(server: WebServer, tmp_path: Path) -> None:
    running, most, lock = [0], [0], threading.Lock()

    def slow(number: int) -> Route:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.005)
            with lock:
                running[0] -= 1
            reply(photo(number))(handler)

        return answer

    # All lead to one host, those of another one too.
    with serving() as other:
        server.routes |= {f"/{n}.jpg": slow(n) for n in range(40)}
        other.routes |= {f"/{n}.jpg": redirect(f"{server.url}/{n}.jpg") for n in range(40)}
        cells = [f"{one.url}/{n}.jpg" for n in range(40) for one in (server, other)]
        done = fetched(table(tmp_path, *cells), tmp_path / "out", per_host=3)
        assert done.counts.fates["fetched"] == 80
        assert done.counts.num_files == 40
        assert most[0] == 3
        # Connections are kept.
        assert server.connections <= 6
        assert other.connections <= 3
        assert server.headers["User-Agent"].startswith("shopsight/")


def test_private_is_what_the_flag_allows(server: WebServer, tmp_path: Path) -> None:
    server.routes["/a.jpg"] = reply(photo(1))
    assert PRIVATE.allow_private
    done = fetched(table(tmp_path, f"{server.url}/a.jpg"), tmp_path / "out")
    assert done.counts.fates["fetched"] == 1


def test_what_was_asked_before_a_host_is_given_up_keeps_its_reason(
    server: WebServer, tmp_path: Path
) -> None:
    server.routes |= {f"/{n}.jpg": reply(status=500) for n in range(25)}
    data = table(tmp_path, *(f"{server.url}/{n}.jpg" for n in range(25)))
    done = fetched(data, tmp_path / "out", per_host=1, rules=FetchRules(clock=FastClock()))
    asked = len(set(server.asked))
    assert dict(done.counts.reasons) == {"server error": asked, "given up": 25 - asked}
