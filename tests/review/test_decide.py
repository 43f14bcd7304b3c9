"""What is filled in, doubted and left alone, of answers that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.rare_classes import RARE_LABEL
from shopsight.errors import ChangedFilesError, ConfigError
from shopsight.exports.platforms import PLATFORMS
from shopsight.review.answers import Judge, ProductAnswers
from shopsight.review.cells import accepted_cells, written_categories
from shopsight.review.decide import DOUBT, FILL, SAME, UNKNOWN, UNSURE, decide
from shopsight.review.decisions import Decisions
from shopsight.review.review_table import read_decisions
from shopsight.review.shop_products import TABLE_COLUMNS, ShopProducts
from shopsight.review.summary import caution_lines, filled_line, measured_line

LABELS = ("A > Hats", "A > Shoes")


def answers(rows: dict[str, tuple[float, str]], judge: Judge = "out of fold") -> ProductAnswers:
    """Of each product the probability of a hat, and the label it was trained with."""
    hats = np.array([hat for hat, _ in rows.values()], np.float32)
    return ProductAnswers(
        labels=LABELS,
        names=tuple(rows),
        probabilities=np.stack([hats, 1 - hats], axis=1).reshape(-1, 2),
        judges=(judge,) * len(rows),
        family=np.arange(len(rows)),
        given=tuple(given for _, given in rows.values()),
        first_photo=np.arange(len(rows)),
    )


def shop_of(given: dict[str, str | None], cells: dict[str, str | None]) -> ShopProducts:
    table = pl.DataFrame(
        {
            "product": list(given),
            "title": [f"no. {name}" for name in given],
            "given": list(given.values()),
            "as_run": list(given.values()),
            "categories": [[] if label is None else [label] for label in given.values()],
            "row": range(len(given)),
        },
        schema=TABLE_COLUMNS,
    )
    columns = pl.DataFrame(
        {
            "group": list(cells),
            "file": "p.csv",
            "row": range(2, len(cells) + 2),
            "column": 3,
            "name": "Category",
            "value": list(cells.values()),
            "categories": [[] if cell is None else cell.split(",") for cell in cells.values()],
        },
        schema_overrides={"value": pl.String, "categories": pl.List(pl.String)},
    )
    photos = Catalog(pl.DataFrame({"image": [f"{name}.jpg" for name in given]}), "shop")
    profile = PLATFORMS["shopify"]
    return ShopProducts("shop", ("p.csv",), profile, photos, table, columns, frozenset(given))


def labeled(count: int, *, wrong: int = 0) -> dict[str, tuple[float, str]]:
    """Sure and right answers, the least sure of them wrong."""
    return {
        f"p{number}": (0.99 - number / 1e4, LABELS[1] if number >= count - wrong else LABELS[0])
        for number in range(count)
    }


def test_missing_categories_are_filled_as_far_as_the_promise_holds() -> None:
    known = labeled(120, wrong=1)
    new = {"new-sure": (0.985, ""), "new-unsure": (0.6, ""), "new-shoe": (0.001, "")}
    given = {name: label for name, (_, label) in known.items()} | dict.fromkeys(new)
    shop = shop_of(given, given)
    written = written_categories(shop, LABELS)
    found = decide(
        shop,
        answers(known),
        answers(new, "not seen"),
        precision=0.95,
        not_answered={},
        decided=Decisions(),
        cells=written,
    )
    actions = dict(found.table.select("product", "action").iter_rows())
    assert actions["new-sure"] == actions["new-shoe"] == FILL
    assert actions["new-unsure"] == UNSURE
    assert actions["p119"] == DOUBT
    assert actions["p0"] == SAME
    # The doubted one comes first, then what is filled, the surest first.
    assert found.table["product"].to_list()[:3] == ["p119", "new-shoe", "new-sure"]
    first = found.table.row(0, named=True)
    assert first["loss"] == pytest.approx(-np.log(1 - (0.99 - 119 / 1e4)), rel=1e-4)
    assert first["suggested"] == LABELS[0]
    assert not first["agree"]
    assert found.num_missing == 3
    assert filled_line(found).startswith("2 of 3 products without a category filled, precision 9")
    assert f"measured on 1{found.promise.num_measured - 100} of 120" in measured_line(found.promise)


def test_few_products_fill_none_and_say_how_many_are_needed() -> None:
    known = labeled(40)
    given = {name: label for name, (_, label) in known.items()} | {"new": None}
    shop = shop_of(given, given)
    found = decide(
        shop,
        answers(known),
        answers({"new": (0.999, "")}, "not seen"),
        precision=0.98,
        not_answered={"blank": "truncated"},
        decided=Decisions(),
        cells={LABELS[0]: LABELS[0], LABELS[1]: LABELS[1]},
    )
    assert len(found.of(FILL)) == 0
    line = filled_line(found)
    assert line.startswith("0 of 1 product without a category filled: of the 40 products")
    assert "have about" in line
    assert found.promise.num_needed is not None
    assert 149 <= found.promise.num_needed <= 180
    cautions = caution_lines(found)
    assert any(
        "fewer than 10 labeled products" in line and "A > Shoes (0)" in line for line in cautions
    )
    assert any("e.g. blank: truncated" in line for line in cautions)


def test_wrong_given_categories_count_as_mistakes_until_they_are_corrected() -> None:
    known = labeled(200, wrong=6)
    given = {name: label for name, (_, label) in known.items()}
    shop = shop_of(given, given)

    def kept(corrections: dict[str, str]) -> int:
        found = decide(
            shop,
            answers(known),
            answers({}, "not seen"),
            precision=0.98,
            not_answered={},
            decided=Decisions(corrections),
            cells={},
        )
        assert found.corrected == len(corrections)
        return found.promise.num_measured if found.promise.is_kept else 0

    # The six wrong ones are the least sure.
    assert kept({f"p{number}": LABELS[0] for number in range(194, 200)}) == 200
    assert kept({}) < 200


def test_products_whose_backbone_saw_them_say_nothing_about_precision() -> None:
    seen, unseen = labeled(300), {f"v{number}": (0.9, LABELS[1]) for number in range(300)}
    known, other = answers(seen, "seen"), answers(unseen, "not seen")
    both = ProductAnswers(
        labels=LABELS,
        names=known.names + other.names,
        probabilities=np.concatenate([known.probabilities, other.probabilities]),
        judges=known.judges + other.judges,
        family=np.arange(600),
        given=known.given + other.given,
        first_photo=np.arange(600),
    )
    given = dict(zip(both.names, both.given, strict=True))
    found = decide(
        shop_of(given, given),
        both,
        answers({}, "not seen"),
        precision=0.9,
        not_answered={},
        decided=Decisions(),
        cells={},
    )
    assert not found.promise.is_kept
    assert found.promise.num_labeled == 300
    assert found.seen == 300
    assert any(line.startswith("optimistic for 300 products") for line in caution_lines(found))


def test_categories_that_the_model_does_not_know_are_named() -> None:
    given = {"p0": LABELS[0], "bag": "A > Bags", "cap": "A > Bags"}
    known = {"p0": (0.9, LABELS[0])}
    new = {"bag": (0.99, ""), "cap": (0.99, "")}
    found = decide(
        shop_of(given, given),
        answers(known),
        answers(new, "not seen"),
        precision=0.5,
        not_answered={},
        decided=Decisions(),
        cells={},
    )
    assert found.of(UNKNOWN)["product"].sort().to_list() == ["bag", "cap"]
    assert found.unknown == {"A > Bags": 2}
    assert any("2 products of A > Bags (2)" in line for line in caution_lines(found))


def test_what_is_written_is_what_the_cells_say() -> None:
    gids = {"p0": "gid://1", "p1": "gid://1", "p2": "gid://2", "new": None}
    given = {"p0": "gid://1", "p1": "gid://1", "p2": "gid://2", "new": None}
    shop = shop_of(given, gids)
    # The run's label map has other names for the numbers.
    names = pl.Series([LABELS[0], LABELS[0], LABELS[1], None])
    shop = replace(shop, table=shop.table.with_columns(as_run=names))
    written = written_categories(shop, LABELS)
    assert written[LABELS[0]] == "gid://1"
    assert written[LABELS[1]] == "gid://2"
    accepted = accepted_cells(shop, {"new": LABELS[1]}, written)
    assert accepted.by_file == {"p.csv": {(5, 3): "gid://2"}}
    assert accepted.products == ("new",)
    assert accepted.count == 1


def test_of_equal_categories_the_most_frequent_cell_is_written() -> None:
    cells = {"a": "A > Hats", "b": "A > Hats", "c": "A>Hats", "d": None}
    given = {"a": "A > Hats", "b": "A > Hats", "c": "A > Hats", "d": None}
    shop = shop_of(given, cells)
    table = shop.cells.with_columns(
        categories=pl.when(pl.col("value").is_null()).then([]).otherwise(pl.lit(["A > Hats"]))
    )
    shop = replace(shop, cells=table)
    assert written_categories(shop, ())["A > Hats"] == "A > Hats"


def test_a_label_without_a_cell_is_written_where_cells_are_labels() -> None:
    shop = shop_of({"a": "A > Hats", "b": None}, {"a": "A > Hats", "b": None})
    labels = ("A > Hats", "A > Bags", "A > Bags, Belts", RARE_LABEL)
    assert written_categories(shop, labels) == {
        "A > Hats": "A > Hats",
        "A > Bags": "A > Bags",
        "A > Bags, Belts": "A > Bags, Belts",
    }
    # A comma would make two categories of one.
    woo = replace(shop, profile=PLATFORMS["woocommerce"])
    assert "A > Bags, Belts" not in written_categories(woo, labels)
    # Numbers say nothing about labels that have none.
    gids = replace(shop, cells=shop.cells.with_columns(value=pl.lit("gid://1")))
    assert written_categories(gids, labels) == {"A > Hats": "gid://1"}


def test_a_product_in_several_categories_is_not_changed() -> None:
    given = {"a": "A > Hats", "b": "A > Shoes"}
    shop = shop_of(given, {"a": "A > Hats,Sale", "b": "A > Shoes"})
    accepted = accepted_cells(
        shop, {"a": "A > Shoes", "b": "A > Hats", "c": "A > Hats"}, {one: one for one in LABELS}
    )
    assert accepted.kept == {
        "a": "is in 2 categories",
        "c": "has no cell of a category in the export",
    }
    assert accepted.products == ("b",)


def test_a_review_that_a_spreadsheet_saved_in_its_own_way(tmp_path: Path) -> None:
    given = {"größe": "A > Hats", "=1+1": None, "-x": None, "y": "A > Hats"}
    shop = shop_of(given, given)
    rows = [
        "product;title;given;suggested;accept",
        "größe;Größe und Höhe für Käse;A > Hats;A > Shoes; Yes ",
        "'=1+1;;;A > Hats;A > Bags",
        "'-x;;;A > Hats;NO",
        "y;;A > Hats;A > Shoes;",
    ]
    table = tmp_path / "review.csv"
    table.write_bytes("\r\n".join(rows).encode("cp1252"))
    found = read_decisions(table, shop, on_changed=False)
    assert found.accepted == {"größe": "A > Shoes", "=1+1": "A > Bags"}
    assert found.declined == {"-x"}
    assert found.corrections({"größe": "A > Hats"}) == {"größe": "A > Shoes"}
    twice = tmp_path / "twice.csv"
    twice.write_bytes("\r\n".join([*rows, rows[1]]).encode("cp1252"))
    with pytest.raises(ConfigError, match="1 product with several rows"):
        read_decisions(twice, shop, on_changed=False)
    other = shop_of({"y": "A > Shoes"}, {"y": "A > Shoes"})
    with pytest.raises(ChangedFilesError, match="3 products of it"):
        read_decisions(table, other, on_changed=False)
    assert read_decisions(table, other, on_changed=True).accepted == {}
