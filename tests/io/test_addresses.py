from __future__ import annotations

import pytest

from shopsight.errors import RemoteError
from shopsight.io.access import PUBLIC, Access
from shopsight.io.addresses import (
    check_protocol,
    host_of,
    is_private,
    local_path,
    protocol_of,
    shown,
    web_parts,
)
from shopsight.io.reasons import REASONS, count_by_host


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("HTTP://a/b.jpg", "web"),
        ("https://a/b.jpg", "web"),
        ("S3://bucket/a.jpg", "store"),
        ("gs://bucket/a.jpg", "store"),
        ("abfss://container/a.jpg", "store"),
        ("File:///photos/a.jpg", "file"),
    ],
)
def test_the_protocols_that_are_read(address: str, kind: str) -> None:
    assert check_protocol(address) == kind


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("foo://bucket/a.jpg", "unknown protocol"),
        ("ftp://host/a.jpg", "unknown protocol"),
        ("memory://a.jpg", "unknown protocol"),
        ("local:///etc/passwd", "unknown protocol"),
        ("reference://x.jpg::http://host/ref.json", "bad address"),
        ("reference::http://host/ref.json", "bad address"),
        ("zip://a.jpg::/photos.zip", "unknown protocol"),
        ("filecache::s3://bucket/a.jpg", "bad address"),
    ],
)
def test_others_are_refused(address: str, reason: str) -> None:
    with pytest.raises(RemoteError) as caught:
        check_protocol(address)
    assert caught.value.reason in {reason, "bad address"}
    assert caught.value.fix


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1"),
        *("::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "2002:7f00:1::", "64:ff9b::a00:1"),
        *("::127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1"),
    ],
)
def test_private_addresses(ip: str) -> None:
    assert is_private(ip)


@pytest.mark.parametrize("ip", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "172.32.0.1"])
def test_public_addresses(ip: str) -> None:
    assert not is_private(ip)


def test_what_was_typed_is_allowed_with_its_port() -> None:
    typed = PUBLIC.typed("http://LocalHost:8000/a.csv", "photos", None)
    assert typed.allows("localhost", 8000)
    assert not typed.allows("localhost", 22)
    assert Access.from_json(typed.to_json()) == typed
    assert Access.from_json(None) == PUBLIC


def test_paths_of_files(tmp_path: object) -> None:
    assert protocol_of("C:/photos/a.jpg") is None
    assert local_path("file:///photos/a%20b.jpg") == local_path("file://localhost/photos/a%20b.jpg")
    assert local_path("photos/a%20b.jpg") == "photos/a%20b.jpg"


def test_passwords_are_not_shown() -> None:
    assert shown("https://me:pw@host/a@b.jpg") == "https://host/a@b.jpg"
    assert host_of("https://me:pw@host:8080/a.jpg") == "host:8080"
    assert shown("photos/me@home.jpg") == "photos/me@home.jpg"


def test_hosts_are_counted_by_reason() -> None:
    refs = [f"http://a.b/{number}" for number in range(4)] + ["/local", "s3://bucket/a"]
    reasons = ["missing", "", "missing", "timed out", "missing", "truncated"]
    web, store = count_by_host(refs, reasons)
    assert web.line == "host a.b lacks 2 of 4, did not answer in time for 1 of 4"
    assert (store.host, store.asked, store.failed.total()) == ("s3://bucket", 1, 0)
    assert all(REASONS.values())


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/"),
        ("/", "/"),
        ("/a/b.jpg", "/a/b.jpg"),
        ("/data/../a.jpg", "/a.jpg"),
        ("/./a/./b.jpg", "/a/b.jpg"),
        ("/../../a.jpg", "/a.jpg"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a//b.jpg", "/a//b.jpg"),
        ("/a/..b/c...jpg", "/a/..b/c...jpg"),
    ],
)
def test_a_path_is_asked_for_as_browsers_do(path: str, asked: str) -> None:
    assert web_parts(f"http://shop.example{path}").path == asked
