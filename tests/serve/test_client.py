"""The typed client and `shopsight search` ask a real service."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from shopsight import api
from shopsight.cli.app import app
from shopsight.client import Client
from shopsight.errors import ConfigError, ServiceError
from tests.helpers import ProductPhotos
from tests.serve.service import Service

pytestmark = pytest.mark.enable_socket  # the service is on this machine


@pytest.fixture
def client(searched: Service) -> Client:
    return Client(f"http://127.0.0.1:{searched.port}", key="a-key-to-write-with")


def test_the_client_speaks_all_routes(client: Client, product_photos: ProductPhotos) -> None:
    files = sorted(product_photos.folder.rglob("*.jpg"))[:3]
    with client:
        found = client.predict([*files, b"no image"], top=2)
        assert [len(one.labels) for one in found] == [2, 2, 2, 0]
        assert found[3].reason == "unsupported"
        assert found[0].predicted[0] in product_photos.labels
        assert found[0].labels[0].probability >= found[0].labels[1].probability
        vectors = client.embed([files[0].read_bytes(), b""])
        assert vectors[0] is not None
        assert vectors[0].dtype == np.float32
        assert vectors[1] is None
        items = client.search(files[0], "a hat", top=3, where="label == 'hat'")
        assert {one.columns["label"] for one in items} == {"hat"}
        assert items[0].image is not None
        assert client.thumbnail(items[0].id).startswith(b"\xff\xd8")
        size = client.models()["index"]["size"]
        assert client.add([{"id": "c-1", "label": "hat"}], [files[0]])["size"] == size + 1
        assert client.remove(["c-1"]) == {"removed": 1, "size": size}
        with pytest.raises(ServiceError, match="no column") as caught:
            client.search(text="hat", where="weight < 3")
        assert caught.value.status == 422


def test_a_client_without_a_key(searched: Service) -> None:
    with Client(f"http://127.0.0.1:{searched.port}") as client:
        with pytest.raises(ServiceError, match="no key") as caught:
            client.remove(["x"])
        assert caught.value.status == 401


@pytest.mark.parametrize("address", ["", "localhost:8000", "ftp://x", "http://", "http://x:port"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ServiceError, match="is no address"):
        Client(address)


def test_nobody_there() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="not answer"):
        client.models()


class _Busy(http.server.BaseHTTPRequestHandler):
    """Says twice that it is busy, and then answers."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        busy = self.asked < 3
        body = json.dumps({"error": {"what": "wait", "fix": None}} if busy else {"model": 1})
        self.send_response(429 if busy else 200)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_busy_service_is_asked_again() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with Client(address, retries=1) as client, pytest.raises(ServiceError, match="wait"):
            client.models()
        with Client(address) as client:
            assert client.models() == {"model": 1}
        server.shutdown()
        thread.join()


def test_search_asks_a_service(
    searched: Service, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{searched.port}"
    image = str(sorted(product_photos.folder.rglob("*.jpg"))[0])
    out = tmp_path / "found.jsonl"
    arguments = ["search", address, image, "--text", "a hat", "--top", "2", "--out", str(out)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["query"] for line in lines] == [image, "a hat"]
    assert all(len(line["results"]) == 2 for line in lines)
    shown = CliRunner().invoke(app, ["search", address, image, "--combine", "--text", "hat"])
    assert "rank" in shown.output
    refused = CliRunner().invoke(app, ["search", address, image, "--rerank", "--expand", "3"])
    assert isinstance(refused.exception, ConfigError)
    assert "--rerank" in str(refused.exception)
    assert "--expand" in str(refused.exception)


def test_an_image_that_the_service_cannot_read(searched: Service, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    address = f"http://127.0.0.1:{searched.port}"
    (answer,) = api.search(address, [str(tmp_path / "bad.jpg")]).answers
    assert answer.error is not None
    assert "this service reads" in answer.error
