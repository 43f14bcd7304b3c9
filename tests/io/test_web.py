"""Web servers as they are: every way to fail is told from the others, and nothing is endless."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from shopsight.errors import RemoteError
from shopsight.io import connections, web
from shopsight.io.access import PUBLIC, Access
from shopsight.io.web import GIVE_UP_AFTER, TRIES, download, fetch
from tests.fuzz.web_answers import hostile_answers, read_from_server
from tests.web_server import Route, WebServer, raw, redirect, reply, serving

pytestmark = pytest.mark.enable_socket

ANY = Access(private=True)
MEGABYTE = 1_000_000


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(web, "FIRST_PAUSE_S", 0.001)
    with serving() as started:
        yield started


def get(address: str, access: Access = ANY, *, most_bytes: int = MEGABYTE) -> bytes:
    return fetch(address, access, most_bytes=most_bytes)


def refused(address: str, access: Access = ANY, *, most_bytes: int = MEGABYTE) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        get(address, access, most_bytes=most_bytes)
    return caught.value


def test_files_come_over_one_connection(server: WebServer) -> None:
    server.routes |= {f"/{number}": reply(bytes([number] * 300_000)) for number in range(5)}
    assert [get(f"{server.url}/{number}") for number in range(5)] == [
        bytes([number] * 300_000) for number in range(5)
    ]
    assert server.connections == 1
    assert server.headers["User-Agent"].startswith("shopsight/")


@pytest.mark.parametrize("spelling", ["HTTP://", "Http://"])
def test_the_protocol_may_have_any_case(server: WebServer, spelling: str) -> None:
    server.routes["/a.jpg"] = reply(b"a")
    assert get(f"{server.url}/a.jpg".replace("http://", spelling)) == b"a"


def test_names_are_escaped_as_servers_expect_it(server: WebServer) -> None:
    server.routes["/gr%C3%BCn/a%20b.jpg?w=1%202"] = reply(b"a")
    assert get(f"{server.url}/grün/a b.jpg?w=1 2") == b"a"
    assert get(f"{server.url}/gr%C3%BCn/a%20b.jpg?w=1%202#part") == b"a"


@pytest.mark.parametrize(
    ("status", "reason", "asked"),
    [
        (404, "missing", 1),
        (410, "missing", 1),
        (401, "forbidden", 1),
        (403, "forbidden", 1),
        (400, "bad answer", 1),
        (204, "bad answer", 1),
        (429, "too many requests", TRIES),
        (500, "server error", TRIES),
        (503, "server error", TRIES),
    ],
)
def test_each_status_has_its_reason(
    server: WebServer, status: int, reason: str, asked: int
) -> None:
    server.routes["/a.jpg"] = reply(status=status)
    error = refused(f"{server.url}/a.jpg")
    assert error.reason == reason
    assert str(status) in error.what
    assert ("4 tries" in error.what) == (asked > 1)
    assert len(server.asked) == asked


def test_what_passes_is_tried_again(server: WebServer) -> None:
    server.routes["/a.jpg"] = [reply(status=500), raw(b""), reply(status=502), reply(b"a")]
    assert get(f"{server.url}/a.jpg") == b"a"


def test_a_server_that_asks_for_patience_gets_it(server: WebServer) -> None:
    busy = reply(status=429, headers={"Retry-After": "1"})
    server.routes["/a"] = [busy, reply(b"a")]
    began_s = time.monotonic()
    assert get(f"{server.url}/a") == b"a"
    assert time.monotonic() - began_s >= 1


def test_a_server_that_asks_for_hours_is_not_waited_for(server: WebServer) -> None:
    for value in ("7200", "Fri, 31 Dec 2100 23:59:59 GMT"):
        server.routes["/a"] = reply(status=503, headers={"Retry-After": value})
        error = refused(f"{server.url}/a")
        assert error.reason == "server error"
        assert "asks to wait" in error.what
    assert len(server.asked) == 2


def test_a_host_that_fails_is_tried_once_until_it_answers(server: WebServer) -> None:
    server.routes |= {"/bad": reply(status=500), "/good": reply(b"a")}
    for _ in range(GIVE_UP_AFTER + 2):
        refused(f"{server.url}/bad")
    assert len(server.asked) == GIVE_UP_AFTER * TRIES + 2
    get(f"{server.url}/good")
    refused(f"{server.url}/bad")
    assert len(server.asked) == GIVE_UP_AFTER * TRIES + 3 + TRIES


def test_https_asks_for_a_certificate_that_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(certificate) as server:
        server.routes["/a"] = reply(b"a" * 100_000)
        error = refused(f"{server.url}/a")
        assert error.reason == "not trusted"
        assert "SSL_CERT_FILE" in str(error)
        assert refused(server.url.replace("https", "http") + "/a").reason in {
            "bad answer",
            "interrupted",
        }
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        connections._tls.cache_clear()
        assert [get(f"{server.url}/a") for _ in range(3)] == [b"a" * 100_000] * 3
        assert len(server.asked) == 3
    connections._tls.cache_clear()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = refused(f"http://127.0.0.1:{port}/a.jpg")
    assert error.reason == "refused"
    assert error.what == f"127.0.0.1:{port} refused the connection"


def test_a_host_without_an_address() -> None:
    error = refused("http://shop.invalid/a.jpg", PUBLIC)
    assert error.reason == "no such host"
    assert error.where == "http://shop.invalid/a.jpg"


def test_a_silent_server_is_left_alone(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENCE_S", 0.05)
    release = threading.Event()

    def silent(_: BaseHTTPRequestHandler) -> None:
        release.wait(10)

    server.routes["/a"] = silent
    for _ in range(GIVE_UP_AFTER):
        assert refused(f"{server.url}/a").reason == "timed out"
    asked = len(server.asked)
    assert refused(f"{server.url}/b").reason == "timed out"
    assert len(server.asked) == asked
    release.set()


def test_a_server_that_drips_is_cut_off(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.1)
    monkeypatch.setattr(web, "TRIES", 1)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "25")
        handler.end_headers()
        for _ in range(25):
            handler.wfile.write(b".")
            time.sleep(0.02)

    server.routes["/a"] = drip
    assert refused(f"{server.url}/a").reason == "timed out"


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"half", headers={"Content-Length": "8", "Connection": "close"}),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf"),
        raw(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
            + gzip.compress(b"a" * 99, mtime=0)[:-9]
        ),
    ],
)
def test_half_an_answer_is_none(server: WebServer, answer: Route) -> None:
    server.routes["/a"] = answer
    assert refused(f"{server.url}/a").reason == "interrupted"
    assert len(server.asked) == TRIES


def test_an_answer_without_a_length_and_one_in_chunks(server: WebServer) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n"
    server.routes |= {"/open": raw(b"HTTP/1.0 200 OK\r\n\r\nwhole"), "/chunks": raw(chunks)}
    assert get(f"{server.url}/open") == get(f"{server.url}/chunks") == b"whole"


def test_what_is_packed_unasked_is_unpacked(server: WebServer) -> None:
    packed = gzip.compress(b"whole" * 1000)
    server.routes["/a"] = reply(packed, headers={"Content-Encoding": "gzip"})
    assert get(f"{server.url}/a") == b"whole" * 1000
    server.routes["/b"] = reply(b"?", headers={"Content-Encoding": "br"})
    assert "packs the file as br" in refused(f"{server.url}/b").what
    server.routes["/c"] = reply(b"no gzip", headers={"Content-Encoding": "gzip"})
    assert refused(f"{server.url}/c").reason == "bad answer"


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"a" * 2000),
        raw(b"HTTP/1.0 200 OK\r\n\r\n" + b"a" * 2000),
        reply(gzip.compress(b"a" * MEGABYTE), headers={"Content-Encoding": "gzip"}),
    ],
)
def test_too_many_bytes_are_not_read(server: WebServer, answer: Route) -> None:
    server.routes["/a"] = answer
    assert refused(f"{server.url}/a", most_bytes=1999).reason == "too large"


def test_what_is_no_web_server(server: WebServer) -> None:
    server.routes["/a"] = raw(b"220 mail.example ESMTP\r\n")
    assert refused(f"{server.url}/a").reason == "bad answer"


def test_redirects_are_followed(server: WebServer) -> None:
    server.routes |= {"/a": redirect("/b", 301), "/b": redirect("c", 307), "/c": reply(b"whole")}
    assert get(f"{server.url}/a") == b"whole"
    server.routes["/loop"] = redirect("/loop")
    assert "more than 5 redirects" in refused(f"{server.url}/loop").what
    for there in ("file:///etc/passwd", "ftp://127.0.0.1/a"):
        server.routes["/out"] = redirect(there)
        assert refused(f"{server.url}/out").what == f"it redirects to {there}"


def test_private_hosts_need_a_permission(server: WebServer) -> None:
    server.routes["/a"] = reply(b"a")
    error = refused(f"{server.url}/a", PUBLIC)
    assert error.reason == "private"
    assert error.fix == "--allow-private"
    assert not server.connections
    assert get(f"{server.url}/a", PUBLIC.typed(server.url)) == b"a"
    # Nor over the connection that is open now.
    assert refused(f"{server.url}/a", PUBLIC).reason == "private"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "spelling",
    ["localhost", "LOCALHOST", "localhost.", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"],
)
def test_no_spelling_of_a_private_address_passes(server: WebServer, spelling: str) -> None:
    port = server.url.rpartition(":")[2]
    assert refused(f"http://{spelling}:{port}/a", PUBLIC).reason in {"private", "no such host"}
    assert not server.connections


def test_a_name_that_resolves_to_a_private_address(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.url.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert refused(f"http://images.shop.example:{port}/a", PUBLIC).reason == "private"


def test_a_redirect_into_a_private_network_needs_a_permission(server: WebServer) -> None:
    with serving() as other:
        other.routes["/secret"] = reply(b"secret")
        server.routes |= {"/a": redirect(f"{other.url}/secret"), "/b": redirect("/c")}
        server.routes["/c"] = reply(b"public")
        typed = PUBLIC.typed(server.url)
        assert refused(f"{server.url}/a", typed).reason == "private"
        assert not other.asked
        assert get(f"{server.url}/b", typed) == b"public"
        assert get(f"{server.url}/a") == b"secret"


def test_a_password_is_sent_to_its_host_only_and_never_shown(server: WebServer) -> None:
    with serving() as other:
        other.routes["/b"] = reply(b"b")
        server.routes |= {"/a": redirect(f"{other.url}/b"), "/c": reply(b"c")}
        login = server.url.replace("http://", "http://me:secret@")
        assert get(f"{login}/c") == b"c"
        assert server.headers["Authorization"] == "Basic bWU6c2VjcmV0"
        assert get(f"{login}/a") == b"b"
        assert "Authorization" not in other.headers
        assert "secret" not in str(refused(f"{login}/absent"))


def test_many_threads_share_few_connections(server: WebServer) -> None:
    running, most = [0], [0]
    lock = threading.Lock()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        reply(b"a")(handler)

    server.routes["/a"] = slow
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(get, [f"{server.url}/a"] * 32)) == [b"a"] * 32
    assert 1 < most[0] <= connections.CONNECTIONS_PER_HOST
    assert server.connections <= connections.CONNECTIONS_PER_HOST


def test_a_connection_that_the_server_closed_meanwhile(server: WebServer) -> None:
    def once(handler: BaseHTTPRequestHandler) -> None:
        reply(b"a")(handler)
        # Without a word of it in the answer.
        handler.close_connection = True

    server.routes["/a"] = once
    assert [get(f"{server.url}/a") for _ in range(3)] == [b"a"] * 3
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "address",
    ["http:///a.jpg", "http://[::1/a.jpg", "http://host:99999999/a", "http://ⅷ..example/"],
)
def test_what_is_no_address(address: str) -> None:
    assert refused(address).reason == "bad address"


def test_servers_that_nobody_typed_are_not_asked_for_a_run(server: WebServer) -> None:
    """What others wrote about a run names no server, public or not, without a flag."""
    server.routes |= {"/a": reply(b"a")}
    with serving() as other:
        other.routes |= {"/b": redirect(f"{server.url}/a"), "/c": reply(b"c")}
        none = Access(private=True, web=False)
        assert refused(f"{server.url}/a", none).reason == "not allowed"
        assert refused(f"{server.url}/a", none).fix == "--allow-remote"
        typed = none.typed(f"{other.url}/table.csv")
        assert get(f"{other.url}/c", typed) == b"c"
        # A redirect of a server that was typed leads to no other one.
        assert refused(f"{other.url}/b", typed).reason == "not allowed"
        assert not server.asked
        assert get(f"{other.url}/b", Access(private=True, web=False, remote=True)) == b"a"


def saved(address: str, path: Path, *, most_bytes: int = MEGABYTE, answer_s: float = 9.0) -> bytes:
    download(address, path, most_bytes=most_bytes, answer_s=answer_s)
    return path.read_bytes()


def test_a_file_of_a_data_set_is_written(server: WebServer, tmp_path: Path) -> None:
    server.routes["/photos.zip"] = reply(b"photos" * 100_000)
    assert saved(f"{server.url}/photos.zip", tmp_path / "file") == b"photos" * 100_000


def test_a_file_of_a_data_set_has_limits_of_its_own(
    server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.0)
    server.routes |= {"/a": reply(b"photos"), "/b": reply(b"", status=500)}
    assert saved(f"{server.url}/a", tmp_path / "file") == b"photos"
    for address, said, limits in (
        ("/a", "more than 5 bytes", {"most_bytes": 5}),
        ("/a", "more than 0 s", {"answer_s": 0.0}),
        ("/b", "answers 500", {}),
        ("/c", "answers 404", {}),
    ):
        with pytest.raises(RemoteError, match=said):
            saved(f"{server.url}{address}", tmp_path / "other", **limits)
    # It has other sources, which are asked instead.
    assert server.asked.count("/b") == 1


def test_a_file_that_cannot_be_written_is_no_fault_of_the_server(
    server: WebServer, tmp_path: Path
) -> None:
    server.routes["/a"] = reply(b"photos")
    with pytest.raises(FileNotFoundError):
        saved(f"{server.url}/a", tmp_path / "no folder" / "file")
    with pytest.raises((IsADirectoryError, PermissionError)):
        saved(f"{server.url}/a", tmp_path)


def test_who_drips_until_the_time_is_over_is_not_asked_again(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.1)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(20):
            time.sleep(0.02)
            handler.wfile.write(b"x")
            handler.wfile.flush()

    server.routes["/a"] = drip
    assert refused(f"{server.url}/a").reason == "timed out"
    assert server.asked == ["/a"]


@pytest.mark.parametrize("kind", hostile_answers())
def test_a_hostile_answer_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(hostile_answers()[kind])
    assert read_from_server(tmp_path / "answer") == "RemoteError"


def test_what_follows_the_end_of_a_packed_file_is_no_part_of_it(server: WebServer) -> None:
    packed = gzip.compress(b"a") + gzip.compress(b"b")
    server.routes["/a"] = reply(packed, headers={"Content-Encoding": "gzip"})
    found = refused(f"{server.url}/a")
    assert (found.reason, "more follows" in found.what) == ("bad answer", True)
