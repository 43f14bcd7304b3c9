"""Files of taxonomies: of Shopify, of Google, plain lines; what exists, what is no taxonomy."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from shopsight.errors import TableError, TaxonomyError
from shopsight.taxonomy.taxonomy import MOST_PATHS, Taxonomy, parse_taxonomy, read_taxonomy

SHOPIFY = """\
# Shopify Product Taxonomy - Categories: 2026-11-unstable
# Format: {GID} : {Ancestor name} > ... > {Category name}

gid://shopify/TaxonomyCategory/aa     : Apparel & Accessories
gid://shopify/TaxonomyCategory/aa-1   : Apparel & Accessories > Clothing
gid://shopify/TaxonomyCategory/aa-1-4 : Apparel & Accessories > Clothing > Dresses
"""
GOOGLE = """\
# Google_Product_Taxonomy_Version: 2021-09-21
166 - Apparel & Accessories
1604 - Apparel & Accessories > Clothing
2271 - Apparel & Accessories > Clothing > Dresses
5000 - Food, Beverages & Tobacco > 7 - 11 Snacks
"""
PLAIN = "Jewelry > Rings\n\n# a comment\nBag/Case\n7 - 11 > Snacks\n"


def test_shopifys_lines() -> None:
    found = parse_taxonomy(SHOPIFY, "categories.txt")
    assert (found.name, found.version, len(found.paths)) == (
        "categories.txt",
        "2026-11-unstable",
        3,
    )
    assert found.ids["gid://shopify/TaxonomyCategory/aa-1"] == "Apparel & Accessories > Clothing"


def test_googles_lines() -> None:
    found = parse_taxonomy(GOOGLE, "t.txt")
    assert found.version == "2021-09-21"
    assert found.paths[-1] == "Food, Beverages & Tobacco > 7 - 11 Snacks"
    # Translated names are known by their ids.
    assert found.has("2271")
    assert not found.has("9999")
    assert found.known_part("2271") == "2271"


def test_plain_lines_and_the_paths_above_them() -> None:
    found = parse_taxonomy(PLAIN, "t.txt")
    assert found.paths == ("Jewelry > Rings", "Bag/Case", "7 - 11 > Snacks")
    assert (found.version, found.ids) == ("", {})
    assert found.has("Jewelry")
    assert found.has("Jewelry  >  Rings")
    assert not found.has("jewelry")
    assert not found.has("Rings")
    assert found.every_path[3:] == ("7 - 11", "Jewelry")


def test_the_part_that_exists() -> None:
    found = parse_taxonomy(SHOPIFY, "t.txt")
    assert (
        found.known_part("Apparel & Accessories > Clothing > Frocks")
        == "Apparel & Accessories > Clothing"
    )
    assert found.known_part("Clothing > Dresses") is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no paths in it"),
        ("# only\n# comments\n", "no paths in it"),
        ("→ A > B\n⇒ A\n", "a mapping between two taxonomies"),
        (GOOGLE + "Apparel\n", "1 of 5 lines have no id"),
        (GOOGLE + "166 - Hats\n", "ids with two paths"),
        ("A > " + "b" * 5000, "1 line of more than 4,096 characters"),
    ],
)
def test_what_is_no_taxonomy(text: str, what: str) -> None:
    with pytest.raises(TaxonomyError, match=what) as caught:
        parse_taxonomy(text, "t.txt")
    assert str(caught.value).startswith("t.txt: ")


def test_lines_that_do_not_fit_are_named() -> None:
    with pytest.raises(TaxonomyError) as caught:
        parse_taxonomy(GOOGLE + "166 - Hats\n", "t.txt")
    assert caught.value.details == ("line 6: 166 is 'Apparel & Accessories' and 'Hats'",)


def test_too_many_lines() -> None:
    with pytest.raises(TaxonomyError, match="a taxonomy has at most 1,000,000"):
        parse_taxonomy("a\n" * (MOST_PATHS + 1), "t.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_files(tmp_path: Path, encoding: str, packed: bool) -> None:
    data = (SHOPIFY + "gid://shopify/TaxonomyCategory/bt : Bébés\r\n").encode(encoding)
    path = tmp_path / "categories.txt"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_taxonomy(str(path))
    assert isinstance(found, Taxonomy)
    assert found.paths[-1] == "Bébés"


def test_files_of_another_kind(tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_text("<!DOCTYPE html><html><body>404</body></html>", encoding="utf-8")
    with pytest.raises(TableError, match="HTML page"):
        read_taxonomy(str(page))
    table = tmp_path / "paths.csv"
    table.write_text("id,path\n", encoding="utf-8")
    with pytest.raises(TaxonomyError, match="a table, and a taxonomy is a text file"):
        read_taxonomy(str(table))
    with pytest.raises(TableError, match="No such file"):
        read_taxonomy(str(tmp_path / "absent.txt"))
