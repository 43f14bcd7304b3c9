from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import UInt8

from shopsight.catalog.idx_pairs import container_catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ImageError
from shopsight.images.decode import decode, read_bytes
from shopsight.read_options import ReadOptions


def write_idx(path: Path, values: UInt8[np.ndarray, "..."]) -> None:
    head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    data = head + values.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_pair(folder: Path, prefix: str, count: int, *, suffix: str = ".gz") -> None:
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
    write_idx(folder / f"{prefix}images-idx3-ubyte{suffix}", pixels)
    write_idx(folder / f"{prefix}labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 3)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_train_and_test_with_class_names(tmp_path: Path) -> None:
    write_pair(tmp_path, "train-", 7)
    write_pair(tmp_path, "t10k-", 4)
    catalog = container_catalog(
        names(tmp_path), name="tiny", root=str(tmp_path), class_names=("hat", "shoe", "bag")
    )
    train = catalog.take(catalog.rows_of("train"))
    assert len(train) == 7
    assert len(catalog.rows_of("test")) == 4
    assert train.table["label"].to_list()[:4] == ["hat", "shoe", "bag", "hat"]
    assert decode(read_bytes(train.refs()[3])).shape == (28, 28, 3)


def test_plain_files_numbers_as_labels_and_no_split(tmp_path: Path) -> None:
    write_pair(tmp_path, "my-", 5, suffix="")
    catalog = container_catalog(names(tmp_path), name="tiny", root=str(tmp_path))
    assert catalog.labels == ("0", "1", "2")
    assert "split" not in catalog.table.columns


def test_images_without_labels(tmp_path: Path) -> None:
    write_pair(tmp_path, "train-", 5)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    assert container_catalog(names(tmp_path), name="x", root=str(tmp_path)).labels == ()


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    write_pair(tmp_path, "train-", 5)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(4, np.uint8))
    with pytest.raises(CatalogError, match="holds 5 images"):
        container_catalog(names(tmp_path), name="x", root=str(tmp_path))


def test_more_labels_than_classes(tmp_path: Path) -> None:
    write_pair(tmp_path, "train-", 5)
    with pytest.raises(CatalogError, match="label 2 of 2 classes"):
        container_catalog(names(tmp_path), name="x", root=str(tmp_path), class_names=("a", "b"))


def test_damaged_files(tmp_path: Path) -> None:
    write_pair(tmp_path, "train-", 5)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-12])
    with pytest.raises(ImageError, match="ends early"):
        container_catalog(names(tmp_path), name="x", root=str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(CatalogError, match="train-images"):
        container_catalog(names(tmp_path), name="x", root=str(tmp_path))


def test_no_images_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no IDX file of images"):
        container_catalog(["train-labels-idx1-ubyte.gz"], name="x", root=str(tmp_path))


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_labels_that_are_a_link_to_the_outside(tmp_path: Path) -> None:
    """The bytes of any other file of this machine would be shown as labels."""
    shop, private = tmp_path / "shop", tmp_path / "private"
    for folder in (shop, private):
        folder.mkdir()
        write_pair(folder, "train-", 5)
    labels = shop / "train-labels-idx1-ubyte.gz"
    labels.unlink()
    labels.symlink_to(private / labels.name)
    for data in (shop, shop / "train-images-idx3-ubyte.gz"):
        with pytest.raises(CatalogError, match="leads out of the folder") as caught:
            open_catalog(data)
        assert caught.value.fix == "--allow-outside"
        assert len(open_catalog(data, ReadOptions(allow_outside=True)).labels) == 3
    labels.unlink()
    shutil.copy(private / labels.name, shop / "kept.gz")
    labels.symlink_to("kept.gz")
    assert len(open_catalog(shop).labels) == 3
