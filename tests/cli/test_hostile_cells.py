"""One table of cells that mean harm, or nothing: each row has its verdict, and no other suffers."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.text import is_unicode
from tests.helpers import ProductPhotos
from tests.web_server import reply, serving

pytestmark = pytest.mark.enable_socket

SECRET = "sentinel-5f3a"
# `{own}` is a server on this machine, `{private}` a folder beside the data.
ADDRESSES = (
    *("reference://x.jpg::{own}/ref.json", "simplecache::{own}/a.jpg", "zip://a.jpg::{own}/b.zip"),
    *("filecache::file://{private}/key", "zip://key::{private}/x.zip", "local://{private}/me.jpg"),
    *("ftp://127.0.0.1/a.jpg", "smb://127.0.0.1/a.jpg", "memory://a.jpg", "github://a:b@/x.jpg"),
    *("javascript://x/a.jpg", "hf://datasets/a/b.jpg", "s3://bucket/a.jpg", "az://c@h/a.jpg"),
    *("{own}/a.jpg", "http://localhost:{port}/a.jpg", "http://127.1:{port}/a.jpg"),
    *("http://2130706433:{port}/a.jpg", "http://0x7f.1:{port}/a.jpg", "http://0:{port}/a.jpg"),
    *("http://[::1]:{port}/a.jpg", "http://[::ffff:127.0.0.1]:{port}/a.jpg"),
    *("http://[fe80::1%lo]:{port}/a.jpg", "http://127。0。0。1:{port}/a.jpg"),
    *("http://[::1/a.jpg", "http://]/a.jpg", "http://h:99999/a.jpg", "http://h:-1/a.jpg"),
    *("http:///a.jpg", "http://", "https://:443/a.jpg", "http://me:pw@127.0.0.1:{port}/a.jpg"),
    *("http://127.0.0.1:{port}#@8.8.8.8/a.jpg", f"http://{'a' * 70}.example/a.jpg"),
    *("http://\u202ea/a.jpg", "HTTP://127.0.0.1:{port}/a.jpg", " http://127.0.0.1:{port}/a.jpg"),
)
PATHS = (
    *("{private}/key", "{private}/me.jpg", "../private/me.jpg", "hat/../../private/me.jpg"),
    *("file://{private}/me.jpg", "FILE:{private}/me.jpg", "file://host{private}/me.jpg"),
    *("%2e%2e/private/me.jpg", "..%2fprivate%2fme.jpg", "..\\private\\me.jpg"),
    *("/proc/self/environ", "/proc/self/fd/0", "/dev/stdin", "/dev/zero", "/etc/passwd"),
    *("~/.ssh/id_rsa", "~root/a.jpg", "$HOME/a.jpg", "%USERPROFILE%\\a.jpg", "`id`.jpg"),
    *("$(touch pwned).jpg", "|id", "--help", "@/etc/passwd", "**/me.jpg", "hat/*.jpg"),
    *("\\\\127.0.0.1\\share\\a.jpg", "//127.0.0.1:{port}/a.jpg", "\\\\.\\pipe\\x.jpg"),
    *(
        "CON",
        "NUL.jpg",
        "C:\\a.jpg",
        ".env.jpg",
        ".",
        "..",
        "/",
        "hat",
        "data:image/png;base64,iVB",
    ),
    *("\x00", "a\x00.jpg", "a\x1b[31m.jpg", "\u202egpj.exe", "\ufeff", "x" * 100_000),
    *("a/" * 3000 + "b.jpg", "[" * 5000, "{'a':", '{"url": "{private}/me.jpg"}', "=cmd|'a'!A0"),
    *(
        "__import__('os').system('touch pwned')",
        "<img src=x>",
        "{private}/me.jpg|a.jpg",
        "\ud800.jpg",
    ),
)
LINKS = {
    "leads.jpg": "../private/me.jpg",
    "away": "../private",
    "loop.jpg": "loop.jpg",
    "zero.jpg": "/dev/zero",
    "around": "../shop",
}
FILES = (*LINKS, "away/me.jpg", "pipe.jpg", "socket.jpg", "folder.jpg")


@pytest.fixture
def shop(product_photos: ProductPhotos, tmp_path: Path) -> Path:
    """A folder of photos, and of what only looks like one, beside a folder of private files."""
    shop, private = tmp_path / "shop", tmp_path / "private"
    shutil.copytree(product_photos.folder, shop)
    private.mkdir()
    photo = next(product_photos.folder.rglob("*.jpg")).read_bytes()
    for name, data in {"key": b"", "me.jpg": photo, "x.zip": b""}.items():
        (private / name).write_bytes(data + SECRET.encode())
    (shop / ".env.jpg").write_text(SECRET, encoding="utf-8")
    for name, target in LINKS.items():
        (shop / name).symlink_to(target)
    os.mkfifo(shop / "pipe.jpg")
    (shop / "folder.jpg").mkdir()
    return shop


def write_table(path: Path, cells: list[str]) -> None:
    rows = [{"image": cell, "label": "ab"[number % 2]} for number, cell in enumerate(cells)]
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return
    # Only JSON has a way to write half a character.
    frame = pl.DataFrame([row for row in rows if is_unicode(row["image"])])
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)


@pytest.mark.posix("links, pipes and sockets have names in its file system")
@pytest.mark.parametrize(
    "name",
    [
        "t.jsonl",
        pytest.param("t.csv", marks=pytest.mark.slow),
        pytest.param("t.parquet", marks=pytest.mark.slow),
    ],
)
def test_each_cell_has_a_verdict(shop: Path, tmp_path: Path, name: str) -> None:
    private, out = tmp_path / "private", tmp_path / "out"
    good = [str(path.relative_to(shop)) for path in shop.glob("*/*-0.jpg")]
    with serving() as server, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(shop / "socket.jpg"))
        server.routes["/a.jpg"] = reply((private / "me.jpg").read_bytes())
        port = server.url.rpartition(":")[2]
        hostile = [
            cell.replace("{own}", server.url)
            .replace("{port}", port)
            .replace("{private}", str(private))
            for cell in (*ADDRESSES, *PATHS)
        ]
        write_table(shop / name, [*good, *hostile, *FILES])
        catalog = api.open_catalog(shop / name)
        report = api.audit(catalog, out=out)
        assert server.connections == 0
    num_rows = len(good) + len(hostile) + len(FILES) - (name != "t.jsonl")
    left_out = next(note for note in catalog.notes if "name no image, left out: " in note)
    num_left_out = int(left_out.partition("left out: ")[2].partition(" of")[0])
    assert any(note.startswith("at addresses: ") for note in catalog.notes)
    assert report.statistics.num_ok == len(good)
    bad = [one.row for one in report.findings if one.kind in {"unreadable", "missing-file"}]
    assert len(bad) == len(set(bad)) == num_rows - num_left_out - len(good)
    for file in out.iterdir():
        assert SECRET.encode() not in file.read_bytes()
    assert not list(tmp_path.rglob("pwned"))
