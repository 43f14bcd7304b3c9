"""Several DATA as one catalog: what it holds, what it says, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight import api
from shopsight.audit.audit import audit
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids, products
from shopsight.commands.merge import merge
from shopsight.commands.merge_rules import MergeRules
from shopsight.errors import AuditError, CatalogError, ConfigError, ShopsightError, WriteError
from shopsight.progress import use_listener
from shopsight.read_options import ReadOptions
from tests.helpers import Recorder

KEEP = MergeRules(on_duplicate="keep")
DROP = MergeRules(on_duplicate="drop")


def photo(path: Path, number: int, *, quality: int = 92) -> None:
    """A photo that its number decides; at another quality it is a near duplicate."""
    rng = np.random.default_rng(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    coarse.resize((96, 80), Image.Resampling.BICUBIC).save(path, "JPEG", quality=quality)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A given split: six images of two classes to train on, two of each to test."""
    for label, start in (("Shoes", 0), ("Hats", 100)):
        for one in range(6):
            photo(tmp_path / f"shop/train/{label}/{one}.jpg", start + one)
        for one in range(2):
            photo(tmp_path / f"shop/test/{label}/t{one}.jpg", start + 50 + one)
    return tmp_path / "shop"


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """No split; one image is the shop's training image, another one nearly its test image."""
    for label, start in (("Shoes", 200), ("Boots", 300)):
        for one in range(3):
            photo(tmp_path / f"web/{label}/w{one}.jpg", start + one)
    photo(tmp_path / "web/Boots/copy.jpg", 50, quality=60)
    photo(tmp_path / "web/Boots/same.jpg", 3)
    photo(tmp_path / "web/Single/x.jpg", 999)
    return tmp_path / "web"


def adds_up(result: api.MergeResult) -> bool:
    """Whether every row that was read is written or counted as left out."""
    parts = result.counts.parts
    return result.counts.rows == len(result.catalog) and all(
        part.read == part.written + sum(part.left_out.values()) for part in parts
    )


