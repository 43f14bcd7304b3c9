"""How names of a table lead to files whose names are written a little differently."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import table_catalog
from shopsight.errors import CatalogError
from shopsight.image_files.file_lookup import Folders, Listing, Match
from shopsight.read_options import ReadOptions

CASE, FORM, SLASHES = "upper and lower case", "Unicode form", "read as slashes"


def shop(folder: Path, names: Sequence[str], files: Sequence[str]) -> str:
    """A table of these names, and files beside it (only their names matter)."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    lines = [f"{name},{('dress', 'hat')[row % 2]}" for row, name in enumerate(names)]
    table = folder / "shop.csv"
    table.write_text("\n".join(["image,label", *lines, ""]), encoding="utf-8")
    return str(table)


def images_of(catalog: Catalog) -> list[str]:
    return catalog.table["image"].to_list()


def note_about(catalog: Catalog, what: str) -> str:
    (line,) = [line for line in catalog.notes if what in line]
    return line


def test_another_case(tmp_path: Path) -> None:
    files = [f"Photos/img_{i}.jpg" for i in range(3)]
    table = shop(tmp_path, ["photos/IMG_0.JPG", "photos/IMG_1.JPG", "Photos/img_2.jpg"], files)
    catalog = table_catalog(table)
    assert images_of(catalog) == files
    assert "2 rows, e.g. photos/IMG_0.JPG is Photos/img_0.jpg" in note_about(catalog, CASE)
    assert catalog.unlisted == ()
    assert all(Path(ref).is_file() for ref in catalog.refs())


def test_another_case_without_a_suffix(tmp_path: Path) -> None:
    catalog = table_catalog(shop(tmp_path, ["A1", "A2"], ["images/a1.jpg", "images/a2.jpg"]))
    assert images_of(catalog) == ["a1.jpg", "a2.jpg"]
    assert "2 rows, e.g. A1 is a1.jpg" in note_about(catalog, "without the file's suffix")
    assert "2 rows" in note_about(catalog, CASE)


def test_two_names_of_one_file_are_one_image(tmp_path: Path) -> None:
    catalog = table_catalog(shop(tmp_path, ["A.jpg", "a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]))
    assert images_of(catalog) == ["a.jpg", "a.jpg", "b.jpg"]
    assert "rows that name an image again: 1" in catalog.notes


@pytest.mark.parametrize(("of_table", "of_file"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_another_unicode_form(tmp_path: Path, of_table: str, of_file: str) -> None:
    names = ["robe été/é1.jpg", "robe été/é2.jpg"]
    written = [unicodedata.normalize(of_table, name) for name in names]  # type: ignore[arg-type]
    stored = [unicodedata.normalize(of_file, name) for name in names]  # type: ignore[arg-type]
    catalog = table_catalog(shop(tmp_path, written, stored))
    assert images_of(catalog) == stored
    assert "2 rows" in note_about(catalog, FORM)
    assert not any(CASE in line for line in catalog.notes)


@pytest.mark.posix("needs names that differ in case alone")
def test_the_exact_name_wins(tmp_path: Path) -> None:
    files = ["images/a.jpg", "images/A.jpg"]
    catalog = table_catalog(shop(tmp_path, ["A.jpg", "a.jpg"], files))
    assert images_of(catalog) == ["A.jpg", "a.jpg"]
    assert not any(CASE in line for line in catalog.notes)


@pytest.mark.posix("needs names that differ in case alone")
def test_two_files_for_one_name_are_refused(tmp_path: Path) -> None:
    table = shop(tmp_path, ["AB.jpg", "c.jpg"], ["Ab.jpg", "aB.jpg", "c.jpg"])
    with pytest.raises(CatalogError, match="1 image name could mean several files") as caught:
        table_catalog(table)
    assert caught.value.details == ("AB.jpg: Ab.jpg, aB.jpg",)
    assert caught.value.fix


@pytest.mark.posix("needs names that differ in case alone")
def test_the_exact_folder_wins(tmp_path: Path) -> None:
    table = shop(tmp_path, ["X/AB.JPG", "c.jpg"], ["X/ab.jpg", "x/ab.jpg", "c.jpg"])
    assert images_of(table_catalog(table)) == ["X/ab.jpg", "c.jpg"]


def test_a_table_that_windows_wrote(tmp_path: Path) -> None:
    files = [f"images/dress/{i}.jpg" for i in range(3)]
    names = [".\\images\\dress\\0.jpg", "images\\dress\\1.jpg", "images/dress/2.jpg"]
    catalog = table_catalog(shop(tmp_path, names, files))
    assert images_of(catalog) == files
    assert "2 rows, e.g. images\\dress\\0.jpg" in note_about(catalog, SLASHES)


def test_a_missing_file_keeps_a_name_that_every_system_reads(tmp_path: Path) -> None:
    names = ["images\\1.jpg", "images\\2.jpg", "images\\3"]
    catalog = table_catalog(shop(tmp_path, names, ["images/1.jpg", "images/2.jpg"]))
    assert images_of(catalog)[2] == "images/3"


@pytest.mark.posix("needs a backslash in a name")
def test_a_backslash_can_be_a_letter(tmp_path: Path) -> None:
    catalog = table_catalog(shop(tmp_path, ["a\\1.jpg", "2.jpg"], ["a\\1.jpg", "2.jpg"]))
    assert images_of(catalog) == ["a\\1.jpg", "2.jpg"]
    assert not any(SLASHES in line for line in catalog.notes)


def test_images_root_ends_with_any_slash(tmp_path: Path) -> None:
    table = shop(tmp_path, ["1.jpg", "2.jpg"], ["elsewhere/1.jpg", "elsewhere/2.jpg"])
    for given in ("elsewhere/", tmp_path / "elsewhere", f"{tmp_path}/elsewhere/"):
        catalog = table_catalog(table, ReadOptions(images_root=given))
        assert Path(catalog.root) == tmp_path / "elsewhere"


def test_litter_beside_a_table_is_not_searched(tmp_path: Path) -> None:
    table = shop(tmp_path, ["1.jpg", "2.jpg"], ["__MACOSX/1.jpg", "__MACOSX/2.jpg", "x/1.jpg"])
    catalog = table_catalog(table)
    assert Path(catalog.root).name == "x"


def test_names_in_the_root_of_a_drive() -> None:
    names = {"C:/": Listing(frozenset({"a.jpg"})), "/": Listing(frozenset({"b.jpg"}))}
    folders = Folders(_listings=names)
    assert folders.find("photos", "C:/a.jpg") == Match(("C:/a.jpg",))
    assert folders.find("photos", "C:\\A.jpg") == Match(("C:/a.jpg",), ("slashes", "case"))
    assert folders.find("photos", "/b") == Match(("/b.jpg",), ("no suffix",))
    assert folders.find("C:/", "a.jpg") == Match(("a.jpg",))
