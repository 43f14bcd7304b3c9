"""What this user's mark on a table covers."""

from __future__ import annotations

import polars as pl

from shopsight.catalog.seal import SEAL_KEY, is_sealed, sealed

ABOUT = {"root": "/photos", "root_from_here": "..", "access": None}
IMAGES = pl.Series("image", ["a.jpg", "b.jpg"])


def test_what_is_sealed_is_known_and_changes_are() -> None:
    mine = sealed(ABOUT, IMAGES)
    assert is_sealed(mine | {"name": "renamed"}, IMAGES)
    for change in ({"root": "/etc"}, {"access": {"private": True}}, {SEAL_KEY: "0" * 64}):
        assert not is_sealed(mine | change, IMAGES)
    assert not is_sealed(mine, IMAGES.reverse())


def test_rows_of_a_text_table_may_be_edited_and_of_no_other() -> None:
    of_text = sealed(ABOUT, None)
    assert is_sealed(of_text, None)
    assert not is_sealed(of_text, IMAGES)
    assert not is_sealed(sealed(ABOUT, IMAGES), None)
