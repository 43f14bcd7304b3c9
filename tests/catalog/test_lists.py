from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.catalog.lists import is_list
from shopsight.catalog.tables import table_catalog
from shopsight.errors import CatalogError
from shopsight.image_files import image_roots
from shopsight.image_files.file_lookup import Folders, Match
from shopsight.read_options import ReadOptions

NAMES = [f"img/{kind}/{i}.jpg" for i in range(6) for kind in ("hat", "shoe")]


def write(folder: Path, text: str, names: list[str] = NAMES, *, name: str = "train.txt") -> str:
    for image in names:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        (folder / image).write_bytes(b"x")
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def lines(form: str, names: list[str] = NAMES) -> str:
    """A line for each image; {c} is its class, {f} a fine and {b} a binary label."""
    kinds = {"hat": 0, "shoe": 1}
    return "".join(
        form.format(n=name, i=i, c=name.split("/")[1], f=i % 4, k=kinds[name.split("/")[1]]) + "\n"
        for i, name in enumerate(names)
    )


def labels(path: str, **options: str) -> list[object]:
    return table_catalog(path, ReadOptions(**options)).table["label"].to_list()  # type: ignore[arg-type]


KIND = [name.split("/")[1] for name in NAMES]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("{n},{c}", "list.csv"),
        ("{n}\t{c}", "list.tsv"),
        ("{n}, {c}", "list.txt"),
        ("{n} {c}", "val.txt"),
        ("{n}   {c}  ", "val.txt"),
        ("{n} {c}", "list.csv"),
        ("{i} {n} {c}", "images.txt"),
        ("# a comment\n{n} {c}", "val.txt"),
    ],
)
def test_lists_without_a_header(tmp_path: Path, form: str, name: str) -> None:
    text = lines(form) if "#" not in form else "# a comment\n" + lines(form.partition("\n")[2])
    path = write(tmp_path, text, name=name)
    catalog = table_catalog(path)
    assert catalog.table["image"].to_list() == NAMES
    assert catalog.table["label"].to_list() == KIND
    assert any("no header" in note for note in catalog.notes)


def test_several_columns_of_numbers_are_alternatives(tmp_path: Path) -> None:
    # As in the GroceryStore data set: path, fine label, coarse label.
    path = write(tmp_path, lines("{n}, {f}, {k}"))
    assert labels(path) == [str(i % 4) for i in range(12)]
    assert labels(path, label="3") == [str(i % 2) for i in range(12)]
    assert any("also possible: 3; --label COLUMN" in note for note in table_catalog(path).notes)
    with pytest.raises(CatalogError, match="no column '4'"):
        table_catalog(path, ReadOptions(label="4"))


def test_a_count_and_a_header_of_deepfashion(tmp_path: Path) -> None:
    path = write(tmp_path, "12\nimage_name  category_label\n" + lines("{n}        {f}"))
    catalog = table_catalog(path)
    assert catalog.table["label"].to_list() == [str(i % 4) for i in range(12)]
    assert any("label from column 'category_label'" in note for note in catalog.notes)
    assert any("a count (12)" in note for note in catalog.notes)
    path = write(tmp_path, "99\nimage_name  category_label\n" + lines("{n}        {f}"))
    assert any("there are 13 lines" in note for note in table_catalog(path).notes)


def test_a_header_without_a_name_for_the_images_as_of_celeba(tmp_path: Path) -> None:
    path = write(tmp_path, "12\nSmiling Hat\n" + lines("{n} {k} -1"))
    assert labels(path, label="Smiling") == [str(i % 2) for i in range(12)]


def test_blanks_in_paths_are_told_by_the_files(tmp_path: Path) -> None:
    names = [name.replace("img/", "my img/new ") for name in NAMES]
    text = "".join(f"{name} {i % 2}\n" for i, name in enumerate(names))
    path = write(tmp_path, text, names)
    catalog = table_catalog(path)
    assert catalog.table["image"].to_list() == names
    assert catalog.table["label"].to_list() == [str(i % 2) for i in range(12)]