def test_classes_ids_and_splits_are_kept_apart(shop: Path, web: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged.parquet"
    result = merge([shop, web], out=out, rules=DROP)
    assert result.catalog.labels == ("shop/Hats", "shop/Shoes", "web/Boots", "web/Shoes")
    assert adds_up(result)
    assert result.counts.left_out() == {
        "image that another part has": 2,
        "class of fewer than 2": 1,
    }
    assert result.counts.splits == {"train": 18, "test": 4}
    written = Catalog.read(out)
    assert written.table.equals(result.catalog.table)
    assert all(Path(ref).is_file() for ref in written.refs())
    assert item_ids(written).to_list() == written.table["id"].to_list()
    # The web's copies went: the shop tests on one, and comes first with the other.
    found = audit(written, remember=False)
    assert {"split-leak", "label-conflict", "exact-duplicate"}.isdisjoint(found.counts)
    assert len(written.table.filter(pl.col("split") == "test")) == 4
    assert set(written.table["merged_label"]) == {"Shoes", "Hats", "Boots"}


def test_what_is_shared_is_said_before_anything_is_written(
    shop: Path, web: Path, tmp_path: Path
) -> None:
    out, lines = tmp_path / "merged.parquet", Recorder()
    with use_listener(lines), pytest.raises(AuditError) as caught:
        merge([shop, web], out=out, report=tmp_path / "report")
    assert not out.exists()
    said = "\n".join(lines.lines)
    assert "images that several parts have: 2" in said
    assert (
        "in different parts of a split: 1, e.g. shop/test/Shoes/t0.jpg (test, shop/Shoes)" in said
    )
    assert "with different labels: 2" in said
    assert "web/Boots and shop/Shoes (2 images in both)" in said
    assert "classes of one name: 1 pair, e.g. web/Shoes and shop/Shoes" in said
    text = str(caught.value)
    assert "1 in different parts of a split, 2 with different labels; nothing is written" in text
    assert "--on-duplicate drop" in text
    images = pl.read_csv(tmp_path / "report" / "shared_images.csv")
    assert sorted(images["id"]) == [
        "shop/test/Shoes/t0.jpg",
        "shop/train/Shoes/3.jpg",
        "web/Boots/copy.jpg",
        "web/Boots/same.jpg",
    ]


def test_the_report_is_a_label_map_that_makes_one_class_of_two(
    shop: Path, web: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuditError):
        merge([shop, web], report=tmp_path / "report")
    read = ReadOptions(label_map=tmp_path / "report" / "same_classes.csv", drop=("web/Single",))
    result = merge([shop, web], read=read, rules=DROP)
    assert result.catalog.labels == ("shop/Hats", "shop/Shoes")
    assert result.shared.num_conflicts == 0
    assert result.shared.num_leaks == 1
    assert result.counts.left_out() == {"image that another part has": 2, "label left out": 1}
    assert adds_up(result)


def test_keep_writes_all_and_the_audit_names_them(shop: Path, web: Path) -> None:
    result = merge([shop, web], rules=KEEP)
    assert result.counts.left_out() == {"class of fewer than 2": 1}
    found = audit(result.catalog, remember=False)
    assert found.counts["label-conflict"] == 1
    assert found.counts["split-leak"] == 1


def test_same_labels_are_one_class(shop: Path, web: Path) -> None:
    result = merge({"a": shop, "b": web}, rules=MergeRules(on_duplicate="drop", same_labels=True))
    assert result.catalog.labels == ("Boots", "Hats", "Shoes")
    assert result.counts.classes == 3
    assert [part.classes for part in result.counts.parts] == [2, 2]


def test_large_classes_are_sampled_and_small_ones_repeated(shop: Path, web: Path) -> None:
    rules = MergeRules(max_per_class=5, resample=5, on_duplicate="drop")
    result = merge([shop, web], rules=rules)
    table = result.catalog.table
    train = table.filter(pl.col("split") == "train")
    assert train["label"].value_counts()["count"].to_list() == [5] * 4
    # The test set is as it was.
    assert len(table.filter(pl.col("split") == "test")) == 4
    repeats = table.filter(pl.col("repeat") > 0)
    assert repeats["label"].value_counts().sort("label").rows() == [
        ("web/Boots", 2),
        ("web/Shoes", 2),
    ]
    assert set(repeats["split"]) == {"train"}
    assert repeats["image"].is_in(train.filter(pl.col("repeat") == 0)["image"].implode()).all()
    assert adds_up(result)
    assert result.counts.lines()[0] == "catalog: 24 rows, 4 of them repeats; 4 classes"
    item_ids(result.catalog)
    again = merge([shop, web], rules=rules)
    assert again.catalog.table.equals(table)
    other = merge([shop, web], rules=MergeRules(max_per_class=5, on_duplicate="drop", seed=1))
    assert not other.catalog.table["id"].equals(table.filter(pl.col("repeat") == 0)["id"])


def test_repeats_of_an_earlier_merge_are_no_images(shop: Path, web: Path, tmp_path: Path) -> None:
    out = tmp_path / "first.parquet"
    merge([shop, web], out=out, rules=MergeRules(resample=5, on_duplicate="drop"))
    photo(tmp_path / "more/Bags/1.jpg", 700)
    photo(tmp_path / "more/Bags/2.jpg", 701)
    result = merge([out, tmp_path / "more"])
    assert result.counts.parts[0].left_out == {"repeat of an earlier merge": 4}
    assert "first/shop/Shoes" in result.catalog.labels
    assert adds_up(result)


def tables(folder: Path) -> tuple[Path, Path]:
    """Two tables with products, columns of their own, and one row without a label."""
    for one in range(4):
        photo(folder / f"photos/{one}.jpg", 500 + one)
        photo(folder / f"pictures/{one}.jpg", 600 + one)
    pl.DataFrame(
        {
            "file": [f"photos/{one}.jpg" for one in range(4)],
            "category": ["hat", "hat", "cup", "cup"],
            "sku": [1, 1, 2, 2],
            "stock": [3, 4, 5, 6],
        }
    ).write_csv(folder / "one.csv")
    pl.DataFrame(
        {
            "file": [f"pictures/{one}.jpg" for one in range(4)],
            "category": ["hat", "hat", None, "hat"],
            "sku": [1, 1, 2, 2],
            "stock": ["few", "many", "many", "none"],
            "x": [10, 10, 10, 10], "y": [5, 5, 5, 5], "w": [40, 40, 40, 40], "h": [30, 30, 30, 30],
        }
    ).rename({side: f"bbox_{side}" for side in "xywh"}).write_csv(folder / "two.csv")  # fmt: skip
    return folder / "one.csv", folder / "two.csv"


def test_products_boxes_and_columns_of_tables(tmp_path: Path) -> None:
    one, two = tables(tmp_path)
    result = merge([one, two], read=ReadOptions(group="sku", label="category"))
    assert result.counts.left_out() == {"without a label": 1}
    shown = products(result.catalog)
    assert shown is not None
    assert shown.to_list() == ["one/1", "one/1", "one/2", "one/2", "two/1", "two/1", "two/2"]
    boxes = result.catalog.boxes()
    assert boxes is not None
    assert np.isnan(boxes[:4]).all()
    np.testing.assert_array_equal(boxes[4], [10, 5, 40, 30])
    # Numbers here and words there are text.
    assert result.catalog.table["stock"].to_list()[3:5] == ["6", "few"]
    assert not result.catalog.has("split")
    with pytest.raises(CatalogError, match="1 image without a label"):
        merge([one, two], read=ReadOptions(on_unlabeled="error", label="category"))


def test_files_that_cannot_be_read_are_left_out_by_number(shop: Path, tmp_path: Path) -> None:
    one, _ = tables(tmp_path)
    (tmp_path / "photos" / "1.jpg").write_bytes(b"no image")
    result = merge([shop, one], rules=MergeRules(min_per_class=1))
    assert result.counts.parts[1].left_out == {"file cannot be read": 1}
    assert adds_up(result)


def test_a_root_may_hold_a_folder_for_each_named_data_set(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in ("tea", "milk"):
            for one in range(2):
                number = len(label) * 10 + one + 100 * (part == "test")
                photo(tmp_path / f"sets/rp2k/all/{part}/{label}/{one}.jpg", number)
    photo(tmp_path / "own/tea/1.jpg", 900)
    photo(tmp_path / "own/tea/2.jpg", 901)
    read = ReadOptions(root=tmp_path / "sets")
    result = merge(["rp2k", tmp_path / "own"], read=read)
    assert result.catalog.labels == ("own/tea", "rp2k/milk", "rp2k/tea")
    assert result.counts.splits == {"train": 6, "test": 4}


@pytest.mark.parametrize(
    ("words", "rules", "error", "said"),
    [
        (["shop"], {}, ConfigError, "two DATA or more, not 1"),
        ([], {}, ConfigError, "two DATA or more, not 0"),
        (["shop", "shop/"], {}, ConfigError, "named twice"),
        (["a=shop", "A=web"], {}, CatalogError, "several parts are called A, a"),
        (["shop", "absent"], {}, CatalogError, "no such folder, table or data set"),
        (["shop", "web"], {"min_per_class": 60}, CatalogError, "none of 5 classes has 60 images"),
        (["shop", "bare"], {}, CatalogError, "bare: the images have no labels"),
        (["shop", "tags.csv"], {}, CatalogError, "tags: images have several labels each"),
    ],
)  # fmt: skip
def test_bad_input_is_an_error_and_nothing_is_written(
    shop: Path,
    web: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    rules: dict[str, int],
    error: type[ShopsightError],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    photo(tmp_path / "bare/1.jpg", 1)
    lines = [
        "image,tags",
        "web/Boots/w0.jpg,red|wool",
        "web/Boots/w1.jpg,red",
        "web/Shoes/w0.jpg,wool",
    ]
    (tmp_path / "tags.csv").write_text("\n".join(lines), encoding="utf-8")
    chosen = MergeRules(on_duplicate="keep", max_per_class=100, **rules)
    with pytest.raises(error, match=said):
        merge(words, out="merged.parquet", rules=chosen)
    assert not list(tmp_path.glob("merged*"))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"min_per_class": 9, "max_per_class": 3}, "at most 3"),
        ({"resample": 20, "max_per_class": 10}, "not repeated up to 20"),
        ({"resample": -1}, "1 or more"),
        ({"on_duplicate": "maybe"}, "'maybe' is not a choice"),
    ],
)
def test_rules_that_contradict_each_other(rules: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MergeRules(**rules)  # type: ignore[arg-type]


def test_options_that_are_of_no_use(shop: Path, web: Path) -> None:
    with pytest.raises(ConfigError, match="--images-root would change nothing"):
        merge([shop, web], read=ReadOptions(images_root="photos"))
    with pytest.raises(ConfigError, match="--min-per-class"):
        merge([shop, web], read=ReadOptions(on_rare="drop"))


@pytest.mark.parametrize("name", ["there.parquet", "there.csv"])
def test_what_is_there_is_not_replaced(shop: Path, web: Path, tmp_path: Path, name: str) -> None:
    there = tmp_path / ("there.about.json" if name.endswith("csv") else name)
    there.write_text("mine", encoding="utf-8")
    with pytest.raises(WriteError, match="is there already"):
        merge([shop, web], out=tmp_path / name, rules=KEEP)
    assert there.read_text(encoding="utf-8") == "mine"


def test_an_example_shows_what_differs(tmp_path: Path) -> None:
    for name, number in (("a/train/x", 1), ("b/train/x", 1), ("c/test/x", 1)):
        photo(tmp_path / name / "1.jpg", number)
        photo(tmp_path / name.replace("train", "test") / "other.jpg", ord(name[0]))
        photo(tmp_path / name.replace("test", "train") / "more.jpg", 60 + ord(name[0]))
    lines = Recorder()
    with use_listener(lines):
        folders = [tmp_path / name for name in "abc"]
        merge(folders, rules=MergeRules(same_labels=True, on_duplicate="keep"))
    leak = next(line for line in lines.lines if "parts of a split" in line)
    assert "1, e.g. a/train/x/1.jpg (train, x) and c/test/x/1.jpg (test, x)" in leak


def test_a_report_is_not_written_among_the_images(shop: Path, web: Path) -> None:
    with pytest.raises(WriteError, match="folder of the images"):
        merge([shop, web], report=web)
