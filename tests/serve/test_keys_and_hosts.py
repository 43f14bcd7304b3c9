"""Who may ask: keys, hosts and the pages of other sites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shopsight.errors import ConfigError
from shopsight.serve.host_check import host_check, is_loopback
from shopsight.serve.keys import Keys, read_keys
from shopsight.serve.refusals import RefusedError
from tests.serve.service import Service, serving

pytestmark = pytest.mark.enable_socket  # the service is on this machine
READ, WRITE = "a-key-to-read-with-é", "a-key-to-write-with"


@pytest.fixture(scope="module")
def guarded(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with both keys: one from a file, one from the environment."""
    file = tmp_path_factory.mktemp("keys") / "read.key"
    file.write_text(f"{READ}\n", encoding="utf-8")
    flags = ("--read-key-file", str(file), "--allow-origin", "https://shop.example")
    environment = {"SHOPSIGHT_WRITE_KEY": WRITE}
    with serving(tiny_run, *flags, environment=environment) as running:
        yield running


def _bearer(key: str) -> str:
    # http.client sends headers as latin-1; these are the bytes of UTF-8.
    return f"Bearer {key}".encode().decode("latin-1")


def test_only_a_key_opens(guarded: Service, photo: bytes) -> None:
    for path in ("/v1/models", "/metrics", "/v1/items/x/thumbnail", "/whatever"):
        answer = guarded.get(path)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for key in (READ, WRITE):
        assert guarded.get("/v1/models", Authorization=_bearer(key)).status == 200
    for wrong in ("Bearer", "Bearer ", _bearer(READ[:-1]), f"Basic {WRITE}", "ÿ"):
        assert guarded.get("/v1/models", Authorization=wrong).status == 401
    assert guarded.post_files("/v1/predict", [photo]).status == 401
    open_routes = [guarded.get(path).status for path in ("/healthz", "/readyz", "/openapi.json")]
    assert open_routes == [200, 200, 200]


def test_a_read_key_does_not_write(guarded: Service) -> None:
    assert guarded.ask("POST", "/v1/reload", headers={"Authorization": _bearer(READ)}).status == 401
    answer = guarded.ask("POST", "/v1/reload", headers={"Authorization": _bearer(WRITE)})
    assert answer.status == 200
    assert answer.json()["model"]["num_labels"] == 3


def test_nobody_writes_without_a_write_key(service: Service) -> None:
    answer = service.ask("POST", "/v1/reload")
    assert answer.status == 403
    assert "--write-key-file" in answer.json()["error"]["fix"]


def test_another_host_is_refused(service: Service) -> None:
    assert service.get("/healthz", Host="evil.example").status == 403
    assert service.get("/healthz", Host="localhost:1234").status == 200
    assert service.get("/healthz", Host="[::1]:1234").status == 200


def test_pages_of_other_sites(guarded: Service, photo: bytes) -> None:
    shop, other = "https://shop.example", "https://other.example"
    headers = {"Authorization": _bearer(READ), "Origin": shop}
    allowed = guarded.post_files("/v1/predict", [photo], **headers)
    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == shop
    refused = guarded.post_files("/v1/predict", [photo], **(headers | {"Origin": other}))
    assert refused.status == 403
    own = {"Origin": f"http://127.0.0.1:{guarded.port}"}
    assert guarded.post_files("/v1/predict", [photo], **(headers | own)).status == 200
    asked = {
        "Origin": shop,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    assert guarded.ask("OPTIONS", "/v1/predict", headers=asked).status == 200


@pytest.mark.parametrize("content", [b"", b"short", b"two words in a file", b"x" * 5000])
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="a key is one word of 16 to 4,096 bytes"):
        read_keys(file, None)


def test_a_key_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key's file cannot be read") as caught:
        read_keys(None, tmp_path / "nothing.key")
    assert "--write-key-file" in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_keys(tmp_path, None)


def test_keys_are_compared_as_bytes() -> None:
    keys = Keys(read="schlüssel-schlüssel".encode(), write=b"0123456789abcdef")
    assert keys.may_read("Bearer schlüssel-schlüssel".encode().decode("latin-1"))
    assert keys.may_read("bearer 0123456789abcdef")
    assert not keys.may_write("Bearer schlüssel-schlüssel")
    assert not Keys().may_write("Bearer ")


def test_hosts() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "shop.example")))
    check = host_check("0.0.0.0", ())
    check.check("anything.example:80", None)
    with pytest.raises(RefusedError):
        check.check("anything.example", "https://other.example")
    check = host_check("127.0.0.1", ("https://Shop.example",))
    check.check("shop.example", "https://shop.example")
    with pytest.raises(ConfigError, match="is no origin"):
        host_check("127.0.0.1", ("shop.example",))
