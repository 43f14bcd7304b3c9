from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from shopsight.bundle.format import Golden
from shopsight.bundle.read import read_bundle
from shopsight.cache_place import use_cache_dir
from shopsight.devices import computes_bf16
from shopsight.errors import BundleError, ConfigError
from shopsight.inference import pick_precision
from shopsight.inference.golden import TOLERANCE, make_golden, verify_golden
from shopsight.inference.load import load
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.models.build import build_model
from tests.helpers import edit_json


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "run" / "model"))


def test_by_the_run_or_by_the_bundle(copied: Path) -> None:
    for folder in (copied, copied.parent, str(copied.parent)):
        predictor = load(folder)
        assert predictor.labels == ("dress", "hat", "shoe")
        assert predictor.temperature == 0.5
    with pytest.raises(BundleError, match="not a model bundle"):
        load(copied.parents[1])


def test_verify_in_fp32_is_near_exact(bundle_folder: Path) -> None:
    found = load(bundle_folder, precision="32").verify()
    assert found.ok
    assert found.num_images == 3
    assert max(found.embedding_error, found.logit_error) < 1e-4
    assert found.engine == "torch on cpu, 32"


@pytest.mark.skipif(not computes_bf16(torch.device("cpu")), reason="this CPU has no bf16")
def test_verify_in_bf16_is_within_its_tolerance(bundle_folder: Path) -> None:
    found = load(bundle_folder, precision="bf16").verify()
    assert found.ok
    assert 1e-5 < found.embedding_error <= TOLERANCE["bf16"]


@pytest.mark.skipif(not computes_bf16(torch.device("cpu")), reason="this CPU has no bf16")
def test_a_network_that_does_not_bear_bf16_runs_in_fp32(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(bundle_folder).engine.precision == "bf16"
    monkeypatch.setitem(TOLERANCE, "bf16", 1e-6)
    # The verdict of a moment ago is kept.
    assert load(bundle_folder).engine.precision == "bf16"
    monkeypatch.setattr(pick_precision, "VERDICT_VERSION", 0)
    predictor = load(bundle_folder)
    assert predictor.engine.precision == "32"
    assert predictor.verify().ok
    with pytest.raises(BundleError, match="load with precision='auto'"):
        load(bundle_folder, precision="bf16")


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocess": {"mean": [0.2, 0.2, 0.2]}},
        {"preprocess": {"resize": "squash", "size_px": 96}},
        {"preprocess": {"pad_color": [0, 0, 0], "resize": "pad", "size_px": 32}},
        {"tta_hflip": True},
    ],
)
def test_a_changed_preprocess_is_found(copied: Path, changes: dict[str, object]) -> None:
    edit_json(copied / "model.json", **changes)
    with pytest.raises(BundleError, match="does not give its golden outputs"):
        load(copied)
    assert load(copied, verify=False).verify().ok is False


def test_outputs_that_are_not_numbers_are_found(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    model = build_model(bundle)
    with torch.no_grad():
        model.head.classifier.bias[0] = float("nan")  # type: ignore[union-attr]
    found = verify_golden(TorchEngine(model, precision="32"), bundle.golden, bundle.info.preprocess)
    assert not found.ok
    assert found.logit_error == float("inf")


def test_golden_leaves_the_network_as_it_was(bundle_folder: Path, files: list[str]) -> None:
    model = build_model(read_bundle(bundle_folder)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    golden = make_golden(reference_engine(model), [Path(files[0]).read_bytes()], model.preprocess)
    assert isinstance(golden, Golden)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert golden.logits.shape == (1, 3)
    assert golden.logits.dtype == np.float32


def test_unknown_devices(bundle_folder: Path) -> None:
    with pytest.raises(ConfigError, match="no device 'gpu'"):
        load(bundle_folder, device="gpu")


PROGRAM = """
import socket, sys

def no(*args, **kwargs):
    raise AssertionError("reached for the network")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = no
import shopsight
predictor = shopsight.load(sys.argv[1])
assert predictor.verify().ok
(prediction,) = predictor.predict(sys.argv[2])
print(prediction.labels[0])
heavy = {"lightning", "sklearn", "torchmetrics", "matplotlib", "shopsight.training", "pytest"}
print(sorted(heavy & set(sys.modules)))
"""


def test_needs_no_network_and_no_training_code(bundle_folder: Path, files: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(bundle_folder), files[0]],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    label, heavy = done.stdout.split("\n")[:2]
    assert label in {"dress", "hat", "shoe"}
    assert heavy == "[]"


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", '{"precision": "half", "refused": 3, "has_images": true}']
)
def test_a_kept_verdict_that_is_none_is_judged_again(
    bundle_folder: Path, tmp_path: Path, content: str
) -> None:
    with use_cache_dir(tmp_path):
        before = load(bundle_folder, device="cpu").engine.name
        for file in (tmp_path / "precisions").glob("*"):
            file.write_text(content, encoding="utf-8")
        assert load(bundle_folder, device="cpu").engine.name == before
