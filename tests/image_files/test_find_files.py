"""Names of another machine, or nearly those of files: the right file, none, or an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from shopsight.errors import CatalogError
from shopsight.image_files.find_files import FoundFiles, find_files

HATS = [f"hat{i}.jpg" for i in range(3)]


def lay(folder: Path, *files: str) -> str:
    """Files in a folder (only their names matter)."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return str(folder)


def found(root: str | Path, *names: str) -> list[str | None]:
    result = find_files(names, str(root))
    result.refuse_unclear("table")
    return result.files


def refused(root: str, *names: str) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        found(root, *names)
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(
    "start",
    [
        "C:\\Users\\me\\shop\\images\\",
        "D:/shop/Images/",
        "/home/me/shop/images/",
        "/content/drive/MyDrive/shop/images/",
        "\\\\server\\share\\images\\",
        "//server/share/images/",
        "~/shop/images/",
        "../shop/images/",
        "shop/images/",
        "images/",
    ],
)
def test_paths_of_another_machine(tmp_path: Path, start: str) -> None:
    root = lay(tmp_path / "data" / "images", *HATS)
    names = [start + name for name in HATS]
    result = find_files(names, root)
    result.refuse_unclear("table")
    assert result.files == HATS
    assert result.num_found == result.num_moved == 3
    (line,) = [line for line in result.notes() if "longest ends" in line]
    assert line.endswith(f": 3 rows, e.g. {names[0]} is hat0.jpg")


def test_ends_below_the_root_and_above_it(tmp_path: Path) -> None:
    lay(tmp_path, "raw/images/hat/0.jpg", "raw/images/bag/0.jpg", "raw/thumbs/hat/0.jpg")
    names = ["/me/images/hat/0.jpg", "/me/images/bag/0.jpg"]
    assert found(tmp_path, *names) == ["raw/images/hat/0.jpg", "raw/images/bag/0.jpg"]
    assert found(tmp_path / "raw/images", *names) == ["hat/0.jpg", "bag/0.jpg"]
    # Only one of the two folders is below this one.
    assert found(tmp_path / "raw/images/hat", *names) == ["0.jpg", None]


def test_the_bare_name_is_no_evidence(tmp_path: Path) -> None:
    root = lay(tmp_path, "other/hat0.jpg", "hat1.jpg")
    assert found(root, "/me/images/hat0.jpg", "/me/images/hat1.jpg") == [None, None]
    # Names of several folders, one of which must be another one.
    assert found(root, "/me/a/hat1.jpg", "/me/b/hat1.jpg") == [None, None]


def test_a_whole_folder_of_another_name(tmp_path: Path) -> None:
    root = lay(tmp_path / "pics", *HATS)
    names = [f"/me/images/{name}" for name in HATS]
    result = find_files(names, root)
    assert result.files == HATS
    assert any("all of which are in the folder named here: 3 rows" in x for x in result.notes())
    assert found(root, *names, "/me/images/absent.jpg") == [None] * 4
    assert found(root, *names, "/me/more/hat0.jpg") == [None] * 4
    assert find_files(names, root, take_whole_folder=False).num_found == 0


def test_one_start_holds_for_all_below_it(tmp_path: Path) -> None:
    root = lay(tmp_path, "sku1/images/0.jpg", "sku2/images/0.jpg", "sku2/images/1.jpg", "cover.jpg")
    # No other folder `images` is that of sku9, nor that of a file that sku1 lacks.
    names = ["/me/sku1/images/0.jpg", "/me/sku9/images/0.jpg", "/me/sku1/images/1.jpg"]
    assert found(root, *names) == ["sku1/images/0.jpg", None, None]
    # The folder of a bare name follows from those of others.
    assert found(root, *names[:1], "/me/cover.jpg") == ["sku1/images/0.jpg", "cover.jpg"]


def test_several_folders_of_one_name(tmp_path: Path) -> None:
    root = lay(tmp_path, "a/images/0.jpg", "b/images/0.jpg", "b/images/1.jpg")
    assert found(root, "/me/images/1.jpg") == ["b/images/1.jpg"]
    error = refused(root, "/me/images/0.jpg", "/me/images/1.jpg")
    assert "1 image name could mean several files" in error.what
    assert error.details == ("/me/images/0.jpg: a/images/0.jpg, b/images/0.jpg",)


def test_many_folders_of_one_name(tmp_path: Path) -> None:
    files = [f"sku{i}/images/{i}.jpg" for i in range(20)]
    root = lay(tmp_path, *files)
    assert found(root, *(f"/me/images/{i}.jpeg" for i in range(20))) == files


def test_two_names_of_one_file(tmp_path: Path) -> None:
    root = lay(tmp_path / "images", *HATS)
    error = refused(root, "/shop/a/images/hat0.jpg", "/shop/b/images/hat0.jpg")
    assert "different image names lead to one file: 1 file" in error.what
    assert error.details == ("hat0.jpg: /shop/a/images/hat0.jpg, /shop/b/images/hat0.jpg",)
    same = "C:\\a\\images\\hat0.jpg", "c:/a/Images/hat0.jpg"
    assert found(root, *same) == ["hat0.jpg", "hat0.jpg"]


