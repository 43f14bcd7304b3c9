"""Downloads over real sockets: an error says whether the certificate or the network is at fault."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from shopsight import runtime
from shopsight.errors import SourceError
from shopsight.io.download import download


@contextmanager
def server(folder: Path, certificate: Path | None = None) -> Iterator[str]:
    """Serves a folder on this machine; with a certificate, by https."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    class Tolerant(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    with Tolerant(("127.0.0.1", 0), partial(Silent, directory=str(folder))) as serving:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            serving.socket = context.wrap_socket(serving.socket, server_side=True)
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        scheme = "https" if certificate else "http"
        yield f"{scheme}://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()
        thread.join()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "photos.zip").write_bytes(b"photos")
    return tmp_path / "site"


def test_a_file_arrives(page: Path, tmp_path: Path, socket_enabled: None) -> None:
    with server(page) as url:
        download(f"{url}/photos.zip", tmp_path / "file", timeout_s=5, most_bytes=100)
    assert (tmp_path / "file").read_bytes() == b"photos"


def test_a_host_that_sends_too_much(page: Path, tmp_path: Path, socket_enabled: None) -> None:
    with server(page) as url, pytest.raises(SourceError, match="more than the 5 bytes"):
        download(f"{url}/photos.zip", tmp_path / "file", timeout_s=5, most_bytes=5)
    assert not (tmp_path / "file").read_bytes()


def test_a_page_that_is_not_there(page: Path, tmp_path: Path, socket_enabled: None) -> None:
    with server(page) as url, pytest.raises(SourceError, match="the host answers 404"):
        download(f"{url}/absent.zip", tmp_path / "file", timeout_s=5, most_bytes=100)


def test_nobody_answers(page: Path, tmp_path: Path, socket_enabled: None) -> None:
    with server(page) as url:
        pass
    with pytest.raises(SourceError, match=r"no answer, as without a network: .*refused"):
        download(f"{url}/photos.zip", tmp_path / "file", timeout_s=5, most_bytes=100)


def test_a_certificate_that_nobody_vouches_for(
    page: Path, certificate: Path, tmp_path: Path, socket_enabled: None
) -> None:
    with server(page, certificate) as url:
        with pytest.raises(SourceError, match=r"certificate is not trusted: self.signed") as caught:
            download(f"{url}/photos.zip", tmp_path / "file", timeout_s=5, most_bytes=100)
        assert "SSL_CERT_FILE" in str(caught.value)


def test_a_certificate_that_the_user_trusts(
    page: Path,
    certificate: Path,
    tmp_path: Path,
    socket_enabled: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert runtime.certificate_file() is None
    with server(page, certificate) as url:
        download(f"{url}/photos.zip", tmp_path / "file", timeout_s=5, most_bytes=100)
    assert (tmp_path / "file").read_bytes() == b"photos"
