from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import table_catalog
from shopsight.errors import CatalogError, TableError, WriteError
from shopsight.images.decode import read_bytes
from shopsight.read_options import ReadOptions


@pytest.fixture(autouse=True)
def cache(tmp_path: Path) -> Iterator[None]:
    with use_cache_dir(tmp_path / "cache"):
        yield


def photo(number: int, format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (10 * number, 90, 200)).save(file, format)
    return file.getvalue()


def shop(tmp_path: Path, **columns: object) -> str:
    """A Parquet file as the Hub writes it: images as structs, classes as numbers."""
    images = [{"bytes": photo(i, "PNG" if i % 2 else "JPEG"), "path": f"{i}.x"} for i in range(8)]
    features = {
        "label": {"names": ["hat", "shoe"], "_type": "ClassLabel"},
        "tags": {"feature": {"names": ["new", "red"], "_type": "ClassLabel"}, "_type": "Sequence"},
        "image": {"_type": "Image"},
    }
    table = pl.DataFrame({"image": images, "label": [0, 1, 0, 1, 0, 1, 0, -1], **columns})
    path = tmp_path / "train-00000-of-00001.parquet"
    table.write_parquet(
        path, metadata={"huggingface": json.dumps({"info": {"features": features}})}
    )
    return str(path)


def test_images_in_a_parquet_file_become_files_with_their_bytes(tmp_path: Path) -> None:
    path = shop(tmp_path)
    catalog = table_catalog(path)
    assert [read_bytes(ref) for ref in catalog.refs()] == [
        photo(i, "PNG" if i % 2 else "JPEG") for i in range(8)
    ]
    assert catalog.table["image"][1] == "0000/0000001.png"
    assert catalog.table["label"].to_list() == ["hat", "shoe"] * 3 + ["hat", None]
    assert any("8 images from column 'image', kept under" in note for note in catalog.notes)
    again = table_catalog(path)
    assert (again.root, again.table.equals(catalog.table)) == (catalog.root, True)


def test_several_classes_an_image_have_names_too(tmp_path: Path) -> None:
    tags = [[0], [0, 1], [], [1], [1], [0], [0], [1]]
    catalog = table_catalog(shop(tmp_path, tags=tags), ReadOptions(label="tags"))
    assert catalog.table["label"].to_list()[:3] == [["new"], ["new", "red"], []]


def test_bare_bytes_and_rows_without_an_image(tmp_path: Path) -> None:
    blobs = [photo(i) for i in range(3)] + [None]
    table = pl.DataFrame({"jpg": blobs, "label": ["a", "b", "a", "b"], "vector": [b"\0x"] * 4})
    table.write_parquet(tmp_path / "t.parquet")
    catalog = table_catalog(str(tmp_path / "t.parquet"))
    assert len(catalog) == 3
    assert "vector" not in catalog.table.columns
    assert any("columns of bytes: vector" in note for note in catalog.notes)


def test_two_columns_of_images_are_to_be_named(tmp_path: Path) -> None:
    path = shop(tmp_path, back=[{"bytes": photo(i), "path": ""} for i in range(8)])
    with pytest.raises(TableError, match="several columns hold images"):
        table_catalog(path)
    catalog = table_catalog(path, ReadOptions(image="back"))
    assert read_bytes(catalog.refs()[3]) == photo(3)


def test_structs_of_paths_alone_name_files(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(photo(i))
    images = [{"bytes": None, "path": f"{i}.jpg"} for i in range(4)]
    pl.DataFrame(
        {"image": images, "label": list("abab"), "vector": [b"x"] * 4},
        schema_overrides={"image": pl.Struct({"bytes": pl.Binary, "path": pl.String})},
    ).write_parquet(tmp_path / "t.parquet")
    path = str(tmp_path / "t.parquet")
    assert table_catalog(path).table["image"].to_list() == [f"{i}.jpg" for i in range(4)]
    with pytest.raises(CatalogError, match=r"e.g. \['x'\] from column 'vector'"):
        table_catalog(path, ReadOptions(image="vector"))


def test_nested_columns_are_written_to_csv_as_json(tmp_path: Path) -> None:
    size = [{"w": i, "h": [i, 2]} for i in range(8)]
    catalog = table_catalog(shop(tmp_path, size=size, prices=[[1.5, 2.0]] * 8))
    catalog.write(tmp_path / "splits.csv")
    again = Catalog.read(tmp_path / "splits.csv")
    assert json.loads(again.table["size"][1]) == {"w": 1, "h": [1, 2]}
    assert json.loads(again.table["prices"][1]) == [1.5, 2.0]
    assert again.fingerprint() == catalog.fingerprint()


def test_bytes_that_are_text_are_text(tmp_path: Path) -> None:
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(photo(i))
    table = pl.DataFrame(
        {
            "file": [f"{i}.jpg".encode() for i in range(4)],
            "label": ["Schläppchen".encode(), b"hat", None, b"hat"],
            "vector": [bytes([i, 0, 200]) for i in range(4)],
        }
    )
    table.write_parquet(tmp_path / "shop.parquet")
    catalog = table_catalog(str(tmp_path / "shop.parquet"))
    assert catalog.table["image"].to_list() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert catalog.table["label"].to_list() == ["Schläppchen", "hat", None, "hat"]
    assert "columns of bytes read as text: file, label" in catalog.notes
    assert "left out, columns of bytes: vector" in catalog.notes


def test_images_within_a_table_need_a_place(tmp_path: Path) -> None:
    path = shop(tmp_path)
    (tmp_path / "taken").touch()
    with (
        use_cache_dir(tmp_path / "taken" / "cache"),
        pytest.raises(WriteError, match="its images cannot be kept in the cache") as caught,
    ):
        table_catalog(path)
    assert "--cache-dir FOLDER" in str(caught.value)
