"""`taxonomy check`: labels that a taxonomy does not have, and what is near them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError
from shopsight.read_options import ReadOptions
from tests.helpers import run_command, touch

TAXONOMY = """\
# Version: 2026-11
10 - Apparel & Accessories
11 - Apparel & Accessories > Jewelry
12 - Apparel & Accessories > Jewelry > Earrings
13 - Hardware > Building Materials > Handrails
"""


@pytest.fixture
def taxonomy(tmp_path: Path) -> Path:
    path = tmp_path / "taxonomy.txt"
    path.write_text(TAXONOMY, encoding="utf-8")
    return path


def catalog_of(labels: list[object]) -> Catalog:
    images = [f"{i}.jpg" for i in range(len(labels))]
    return Catalog(pl.DataFrame({"image": images, "label": labels}, strict=False), "shop")


def test_labels_that_do_not_exist(taxonomy: Path) -> None:
    labels = [
        *["Apparel & Accessories > Jewelry"] * 3,
        "Apparel & Accessories > Jewelry > Earrings",
        *["Apparel & Accessories > Jewelry > Ear Hook"] * 2,
        "Uncategorized",
        "12",
        None,
    ]
    found = api.check_taxonomy(catalog_of(labels), taxonomy=taxonomy)
    assert not found.ok
    assert (found.num_labels, found.num_images, found.num_paths, found.ids) == (5, 8, 4, 1)
    assert (found.version, found.unknown_images) == ("2026-11", 3)
    hook, bare = found.unknown
    assert (hook.label, hook.images) == ("Apparel & Accessories > Jewelry > Ear Hook", 2)
    assert hook.known == "Apparel & Accessories > Jewelry"
    assert hook.nearest[0] == "Apparel & Accessories > Jewelry > Earrings"
    assert (bare.label, bare.known) == ("Uncategorized", None)
    assert found.to_json()["unknown"][0]["label"] == hook.label


def test_images_of_several_labels(taxonomy: Path) -> None:
    labels = [["Hardware > Building Materials", "Toys"], ["Toys", "Games"], []]
    found = api.check_taxonomy(catalog_of(labels), taxonomy=taxonomy)
    assert [(one.label, one.images) for one in found.unknown] == [("Toys", 2), ("Games", 1)]
    assert found.num_images == 2


def test_ten_thousand_paths_and_forty_labels(tmp_path: Path) -> None:
    paths = [f"T{n % 20} > S{n % 400} > Leaf {n}" for n in range(10_000)]
    file = tmp_path / "t.txt"
    file.write_text("\n".join(paths), encoding="utf-8")
    found = api.check_taxonomy(catalog_of(list(paths[:40])), taxonomy=file)
    assert found.ok
    assert found.num_paths == 10_000


def test_without_labels_there_is_nothing_to_look_up(taxonomy: Path) -> None:
    with pytest.raises(CatalogError, match="no labels to look up"):
        api.check_taxonomy(catalog_of([None]), taxonomy=taxonomy)


def test_the_command(taxonomy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path / "photos", "1.jpg", "2.jpg", "3.jpg")
    table = tmp_path / "photos" / "shop.csv"
    table.write_text(
        "image,category\n"
        "1.jpg,Apparel & Accessories/Jewelry\n"
        "2.jpg,Apparel & Accessories/Jewelry/Earings\n"
        "3.jpg,Apparel & Accessories/Jewelry\n",
        encoding="utf-8",
    )
    words = ("taxonomy", "check", table, "--taxonomy", taxonomy, "--path-separator", "/")
    found = run_command(capsys, words)
    assert found.code == 1
    assert found.out.splitlines() == [
        "Apparel & Accessories > Jewelry > Earings (1 image)",
        "  exists down to: Apparel & Accessories > Jewelry",
        "  near: Apparel & Accessories > Jewelry > Earrings",
        "  near: Apparel & Accessories > Jewelry",
        "  near: Apparel & Accessories",
        f"1 of 2 labels of shop.csv (1 image of 3) are not in {taxonomy} 2026-11 (4 paths)",
    ]
    assert run_command(capsys, (*words, "--json")).json["num_labels"] == 2
    good = run_command(capsys, (*words, "--drop", "Apparel & Accessories > Jewelry > Earings"))
    assert good.code == 0
    assert good.out == f"1 label of shop.csv are all in {taxonomy} 2026-11 (4 paths)\n"


def test_a_mapping_renames_labels(tmp_path: Path, said: list[str]) -> None:
    file = tmp_path / "shopify_to_google.txt"
    file.write_text(
        "# Mapping shopify/2026-11 to google/2021-09-21\n"
        "# → {base}\n\n"
        "→ Pets > Aquatic\n⇒ Pets > Fish Supplies\n\n"
        "→ Pets > Aquatic > Tanks\n⇒ Pets > Fish Supplies\n⇒ Pets\n\n"
        "→ Pets > Unmapped\n",
        encoding="utf-8",
    )
    catalog = catalog_of(["Pets > Aquatic", "Pets > Aquatic > Tanks", "Pets > Unmapped", "Toys"])
    found = open_catalog(catalog, ReadOptions(label_map=file))
    assert found.table["label"].to_list() == [
        "Pets > Fish Supplies",
        "Pets > Fish Supplies",
        "Pets > Unmapped",
        "Toys",
    ]
    assert any("labels by a mapping of 2 paths" in line for line in said)
    file.write_text("→ A\n= B\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="line 2 begins with no arrow"):
        open_catalog(catalog, ReadOptions(label_map=file))
