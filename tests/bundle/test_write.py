from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopsight.bundle.fingerprint import tensors_sha256
from shopsight.bundle.format import Golden
from shopsight.bundle.read import read_bundle, read_tensors
from shopsight.bundle.write import write_bundle
from shopsight.errors import BundleError
from shopsight.files import sha256_file
from tests.windows import is_mapped


def test_hashes_are_filled_in(folder: Path, parts: dict[str, Any]) -> None:
    info = read_bundle(folder).info
    assert info.weights_sha256 == sha256_file(folder / "model.safetensors")
    backbone = {
        "conv.weight": parts["tensors"]["backbone.conv.weight"],
        "norm.num_batches_tracked": parts["tensors"]["backbone.norm.num_batches_tracked"],
    }
    assert info.backbone_sha256 == tensors_sha256(backbone)


def test_nothing_in_it_is_pickled(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.safetensors", "model.json", "golden.npz", "metrics.json", "README.md"}
    with zipfile.ZipFile(folder / "golden.npz") as arrays:
        for name in arrays.namelist():
            with arrays.open(name) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            assert array.dtype != object


@pytest.mark.posix("on Windows the folder says who reads its files")
def test_all_files_have_the_same_readers(folder: Path) -> None:
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_writing_again_replaces_the_folder(folder: Path, parts: dict[str, Any]) -> None:
    (folder / "stale.txt").write_text("old", encoding="utf-8")
    write_bundle(folder, **parts)
    assert not (folder / "stale.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_bundle_whose_tensors_are_in_use_is_replaced(folder: Path, parts: dict[str, Any]) -> None:
    """Windows replaces no folder with a mapped file: the tensors that are read are copies."""
    bundle, tensors = read_bundle(folder), read_tensors(folder)
    assert not is_mapped(str(folder))
    doubled = {name: np.asarray(tensor * 2) for name, tensor in tensors.items()}
    write_bundle(folder, **parts | {"tensors": doubled})
    assert bundle.golden.logits.any()
    for name, tensor in read_tensors(folder).items():
        assert (tensor == tensors[name] * 2).all()


@pytest.mark.parametrize(
    "golden",
    [
        Golden((b"one",), np.ones((1, 5), "f4"), np.ones((1, 4), "f4")),
        Golden((b"one",), np.ones((1, 3), "f4"), np.ones((1, 5), "f4")),
        Golden((), np.ones((0, 3), "f4"), np.ones((0, 4), "f4")),
    ],
)
def test_golden_outputs_must_fit(golden: Golden, parts: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="golden outputs of shape"):
        write_bundle(tmp_path / "model", **parts | {"golden": golden})
    assert not list(tmp_path.iterdir())
