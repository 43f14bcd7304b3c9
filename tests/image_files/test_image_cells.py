"""What the cells of an image column name."""

from __future__ import annotations

import polars as pl
import pytest

from shopsight.image_files.image_cells import read_image_cells, read_name

URL = "https://shop.example/a.jpg"


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("  a.jpg \u00a0", "a.jpg"),
        ('"a.jpg"', "a.jpg"),
        ("'a b.jpg'", "a b.jpg"),
        ("\u201ca.jpg\u201d", "a.jpg"),
        ('="00123"', "00123"),
        ("./a.jpg", "a.jpg"),
        (".\\a.jpg", "a.jpg"),
        ("../a.jpg", "../a.jpg"),
        ("\ufeffa.jpg", "a.jpg"),
        ("[1] a.jpg", "[1] a.jpg"),
        ("a,b.jpg", "a,b.jpg"),
        ("file:///home/me/a%20b.jpg", "/home/me/a b.jpg"),
        ("file:///C:/me/a.jpg", "C:/me/a.jpg"),
        ("FILE://localhost/me/a.jpg", "/me/a.jpg"),
        ("file://server/share/a.jpg", "//server/share/a.jpg"),
        ("", ""),
        ("   ", ""),
        (".", ""),
        ("<p><em>A hat.</em></p>", ""),
        ("./<p><em>A hat.</em> See https://shop.example</p>", ""),
        ("A hat.\nIt is red.", ""),
        ("data:image/png;base64,iVBORw0KGgo=", ""),
        ("word " * 1000, ""),
        (f"images/{'x' * 251}.jpg", f"images/{'x' * 251}.jpg"),
        (f"images/{'é' * 130}.jpg", ""),
        (f"{URL}?signature={'x' * 900}", f"{URL}?signature={'x' * 900}"),
        (f"{URL}?width=300,height=200", f"{URL}?width=300,height=200"),
        ("https://cdn.example/w_300,h_200/a.jpg", "https://cdn.example/w_300,h_200/a.jpg"),
    ],
)
def test_one_name(cell: str, name: str) -> None:
    found = read_image_cells(pl.Series("image", [cell]))
    assert (found.names, found.num_several) == ([name], 0)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("a.jpg|b.jpg", "a.jpg"),
        ("a.jpg, b.jpg", "a.jpg"),
        ("x/a.JPG;x/b.png;", "x/a.JPG"),
        ("a.jpg\nb.jpg", "a.jpg"),
        (f"{URL}|https://shop.example/b.jpg", URL),
        (f"{URL}, https://shop.example/b", URL),
        (f"{URL} http://shop.example/b", URL),
        (f'["{URL}", "https://shop.example/b.jpg"]', URL),
        ("['a.jpg', 'b.jpg']", "a.jpg"),
        (f'[{{"id": 7, "src": "{URL}"}}, {{"id": 8, "src": "b.jpg"}}]', URL),
    ],
)
def test_several_names_of_which_the_first_is_taken(cell: str, name: str) -> None:
    found = read_image_cells(pl.Series("image", ["c.jpg", cell]))
    assert found.names == ["c.jpg", name]
    assert (found.num_several, found.example) == (1, cell)


@pytest.mark.parametrize(
    ("cell", "name"),
    [("[]", ""), ('["a.jpg"]', "a.jpg"), (f'{{"url": "{URL}"}}', URL), ("[1]", "")],
)
def test_lists_of_one_and_none(cell: str, name: str) -> None:
    found = read_image_cells(pl.Series("image", [cell]))
    assert (found.names, found.num_several) == ([name], 0)


def test_columns_of_numbers_and_of_lists() -> None:
    numbers = pl.Series("id", [12345.0, None, 7.0])
    assert read_image_cells(numbers).names == ["12345", "", "7"]
    lists = pl.Series("images", [["a.jpg", "b.jpg"], [], None, ["c.jpg"]])
    found = read_image_cells(lists)
    assert found.names == ["a.jpg", "", "", "c.jpg"]
    assert found.num_several == 1


def test_a_name_keeps_what_is_its_own() -> None:
    assert read_name("it's.jpg") == "it's.jpg"
    assert read_name("100% wool.jpg") == "100% wool.jpg"
    assert read_name("a<b.jpg") == "a<b.jpg"


def test_cells_between_ordinary_ones_are_counted_by_row() -> None:
    cells = [
        "a.jpg",
        "b.jpg|c.jpg",
        None,
        URL,
        "b.jpg|c.jpg",
        "é/ü 1.jpg",
        "[]",
        f"{URL};",
        "x.jpg",
    ]
    found = read_image_cells(pl.Series("image", cells))
    assert found.names == ["a.jpg", "b.jpg", "", URL, "b.jpg", "é/ü 1.jpg", "", URL, "x.jpg"]
    assert (found.num_several, found.example) == (2, "b.jpg|c.jpg")


@pytest.mark.parametrize("mark", [",", "\n", "|", ", "])
@pytest.mark.timeout(10)
def test_a_cell_of_separators_without_an_end(mark: str) -> None:
    cells = [f"a.jpg{mark * 100_000}b", f"{URL}{mark * 1000}{URL}"]
    found = read_image_cells(pl.Series("image", cells))
    assert found.names == ["", URL]
    assert found.num_several == 1
