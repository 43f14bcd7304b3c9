from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.held_out_classes import HELD_OUT, held_out_rows, whole_groups
from shopsight.errors import SplitError


def catalog(labels: list[str], groups: list[str] | None = None, column: str = "sku") -> Catalog:
    table = pl.DataFrame({"image": [f"{n}.jpg" for n in range(len(labels))], "label": labels})
    if groups is not None:
        table = table.with_columns(pl.Series("group", groups), pl.Series(column, groups))
    return Catalog(table, "test", str(Path.cwd()))


LABELS = [f"class-{n % 10}" for n in range(200)]


@pytest.mark.parametrize("seed", range(5))
def test_whole_classes_are_held_out(seed: int) -> None:
    held = held_out_rows(catalog(LABELS), fraction=0.3, seed=seed)
    inside = {label for label, out in zip(LABELS, held, strict=True) if not out}
    outside = {label for label, out in zip(LABELS, held, strict=True) if out}
    assert not inside & outside
    assert held.mean() == pytest.approx(0.3)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    first = held_out_rows(catalog(LABELS), fraction=0.3, seed=0)
    other = held_out_rows(catalog(LABELS), fraction=0.3, seed=1)
    assert not np.array_equal(first, other)
    order = np.random.default_rng(0).permutation(len(LABELS))
    shuffled = held_out_rows(catalog([LABELS[n] for n in order]), fraction=0.3, seed=0)
    np.testing.assert_array_equal(shuffled, first[order])


def test_classes_that_share_a_product_or_a_copy_are_held_out_together() -> None:
    groups = [f"P-{n}" for n in range(200)]
    groups[1] = groups[0]  # class-0 and class-1
    copies = np.arange(200)
    copies[3] = copies[2]  # class-2 and class-3
    for seed in range(8):
        held = held_out_rows(
            catalog(LABELS, groups), fraction=0.4, seed=seed, duplicate_group=copies
        )
        assert held[0] == held[1]
        assert held[2] == held[3]
    # Who sent the photos connects nothing.
    held = held_out_rows(catalog(LABELS, ["one"] * 200, "sender_id"), fraction=0.3, seed=0)
    assert held.mean() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("labels", "fraction", "said"),
    [
        (["a"] * 5 + ["b"] * 5, 0.5, "leaves 1 class"),
        (["a"] * 90 + ["b"] * 90, 0.05, "no class is small enough"),
        (LABELS, 0.0, "between 0 and 1"),
    ],
)
def test_what_leaves_nothing_is_refused(labels: list[str], fraction: float, said: str) -> None:
    with pytest.raises(SplitError, match=said):
        held_out_rows(catalog(labels), fraction=fraction, seed=0)


def test_groups_that_are_no_products_are_named_as_what_holds_classes_together() -> None:
    # Each photographer has photos of all classes.
    photographers = [f"set-{n // 40}" for n in range(200)]
    with pytest.raises(SplitError, match="no class is small enough") as caught:
        held_out_rows(catalog(LABELS, photographers), fraction=0.3, seed=0)
    assert "\n--group none" in str(caught.value.fix)
    with pytest.raises(SplitError) as alone:
        held_out_rows(catalog(["a"] * 5 + ["b"] * 5, list("xxxxxyyyyy")), fraction=0.5, seed=0)
    assert "--group none" not in str(alone.value.fix)


def test_a_contributor_may_send_photos_of_held_out_classes_and_of_others() -> None:
    held = pl.Series(HELD_OUT, [True, True, False, False])
    for column, kept in (("sku", ["x", "y", "x", "y"]), ("seller", [None, None, "x", "y"])):
        plain = catalog(["a", "a", "b", "b"], ["x", "y", "x", "y"], column)
        groups = whole_groups(plain)
        assert groups is not None
        # Without held-out classes, nobody's photos are in two parts.
        assert groups.to_list() == ["x", "y", "x", "y"]
        split = plain.with_table(plain.table.with_columns(held))
        found = whole_groups(split)
        assert found is not None
        assert found.to_list() == kept
    assert whole_groups(catalog(["a", "b"])) is None
