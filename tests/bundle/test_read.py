from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from shopsight.bundle.product_calibration import ProductCalibration
from shopsight.bundle.read import bundle_folder, read_bundle, read_info, read_tensors
from shopsight.bundle.write import write_bundle
from shopsight.errors import BundleError
from tests.helpers import edit_json

# model.json as format 1 had it.
FORMAT_1 = {
    "format_version": 1,
    "backbone": "shopsight:fashion_cnn",
    "weights": "random",
    "head": {"kind": "linear", "dropout": 0.0, "hidden": 512, "hidden_dropout": [0.4, 0.5]},
    "labels": ["dress", "hat"],
    "several_labels": False,
    "preprocess": {"size_px": 28, "resize": "pad", "pad_color": [0, 0, 0]},
    "embedding_width": 4,
    "members": 1,
    "temperature": 1.0,
    "thresholds": {},
    "flip": False,
    "drawn": True,
    "weights_sha256": "",
}


def test_what_was_written_is_read(folder: Path, parts: dict[str, Any]) -> None:
    bundle = read_bundle(folder)
    hashes = {"weights_sha256", "backbone_sha256"}
    assert bundle.info.model_dump(exclude=hashes) == parts["info"].model_dump(exclude=hashes)
    assert bundle.metrics == parts["metrics"]
    assert bundle.golden.images == (b"one", b"two")
    np.testing.assert_array_equal(bundle.golden.logits, parts["golden"].logits)
    np.testing.assert_array_equal(bundle.golden.embeddings, parts["golden"].embeddings)
    tensors = read_tensors(folder)
    assert tensors.keys() == parts["tensors"].keys()
    for name, tensor in parts["tensors"].items():
        assert tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(tensors[name], tensor)


def test_what_was_fitted_on_products_is_there_where_it_was_fitted(
    folder: Path, parts: dict[str, Any]
) -> None:
    # What earlier versions do not know is not written without need.
    assert "by_product" not in json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert read_info(folder).by_product is None
    fitted = ProductCalibration(temperature=0.75, products=1)
    info = parts["info"].model_copy(update={"by_product": fitted})
    write_bundle(folder, **parts | {"info": info})
    assert read_info(folder).by_product == fitted
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "calibrated with temperature 0.750, fitted on 1 product.\n" in card


def test_by_the_run_or_by_the_bundle(folder: Path) -> None:
    assert bundle_folder(folder) == folder
    assert bundle_folder(str(folder.parent)) == folder


def test_metrics_may_be_absent(folder: Path) -> None:
    (folder / "metrics.json").unlink()
    assert read_bundle(folder).metrics == {}


def test_changed_weights_are_found(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="the weights changed"):
        read_bundle(folder)
    assert read_info(folder).temperature == 1.5


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "golden.npz"])
def test_missing_files_are_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"is not a model bundle: no {name}\n"):
        read_bundle(folder)


def test_folders_that_are_not_bundles(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"no model\.json, model\.safetensors, golden\.npz"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{", '{"labels": []}'])
def test_a_damaged_description(folder: Path, text: str) -> None:
    (folder / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match="is not a model description"):
        read_bundle(folder)


def test_damaged_golden_outputs(folder: Path) -> None:
    (folder / "golden.npz").write_bytes(b"PK junk")
    with pytest.raises(BundleError, match=r"golden\.npz: cannot be read"):
        read_bundle(folder)


def test_pickled_golden_outputs_are_not_opened(folder: Path) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(folder / "golden.npz", logits=objects, embeddings=objects)
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(folder)


def test_labels_and_keys_that_do_not_fit(folder: Path) -> None:
    edit_json(folder / "model.json", labels=["dress", "hat"])
    with pytest.raises(BundleError, match=r"logits of shape \(2, 3\) .* model\.json says \(2, 2\)"):
        read_bundle(folder)
    edit_json(folder / "model.json", labels=["dress", "hat", "hat"], color="red")
    with pytest.raises(BundleError, match="color: Extra inputs"):
        read_bundle(folder)


def test_a_bundle_of_format_1_is_refused_with_the_command_that_trains_anew(
    folder: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("model.safetensors", "golden.npz"):
        shutil.copy(folder / name, old)
    (old / "model.json").write_text(json.dumps(FORMAT_1), encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        read_bundle(old)
    assert str(caught.value) == (
        f"{old / 'model.json'}: bundle format 1; this shopsight reads formats 2 to 3\n"
        "  fix: shopsight train DATA --out RUN   (trains the model anew, in a new run folder)"
    )


def test_a_bundle_of_a_later_format_needs_a_later_shopsight(folder: Path) -> None:
    edit_json(folder / "model.json", format_version=4)
    with pytest.raises(BundleError, match=r"format 4; .*\n  fix: pip install --upgrade shopsight"):
        read_bundle(folder)


def test_weights_that_numpy_cannot_hold(folder: Path) -> None:
    safetensors.torch.save_file(
        {"backbone.a": torch.ones(2, dtype=torch.bfloat16)}, folder / "model.safetensors"
    )
    with pytest.raises(BundleError, match=r"the weights cannot be read: .*bfloat16"):
        read_tensors(folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match="the weights cannot be read"):
        read_tensors(folder)
