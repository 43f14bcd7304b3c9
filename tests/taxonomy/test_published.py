"""A taxonomy that is known by name: fetched once, kept, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.cache_place import use_cache_dir
from shopsight.errors import TaxonomyError
from shopsight.taxonomy import published
from shopsight.taxonomy.published import open_taxonomy
from tests.taxonomy.test_taxonomy import SHOPIFY
from tests.web_server import Route, reply, serving

pytestmark = pytest.mark.enable_socket


def test_it_is_fetched_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, use_cache_dir(tmp_path):
        server.routes["/categories.txt"] = reply(SHOPIFY.encode())
        monkeypatch.setattr(published, "SHOPIFY_URL", f"{server.url}/categories.txt")
        found = [open_taxonomy("shopify") for _ in range(2)]
        assert server.asked == ["/categories.txt"]
    assert found[0].name == "shopify"
    assert found[0].version == "2026-11-unstable"
    assert found[1].has("Apparel & Accessories > Clothing > Dresses")
    (kept,) = (tmp_path / "taxonomies").iterdir()
    assert kept.read_text(encoding="utf-8") == SHOPIFY


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(b"gone", status=404), "404"),
        (reply(b"<html>sign in</html>"), "HTML page"),
        (reply(b"Apparel\nJewelry\n"), "not Shopify's list"),
        (reply(b"# nothing\n"), "no paths in it"),
    ],
)
def test_what_came_instead_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Route, why: str
) -> None:
    with serving() as server, use_cache_dir(tmp_path):
        server.routes["/categories.txt"] = answer
        monkeypatch.setattr(published, "SHOPIFY_URL", f"{server.url}/categories.txt")
        with pytest.raises(TaxonomyError, match="its download failed") as caught:
            open_taxonomy("shopify")
    assert why in caught.value.what
    assert "--taxonomy categories.txt" in str(caught.value.fix)
    assert not list(tmp_path.rglob("*.txt"))


def test_names_that_are_none() -> None:
    with pytest.raises(TaxonomyError, match="no such taxonomy or file") as caught:
        open_taxonomy("shoppify")
    assert "--taxonomy shopify" in str(caught.value.fix)
