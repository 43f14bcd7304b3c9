"""Names and passwords in addresses: used for their host, and written and shown nowhere."""

from __future__ import annotations

import base64
import http.server
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopsight import api
from shopsight.address_secrets import masked
from shopsight.errors import RemoteError
from shopsight.io import logins, web
from shopsight.io.access import Access
from shopsight.read_options import ReadOptions
from tests.helpers import ProductPhotos, Shopsight, train_small
from tests.web_server import Route, WebServer, reply, serving

pytestmark = pytest.mark.enable_socket

LOGIN, SECRET = "ann:s3cr3t%40pw", "s3cr3t"
EXPECTED = "Basic " + base64.b64encode(b"ann:s3cr3t@pw").decode()


def guarded(content: bytes) -> Route:
    """A file for those with the password."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        allowed = handler.headers.get("Authorization") == EXPECTED
        (reply(content) if allowed else reply(status=401))(handler)

    return answer


@pytest.fixture
def server(product_photos: ProductPhotos, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(web, "FIRST_PAUSE_S", 0.001)
    logins.forget_logins()
    with serving() as started:
        for path in product_photos.folder.rglob("*.jpg"):
            name = path.relative_to(product_photos.folder).as_posix()
            started.routes[f"/{name}"] = guarded(path.read_bytes())
        started.routes["/table.csv"] = guarded(product_photos.table.read_bytes())
        yield started
    logins.forget_logins()


def secret_files(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]


def test_cells_with_a_password(
    server: WebServer, product_photos: ProductPhotos, tmp_path: Path, shopsight: Shopsight
) -> None:
    with_login = server.url.replace("http://", f"http://{LOGIN}@")
    head, *rows = product_photos.table.read_text(encoding="utf-8").splitlines()
    table = tmp_path / "table.csv"
    lines = [f"{head},page", *(f"{with_login}/{row},see {with_login}/page" for row in rows)]
    table.write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "out"
    done = shopsight("audit", table, "--allow-private", "--out", out / "audit")
    assert "60 ok" in done.out
    assert SECRET not in done.out + done.err
    done = shopsight("split", table, "--allow-private", "--out", out / "split.csv")
    assert done.code == 0
    assert SECRET not in done.out + done.err
    catalog = api.open_catalog(table, ReadOptions(allow_private=True))
    assert not [ref for ref in catalog.refs() if "@" in ref]
    train_small(catalog, out / "run")
    assert secret_files(out) == []


def test_a_typed_address_with_a_password(
    server: WebServer, tmp_path: Path, shopsight: Shopsight
) -> None:
    address = server.url.replace("http://", f"http://{LOGIN}@") + "/table.csv"
    done = shopsight("audit", address, "--out", tmp_path / "audit")
    assert "60 ok" in done.out
    assert SECRET not in done.out + done.err
    assert secret_files(tmp_path) == []
    server.routes.clear()
    done = shopsight("audit", address)
    assert done.code == 2
    assert SECRET not in done.out + done.err


def test_a_password_is_for_its_host_alone(server: WebServer) -> None:
    server.routes["/a"] = guarded(b"bytes")
    logins.without_login(server.url.replace("http://", f"http://{LOGIN}@"))
    assert web.fetch(f"{server.url}/a", Access(private=True), most_bytes=100) == b"bytes"
    with serving() as other:
        other.routes["/a"] = guarded(b"bytes")
        with pytest.raises(RemoteError, match="401"):
            web.fetch(f"{other.url}/a", Access(private=True), most_bytes=100)


def test_signatures_are_masked_in_messages() -> None:
    for name in ("sig", "X-Amz-Signature", "X-Amz-Security-Token", "access_token", "api_key"):
        error = RemoteError("missing", "no", where=f"https://host/a.jpg?w=80&{name}=abc%2F&v=2")
        assert "abc" not in str(error)
        assert "?w=80&" in str(error)
        assert "&v=2" in str(error)
    assert masked("https://host/a.jpg?design=a&signal=b") == "https://host/a.jpg?design=a&signal=b"
