"""A server's engine: what goes wrong with servers, and what is said of it and to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from shopsight.errors import SearchError, ShopsightError
from shopsight.vector_engines.engine import EngineSettings
from shopsight.vector_engines.qdrant_engine import create_qdrant, drop_qdrant, open_qdrant
from shopsight.vector_engines.qdrant_server import KEY_VARIABLE, plain_url
from tests.vector_engines.engines import SCHEMA, SETTINGS, some_points, unit
from tests.vector_engines.qdrant_stub import Stub, qdrant_stub

pytest.importorskip("qdrant_client")
pytestmark = pytest.mark.enable_socket  # the stub server is on this machine
SECRET = "hunter2"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with qdrant_stub() as serving:
        yield serving


def said(error: ShopsightError) -> str:
    """All that a user sees of an error, and what it was raised from."""
    return f"{error} {error.__cause__!r}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host:6333", "http://host:6333"),
        ("https://host/qdrant/", "https://host/qdrant"),
        ("http://[::1]:6333/", "http://[::1]:6333"),
    ],
)
def test_an_address_is_kept_plain(url: str, expected: str) -> None:
    assert plain_url(url) == expected


@pytest.mark.parametrize(
    "url",
    ["host:6333", "ftp://host", "http://", "", "http://host:port", "http://[::1", "file:///a"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SearchError, match="is not an address of a server"):
        plain_url(url)


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{SECRET}@host:6333",
        f"http://{SECRET}@host:6333",
        f"http://host:6333?api_key={SECRET}",
        f"http://host:6333#{SECRET}",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SearchError, match="a password or a key in it") as caught:
        plain_url(url)
    assert SECRET not in said(caught.value)


def test_a_collection_is_opened_again_and_dropped(stub: Stub) -> None:
    made = create_qdrant(stub.url, "one", SETTINGS)
    made.upsert(some_points(10))
    made.close()
    again = open_qdrant(stub.url, "one", SETTINGS)
    assert again.count() == 10
    assert again.name == f"Qdrant at {stub.url}"
    again.close()
    drop_qdrant(stub.url, "one")
    drop_qdrant(stub.url, "never there")
    assert not stub.collections


def test_a_collection_is_made_with_its_settings(stub: Stub) -> None:
    settings = replace(SETTINGS, storage="int8", shards=3, replicas=2, m=24, ef_construct=99)
    create_qdrant(stub.url, "one", settings).close()
    made = stub.collections["one"].made_with
    assert (made["shard_number"], made["replication_factor"]) == (3, 2)
    assert (made["hnsw_config"]["m"], made["hnsw_config"]["ef_construct"]) == (24, 99)
    assert made["vectors"]["image"] == {"size": 16, "distance": "Dot", "datatype": "float16"}
    assert made["quantization_config"]["scalar"]["type"] == "int8"
    indexed = stub.collections["one"].indexed
    assert set(indexed) == set(SCHEMA)
    assert (indexed["price"], indexed["stock"], indexed["sale"]) == ("float", "integer", "keyword")


def test_every_write_waits_for_the_server(stub: Stub) -> None:
    engine = create_qdrant(stub.url, "one", SETTINGS)
    stub.asked.clear()
    engine.upsert(some_points(1200))
    engine.delete(some_points(3).ids)
    assert stub.asked == [
        *["PUT /collections/one/points?wait=true"] * 3,
        "POST /collections/one/points/delete?wait=true",
    ]
    engine.close()


def test_many_queries_are_few_requests(stub: Stub) -> None:
    engine = create_qdrant(stub.url, "one", SETTINGS)
    engine.upsert(some_points(50))
    stub.asked.clear()
    found = engine.query(unit(np.random.default_rng(0), 150, 16), limit=3)
    assert [len(hits) for hits in found] == [3] * 150
    assert len(stub.asked) == 2
    engine.close()


def test_nothing_but_the_collection_is_asked_for(stub: Stub) -> None:
    create_qdrant(stub.url, "one", SETTINGS).close()
    assert all(" /collections/one" in asked for asked in stub.asked)


def test_another_collection_is_no_index(stub: Stub) -> None:
    with pytest.raises(SearchError, match="has no collection 'one'"):
        open_qdrant(stub.url, "one", SETTINGS)
    create_qdrant(stub.url, "one", SETTINGS).close()
    with pytest.raises(SearchError, match="vectors of other widths") as caught:
        open_qdrant(stub.url, "one", EngineSettings({"image": 32}))
    assert caught.value.details == (
        "on the server {'image': 16, 'text': 8}",
        "in the index {'image': 32}",
    )


def test_a_server_that_is_not_there(stub: Stub) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SearchError, match="cannot be reached") as caught:
            create_qdrant(url, "one", SETTINGS)
    assert caught.value.where == url


def test_a_slow_server(stub: Stub) -> None:
    engine = create_qdrant(stub.url, "one", SETTINGS, timeout_s=1)
    stub.delay_s = 1.5
    with pytest.raises(SearchError, match="did not answer within 1 s"):
        engine.count()
    engine.close()


def test_a_server_that_fails(stub: Stub) -> None:
    engine = create_qdrant(stub.url, "one", SETTINGS)
    stub.failing = 507
    with pytest.raises(SearchError, match=r"refuses \(HTTP 507\): disk full") as caught:
        engine.upsert(some_points(3))
    assert "secret" not in str(caught.value)
    assert "\n" not in caught.value.what
    engine.close()


def test_what_is_no_qdrant_server(stub: Stub) -> None:
    engine = create_qdrant(stub.url, "one", SETTINGS)
    stub.answer = lambda *_: (200, "hello")  # type: ignore[method-assign]
    with pytest.raises(SearchError, match="no Qdrant server"):
        engine.count()
    engine.close()


def test_a_key_comes_from_the_environment_alone(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.key = SECRET
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(SearchError, match="asks for a key"):
        create_qdrant(stub.url, "one", SETTINGS)
    monkeypatch.setenv(KEY_VARIABLE, "wrong-" + SECRET)
    with pytest.raises(SearchError, match="asks for another key") as caught:
        create_qdrant(stub.url, "one", SETTINGS)
    assert SECRET not in said(caught.value)
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    create_qdrant(stub.url, "one", SETTINGS).close()
    assert list(stub.collections) == ["one"]