def test_paths_alone_and_ids_without_a_suffix(tmp_path: Path) -> None:
    path = write(tmp_path, lines("{n}"))
    catalog = table_catalog(path)
    assert catalog.table["image"].to_list() == NAMES
    assert "label" not in catalog.table.columns
    path = write(tmp_path, "".join(f"{name[:-4]} {i % 2}\n" for i, name in enumerate(NAMES)))
    catalog = table_catalog(path)
    assert catalog.table["image"].to_list() == NAMES
    assert catalog.table["label"].to_list() == [str(i % 2) for i in range(12)]


@pytest.mark.parametrize("mark", [" ", ","])
def test_several_labels_an_image_only_with_the_flag(tmp_path: Path, mark: str) -> None:
    text = "".join(
        mark.join([name, "red", *(["blue"] if i % 2 else [])]) + "\n"
        for i, name in enumerate(NAMES)
    )
    path = write(tmp_path, text)
    with pytest.raises(CatalogError, match="6 rows of 12 cannot be read") as caught:
        table_catalog(path)
    assert (mark == ",") == ("double quotes" in str(caught.value))
    found = table_catalog(path, ReadOptions(label_separator=mark)).table["label"].to_list()
    assert found == [["red", "blue"] if i % 2 else ["red"] for i in range(12)]


def test_a_line_of_too_few_words(tmp_path: Path) -> None:
    path = write(tmp_path, lines("{n} {c}") + "img/hat/0.jpg\n")
    with pytest.raises(CatalogError, match="line 13, 1 cell: img/hat/0"):
        table_catalog(path)
    assert len(table_catalog(path, ReadOptions(on_bad_row="skip"))) == 12


def test_a_column_of_splits(tmp_path: Path) -> None:
    text = "".join(
        f"{name} {KIND[i]} {('train', 'val', 'test')[i % 3]}\n" for i, name in enumerate(NAMES)
    )
    catalog = table_catalog(write(tmp_path, text))
    assert catalog.table["split"].to_list() == ["train", "val", "test"] * 4
    assert catalog.table["label"].to_list() == KIND


@pytest.mark.parametrize(
    "text",
    [
        ",0,1\n0,hat/0.jpg,hat\n1,shoe/0.jpg,shoe\n2,hat/1.jpg,hat\n3,shoe/1.jpg,shoe\n",
        "label,image\nhat,hat/0.jpg\nshoe,shoe/0.jpg\nhat,hat/1.jpg\nshoe,shoe/1.jpg\n",
    ],
)
def test_a_header_is_a_header_where_files_have_its_names(tmp_path: Path, text: str) -> None:
    files = [
        "hat/0.jpg",
        "hat/1.jpg",
        "shoe/0.jpg",
        "shoe/1.jpg",
        "0.jpg",
        "image.jpg",
        "label.jpg",
    ]
    catalog = table_catalog(write(tmp_path, text, files, name="t.csv"))
    assert len(catalog) == 4


def test_what_is_a_list(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    assert is_list(lines("{n} {c}"), path)
    assert is_list(lines("{n}"), path)
    assert not is_list("Photos of hats and shoes.\n\nSee img for more.\n", path)
    assert not is_list("hat\nshoe\n", path)
    assert not is_list("", path)


def test_numbers_of_the_rows_before_paths_are_no_labels(tmp_path: Path) -> None:
    """CUB has `1 001.Albatross/1.jpg`; a class before the path recurs."""
    numbered = "".join(f"{row} {name}\n" for row, name in enumerate(NAMES, start=1))
    assert table_catalog(write(tmp_path / "cub", numbered)).labels == ()
    classes = "".join(f"{row % 2} {name}\n" for row, name in enumerate(NAMES))
    assert table_catalog(write(tmp_path / "first", classes)).labels == ("0", "1")


def test_of_a_very_wide_line_some_cells_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    find = Folders.find

    def counted(self: Folders, root: str, name: str) -> Match:
        asked.append(name)
        return find(self, root, name)

    monkeypatch.setattr(Folders, "find", counted)
    monkeypatch.setattr(image_roots, "_MOST_NAMES", 50)
    write(tmp_path, "")
    wide = ",".join(f"c{number}" for number in range(60_000))
    table = write(tmp_path, f"{wide}\n{wide}\n", [], name="wide.csv")
    with pytest.raises(CatalogError, match="60,000 columns; 50,000 may be"):
        table_catalog(table)
    assert set(asked) <= {f"c{number}" for number in range(50)}
