from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.folders import label_patterns, name_search
from shopsight.folders.label_patterns import compile_pattern, may_be_slow, pattern_catalog
from shopsight.image_files.scan import scan_folder
from tests.helpers import touch


def read_by_pattern(folder: Path, pattern: str, *names: str) -> Catalog:
    root = touch(folder, *names)
    return pattern_catalog(scan_folder(root), pattern, name="shop", root=root)


def labels_of(catalog: Catalog) -> dict[str, str | None]:
    return dict(catalog.table.select("image", "label").iter_rows())


def test_the_label_in_the_name(tmp_path: Path) -> None:
    catalog = read_by_pattern(tmp_path, "*_{label}.jpg", "a/1_x_bluzy.jpg", "2_bryuki.jpg", "3.jpg")
    assert labels_of(catalog) == {
        "2_bryuki.jpg": "bryuki", "a/1_x_bluzy.jpg": "bluzy", "3.jpg": None,
    }  # fmt: skip
    assert "unlabeled, not matching: 1 image, e.g. 3.jpg" in catalog.notes


def test_label_group_and_split_in_the_path(tmp_path: Path) -> None:
    catalog = read_by_pattern(
        tmp_path, "{split}/**/{group}_{label}.*", "train/x/y/sku1_hat.jpg", "valid/sku2_shoe.png"
    )
    rows = sorted(catalog.table.select("group", "label", "split").iter_rows())
    assert rows == [("sku1", "hat", "train"), ("sku2", "shoe", "val")]


def test_the_innermost_folder(tmp_path: Path) -> None:
    catalog = read_by_pattern(tmp_path, "**/{label}/*", "men/shirt/1.jpg", "women/dress/2.jpg")
    assert catalog.labels == ("dress", "shirt")


def test_a_regular_expression(tmp_path: Path) -> None:
    catalog = read_by_pattern(tmp_path, r"(?P<label>[a-z]+)(\d+)\.jpg$", "shop/hat12.jpg", "7.jpg")
    assert labels_of(catalog) == {"shop/hat12.jpg": "hat", "7.jpg": None}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.jpg", "has no label"),
        ("(?P<label>[a-z", "not a valid pattern"),
        (f"(?P<label>a{{{'9' * 30}}})", "not a valid pattern"),
        ("(" * 5000 + "(?P<label>a)" + ")" * 5000, "not a valid pattern"),
        ("{label}_\udc80.jpg", "matches none of 1 image"),
        ("{label}__*.png", "matches none of 1 image"),
    ],
)
def test_unusable_patterns(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read_by_pattern(tmp_path, pattern, "hat_1.jpg")


def test_the_split_in_the_path_may_have_any_name_of_a_split(tmp_path: Path) -> None:
    catalog = read_by_pattern(
        tmp_path, "{split}/{label}/*", "train2017/hat/1.jpg", "Shoes_test/hat/2.jpg",
        "pred/hat/3.jpg", "extra/hat/4.jpg",
    )  # fmt: skip
    rows = {
        image: (label, split)
        for image, label, split in catalog.table.select("image", "label", "split").iter_rows()
    }
    assert rows == {
        "train2017/hat/1.jpg": ("hat", "train"),
        "Shoes_test/hat/2.jpg": ("hat", "test"),
        "pred/hat/3.jpg": (None, None),
        "extra/hat/4.jpg": ("hat", None),
    }


def test_an_expression_that_takes_for_ever_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_search, "SEARCH_S", 0.3)
    began = time.perf_counter()
    with pytest.raises(CatalogError, match=r"'\(\?P<label>\(a\+\)\+\)b' takes more than 0 s"):
        read_by_pattern(tmp_path, "(?P<label>(a+)+)b", f"{'a' * 40}.jpg")
    assert time.perf_counter() - began < 10


def test_wildcards_take_no_longer_the_more_there_are(tmp_path: Path) -> None:
    """The engine of `re` takes 1e9 steps for these."""
    pattern = "{label}" + "a*" * 6 + "b"
    assert not may_be_slow(pattern)
    began = time.perf_counter()
    with pytest.raises(CatalogError, match="matches none"):
        read_by_pattern(tmp_path, pattern, f"{'a' * 100}.jpg")
    assert time.perf_counter() - began < 5


GLOBS = (
    "*_{label}.jpg", "{split}/**/{group}_{label}.*", "**/{label}/*", "{label}/**", "?{label}?.*",
    "{label} (1)*", "[{label}]+^$|#&~-\\.jpg", "é{label}*", "{label}{group}.jpg",
)  # fmt: skip


@given(
    pattern=st.sampled_from(GLOBS),
    names=st.lists(st.text("ab1_/.é[]+^$|#&~-\\ (){}jpg\n", max_size=12), max_size=8),
)
def test_both_engines_read_wildcards_alike(pattern: str, names: list[str]) -> None:
    names = [*names, "a/b/c_d.jpg", "a (1).jpg", "[a]+^$|#&~-\\.jpg", "éa.jpg", "train/hat/1.jpg"]
    expression, _ = compile_pattern(pattern)
    parts, rust = (
        label_patterns._names_of(pattern),
        label_patterns._from_glob(pattern, engine="rust"),
    )
    found = name_search.search_linear(rust, parts, names)
    # An end of a line at the end is nothing to `$` of `re`.
    matches = [None if name.endswith("\n") else expression.search(name) for name in names]
    for name, row, match in zip(names, found.iter_rows(named=True), matches, strict=True):
        if not name.endswith("\n"):
            assert row == (dict.fromkeys(parts) if match is None else match.groupdict()), name
    plain = name_search.search_in_time(expression, [])
    assert plain.columns == sorted(parts, key=list(expression.groupindex).index)
