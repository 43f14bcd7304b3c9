from __future__ import annotations

import unicodedata

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.label_spelling import unify_labels

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Schuhe-grün") for form in ("NFC", "NFD"))


def catalog_of(*labels: object) -> Catalog:
    images = [f"{i}.jpg" for i in range(len(labels))]
    return Catalog(pl.DataFrame({"image": images, "label": list(labels)}, strict=False), "shop")


def test_forms_and_blanks_are_one_label() -> None:
    found = unify_labels(catalog_of(COMPOSED, DECOMPOSED, f" {COMPOSED}\u00a0", "hat\u200b", None))
    assert found.table["label"].to_list() == [COMPOSED, COMPOSED, COMPOSED, "hat", None]
    assert found.notes == (
        "labels without blanks at their ends, in one Unicode form: 3 images, "
        f"e.g. ' Schuhe-gr\\xfcn\\xa0' is read as {COMPOSED!r}",
    )


def test_a_list_does_not_name_a_label_twice() -> None:
    found = unify_labels(catalog_of([COMPOSED, DECOMPOSED, "hat "], [], None, ["hat"]))
    assert found.table["label"].to_list() == [[COMPOSED, "hat"], [], None, ["hat"]]
    assert "1 image," in found.notes[0]


def test_case_keeps_labels_apart() -> None:
    catalog = catalog_of("Hat", "hat")
    assert unify_labels(catalog) is catalog