def test_a_name_that_leads_somewhere_here_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    lay(tmp_path, "shop/hat/0.jpg", "images/hat/1.jpg")
    assert found(
        tmp_path / "images", f"{tmp_path}/shop/hat/0.jpg", f"{tmp_path}/shop/hat/1.jpg"
    ) == [
        f"{tmp_path}/shop/hat/0.jpg",
        None,
    ]
    assert found(tmp_path, "shop/hat/0.jpg", "hat/1.jpg") == ["shop/hat/0.jpg", None]


def ways(root: str, name: str) -> tuple[str | None, tuple[str, ...]]:
    result = find_files([name], root)
    result.refuse_unclear("table")
    return result.files[0], result.ways.get(0, ())


@pytest.mark.parametrize(
    ("name", "file", "differs"),
    [
        ("a.jpeg", "a.jpg", ("suffix",)),
        ("A.png", "a.jpg", ("case", "suffix")),
        ("a", "a.jpg", ("no suffix",)),
        ("shoe.v2", "shoe.v2.jpg", ("no suffix",)),
        ("12345.0", "12345.jpg", ("digits",)),
        ("123", "00123.png", ("digits",)),
        ("00123", "123.png", ("digits",)),
        ("123.jpg", "00123.jpg", None),
        ("my%20hat.jpg", "my hat.jpg", ("percent",)),
        ("my%20hat.jpg", "my%20hat.jpg", ()),
        ("100%.jpg", "100%.jpg", ()),
        ("a.jpg?v=1699", "a.jpg", ("query",)),
        ("a%20b.jpg?v=1#x", "a b.jpg", ("query", "percent")),
        ("hat\\a.jpg", "hat/a.jpg", ("slashes",)),
        ("HAT/a.jpg", "hat/a.jpg", ("case",)),
        ("./hat//a.jpg", "hat/a.jpg", ()),
        ("train-images-idx3-ubyte?v=1", "train-images-idx3-ubyte", ("query",)),
    ],
)
def test_names_that_are_nearly_those_of_files(
    tmp_path: Path, name: str, file: str, differs: tuple[str, ...] | None
) -> None:
    root = lay(tmp_path, file)
    hit, how = ways(root, name)
    if differs is None:
        assert hit is None
    else:
        assert (Path(hit or "") == Path(file), how) == (True, differs)


def test_images_of_an_idx_file_are_names_of_their_own(tmp_path: Path) -> None:
    root = lay(tmp_path, "hat/train-images-idx3-ubyte", "images.idx3", "images.idx3#1")
    names = ["hat/train-images-idx3-ubyte#17", "HAT/train-images-idx3-ubyte#0", "images.idx3#1"]
    result = find_files([*names, "other-ubyte#1"], root)
    folder = "hat/train-images-idx3-ubyte"
    assert result.files == [f"{folder}#17", f"{folder}#0", "images.idx3#1", None]
    assert result.ways == {1: ("case",)}


def test_the_suffix_of_the_same_kind_goes_first(tmp_path: Path) -> None:
    root = lay(tmp_path, "a.jpg", "a.png", "b.gif", "b.png")
    assert found(root, "a.jpeg") == ["a.jpg"]
    assert "could mean several files" in refused(root, "b.jpg").what
    assert refused(root, "a").details == ("a: a.jpg, a.png",)


def test_a_file_belongs_to_the_name_that_is_its_own(tmp_path: Path) -> None:
    root = lay(tmp_path, "a.jpg", "7.jpg")
    assert found(root, "a.jpg", "a.png", "7", "007") == ["a.jpg", None, "7.jpg", None]
    error = refused(root, "a.png", "a.gif")
    assert error.details == ("a.jpg: a.gif, a.png",)


def test_links_that_lead_back_are_not_followed(tmp_path: Path) -> None:
    root = lay(tmp_path / "data", "images/0.jpg")
    try:
        (tmp_path / "data" / "loop").symlink_to(tmp_path / "data", target_is_directory=True)
    except OSError:
        pytest.skip("needs links")
    assert found(root, "/me/images/0.jpg") == ["images/0.jpg"]


def counts(result: FoundFiles) -> Sequence[int]:
    return result.num_found, result.num_moved


def test_addresses_and_empty_names(tmp_path: Path) -> None:
    root = lay(tmp_path, *HATS)
    names = [
        "https://shop.example/a.jpg?v=1",
        "",
        "hat0.jpg",
        "HTTP://shop.example/b",
        "foo://b/c.jpg",
    ]
    result = find_files(names, root)
    assert result.files == [names[0], None, names[2], names[3], names[4]]
    assert counts(result) == (4, 0)
