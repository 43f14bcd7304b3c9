"""Text that a spreadsheet would run has an apostrophe in front, and comes back without."""

from __future__ import annotations

import ast
import csv
import doctest
import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from shopsight import api, spreadsheets
from shopsight.audit.audit import FINDINGS_FILE
from shopsight.catalog.catalog import Catalog
from shopsight.read_options import ReadOptions
from shopsight.spreadsheets import for_reading, guarded, guarded_text, unguarded
from tests.helpers import ProductPhotos, run_command, sent_raw

FORMULAS = (
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://example.com","x")',
    "\t=1",
    "\r=1",
    "\n=1",
    "\tx",
    "\rx",
    "＝1",
    "＋1",
    "－x",
    "＠x",
    '"=1',
    "'=1",
    "  =1",
    "\ufeff=1",
    "\xa0=1",
    "\x00=1",
    "-x",
)
PLAIN = (
    "",
    "-",
    "-3.5",
    "+1",
    "+49 30 1".replace(" ", ""),
    "-1,5",
    "T-shirt",
    "a=b",
    "a@b",
    "0=disc",
)
ROOT = Path(__file__).parents[1] / "src" / "shopsight"


def test_examples() -> None:
    found = doctest.testmod(spreadsheets)
    assert (found.attempted, found.failed) == (1, 0)


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_text(text: str) -> None:
    assert guarded_text(text).startswith("'")
    table = guarded(pl.DataFrame({text: [text, None]}))
    assert table.columns == [guarded_text(text)]
    assert table.to_series().to_list() == [guarded_text(text), None]


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_is_left_alone(text: str) -> None:
    assert guarded_text(text) == text
    assert guarded(pl.DataFrame({"a": [text]}))["a"].to_list() == [text]


def test_numbers_are_left_alone() -> None:
    table = pl.DataFrame({"gain": [-3.5, 1.0], "count": [-1, 1], "flag": [True, False]})
    assert_frame_equal(guarded(table), table)
    assert_frame_equal(guarded(pl.DataFrame()), pl.DataFrame())
    named = pl.DataFrame({"kind": pl.Series(["=1"], dtype=pl.Categorical), "gain": [-1.5]})
    assert guarded(named).rows() == [("'=1", -1.5)]


def test_guarded_cells_are_among_others_and_the_table_stays_as_it_is() -> None:
    cells = ["hat", "=1", None, "cap;=2", "-3", "", "7", "é", "shoe\t@x", *["coat"] * 50]
    table = pl.DataFrame({"kind": cells})
    given = table.clone()
    expected = [None if cell is None else guarded_text(cell) for cell in cells]
    assert guarded(table)["kind"].to_list() == expected
    assert expected[:4] == ["hat", "'=1", None, "cap;'=2"]
    assert_frame_equal(table, given)


@pytest.mark.parametrize("separator", [";", "\t", "\r\n"])
def test_a_table_that_is_opened_with_another_separator(separator: str) -> None:
    cell = guarded_text(f"shoe{separator}=cmd|' /C calc'!A0")
    begins = [part[:1] for part in cell.replace("\r\n", separator).split(separator)]
    assert begins == ["s", "'"]


@given(st.text("'\"=+-@;,\t\r\n -1a.＝\u200b\x1b", max_size=12))
@example("'\tfoo")
@example("'-5")
@example("''=1")
@example("a;'=1")
@example("\n\n=1")
def test_what_was_guarded_comes_back(text: str) -> None:
    table = pl.DataFrame({f"_{text}": [text, None], text: ["a", "b"]})
    safe = guarded(table)
    assert safe.to_series().to_list() == [guarded_text(text), None]
    assert_frame_equal(unguarded(safe), table)


@given(st.text(max_size=12))
def test_any_text_comes_back(text: str) -> None:
    table = pl.DataFrame({"a": [text]})
    assert_frame_equal(unguarded(guarded(table)), table)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_catalog_comes_back_and_is_no_formula(
    suffix: str, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    photos = sorted(product_photos.folder.rglob("*.jpg"))[: len(FORMULAS)]
    texts = [text.replace("\x00", "") for text in FORMULAS]
    table = pl.DataFrame(
        {
            "image": [str(photo) for photo in photos],
            "label": ["=1+1", "-x"] * (len(photos) // 2),
            "group": [f"{text}{number}" for number, text in enumerate(texts)],
            "=name": texts,
        }
    )
    catalog = Catalog(table, "shop")
    path = tmp_path / f"splits{suffix}"
    catalog.write(path)
    assert_frame_equal(Catalog.read(path).table, table)
    if suffix != ".parquet":
        separator = "\t" if suffix == ".tsv" else ","
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for row in csv.reader(file, delimiter=separator) for cell in row]
        assert [cell for cell in cells if cell[:1] in {*"=+-@＝＋－＠\t\r"} and cell] == []


@pytest.mark.parametrize("multilabel", [False, True])
def test_labels_of_a_split_are_what_they_were(
    multilabel: bool,
    product_photos: ProductPhotos,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A shop's labels, from its table to the split's and on into the next command."""
    rows = product_photos.table.read_text(encoding="utf-8")
    rows = rows.replace(",dress,", ",=dress,").replace(",hat,", ",-hat,")
    if multilabel:
        rows = rows.replace(",shoe,", ",=dress|-hat,")
    table = tmp_path / "shop.csv"
    table.write_text(rows, encoding="utf-8")
    out = tmp_path / "splits.csv"
    root = ("--images-root", product_photos.folder)
    run_command(capsys, ("split", table, "--out", out, *root))
    assert "'=dress" in out.read_text(encoding="utf-8")
    read = ReadOptions(images_root=str(product_photos.folder))
    before, after = (api.open_catalog(str(path), read=read) for path in (table, out))
    assert after.labels == before.labels
    assert table.read_text(encoding="utf-8") == rows


@pytest.mark.posix("names with control characters")
def test_findings_are_for_reading(product_photos: ProductPhotos, tmp_path: Path) -> None:
    for label in ("=dress", "-hat"):
        shutil.copytree(product_photos.folder / label[1:], tmp_path / "shop" / label)
        (tmp_path / "shop" / label / "\x1b[31m.jpg").write_bytes(b"no image")
    api.audit(tmp_path / "shop", out=tmp_path / "audit")
    findings = (tmp_path / "audit" / FINDINGS_FILE).read_text(encoding="utf-8")
    assert r",'=dress/\x1b[31m.jpg," in findings
    assert r",'-hat/\x1b[31m.jpg," in findings
    assert sent_raw(findings) == set()


def test_for_reading() -> None:
    shown = for_reading(
        pl.DataFrame({"a": ["=\x1b[31m", "plain", None, "Größe"], "n": [1, 2, 3, 4]})
    )
    assert shown["a"].to_list() == [r"'=\x1b[31m", "plain", None, "Größe"]


# Tables whose cells are numbers, and words of shopsight.
OF_NUMBERS = {"history.py"}
# Files of shop systems, in which an apostrophe would change a product: a generated export, and the
# feed that `review` writes.
OF_SHOPS = {"generated_shop.py", "review.py"}


def test_every_csv_is_guarded() -> None:
    calls = [
        (path.name, ast.unparse(node))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") in {"write_csv", "writerow", "writerows"}
        if path.name not in OF_NUMBERS | OF_SHOPS
    ]
    assert len(calls) >= 6
    words = (
        "for_reading(",
        "flat_columns(",
        "guarded_text(",
        "map(guarded_text",
        "'image', 'label'",
    )
    assert [call for call in calls if not any(word in call[1] for word in words)] == []
