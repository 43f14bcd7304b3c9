from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.embeddings.ray_cluster import _connected, _environment, ray_cluster
from shopsight.embeddings.ray_embedder import RayEmbedder, _in_order
from shopsight.embeddings.runner import Runner, opened_by
from shopsight.errors import ConfigError, EmbeddingError, ExtraMissingError
from shopsight.io.logins import forget_logins
from tests.search.vectors import SeededEmbedder


@pytest.mark.parametrize("runner", [Runner(address="head:6379"), Runner(workers=2)])
def test_options_of_ray_need_ray(runner: Runner) -> None:
    with (
        pytest.raises(ConfigError, match="would change nothing") as refused,
        opened_by(runner, SeededEmbedder(), device="cpu"),
    ):
        pass
    assert refused.value.fix == "--runner ray"


def test_without_ray_the_extra_is_named_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(ExtraMissingError, match=r'pip install "shopsight\[ray\]"'),
        opened_by(Runner("ray"), "no-such-model", device="cpu"),
    ):
        pass


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:port", ":6379"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="no address of a Ray cluster"), ray_cluster(address):
        pass


def test_where_nobody_answers_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, socket_enabled: None
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(EmbeddingError, match="no Ray cluster answers"), ray_cluster(None):
        pass


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("local", SystemExit(15), "does not start here: it gave up waiting"),
        ("head:6379", RuntimeError("Version mismatch"), "cannot be used: Version mismatch"),
    ],
)
def test_what_ray_itself_cannot_do_is_said(
    address: str, error: BaseException, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoRay:
        @staticmethod
        def init(**_settings: object) -> None:
            raise error

        @staticmethod
        def shutdown() -> None:
            return None

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(EmbeddingError, match=said), _connected(NoRay, address=address):
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_answers_come_in_order() -> None:
    def block(*numbers: int) -> pl.DataFrame:
        vectors = [None if number == 3 else bytes([number]) for number in numbers]
        errors = ["damaged" if number == 3 else None for number in numbers]
        return pl.DataFrame({"number": numbers, "vector": vectors, "error": errors})

    found = list(_in_order(iter([block(2, 3), block(4), block(0, 1)])))
    assert [number for number, _, _ in found] == [0, 1, 2, 3, 4]
    assert found[3] == (3, None, "damaged")
    assert found[4] == (4, b"\x04", None)


def test_passwords_are_not_sent_to_workers() -> None:
    address = "https://anna:secret@shop.test/1.jpg"
    embedder = RayEmbedder(
        SeededEmbedder(),
        address=None,
        workers=None,
        device="cpu",
        precision="32",
        resize=None,
    )
    try:
        catalog = Catalog(pl.DataFrame({"image": [address]}), "photos")
        with pytest.raises(EmbeddingError, match="not sent to the workers") as refused:
            next(embedder.embed(catalog))
    finally:
        forget_logins()
        embedder.close()
    assert "secret" not in str(refused.value)


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_A", "before")
    monkeypatch.delenv("RAY_B", raising=False)
    with _environment({"RAY_A": "1", "RAY_B": "2"}):
        assert (os.environ["RAY_A"], os.environ["RAY_B"]) == ("1", "2")
    assert os.environ["RAY_A"] == "before"
    assert "RAY_B" not in os.environ


def test_images_that_are_no_catalog_are_embedded_here(tmp_path: Path) -> None:
    local = SeededEmbedder()
    embedder = RayEmbedder(
        local, address=None, workers=None, device="cpu", precision="32", resize=None
    )
    file = tmp_path / "one.jpg"
    file.write_bytes(b"one")
    (found,) = embedder.embed([str(file)])
    assert found.vector is not None
    assert len(local.seen) == 1
