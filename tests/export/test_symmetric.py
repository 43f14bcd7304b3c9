"""Eight bits as TensorRT takes them: both sides signed, no zeros, biases in float; proven here."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from shopsight.bundle.exports import Exports, read_exports
from shopsight.bundle.read import read_bundle
from shopsight.commands.export import export
from shopsight.commands.verify import verify
from shopsight.errors import BundleError, ConfigError
from shopsight.export import export_bundle
from shopsight.inference import tensorrt_engine
from shopsight.inference.exported_engines import open_exported
from shopsight.inference.load import load
from shopsight.inference.onnxruntime_engine import OnnxRuntimeEngine

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

FILE = "model.int8-symmetric.onnx"


@pytest.fixture(scope="module")
def exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("symmetric") / "run"
    shutil.copytree(tiny_run, run)
    export(run, to=("onnx", "tensorrt"), precision=("fp32", "int8"), max_drop=100.0)
    return run


def exports_of(run: Path) -> Exports:
    return read_exports(run / "model", read_bundle(run / "model").info)


def test_it_is_proven_and_listed_beside_that_for_cpus(exported: Path) -> None:
    found = exports_of(exported)
    assert [one.file for one in found.artifacts] == ["model.fp32.onnx", "model.int8.onnx", FILE]
    artifact = found.find("int8-symmetric")
    assert artifact is not None
    assert artifact.needs_vnni is False
    assert len(artifact.calibration) >= 16
    proof = artifact.proof("onnxruntime", "int8-symmetric")
    assert proof is not None
    assert proof.embedding_error < 0.5
    assert proof.num_images > 0
    assert all(one.ok for one in verify(exported))


def test_no_number_has_a_zero_and_biases_are_float(exported: Path) -> None:
    graph = onnx.load(str(exported / "model" / FILE)).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    steps = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert steps
    for node in steps:
        zero = values[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    # TensorRT dequantizes no 32-bit biases.
    assert not [n for n in steps if n.input[0] in values and values[n.input[0]].dtype == np.int32]
    # Weights have a scale for each channel.
    weights = [n for n in steps if n.input[0] in values]
    assert weights
    assert all(values[n.input[1]].ndim == 1 for n in weights)


def test_it_answers_like_fp32(exported: Path) -> None:
    bundle = read_bundle(exported / "model")
    side = bundle.info.preprocess.size_px
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, side, side, 3), dtype=np.uint8)
    exact = open_exported(bundle, "onnxruntime", "32").run(pixels)[0]
    rounded = OnnxRuntimeEngine(exported / "model" / FILE, precision="int8").run(pixels)[0]
    cosine = (exact * rounded).sum(1)
    cosine /= np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert cosine.min() > 0.97


def test_for_tensorrt_alone(tiny_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    export(run, to=("tensorrt",), precision=("int8",), max_drop=100.0)
    assert [one.file for one in exports_of(run).artifacts] == ["model.fp32.onnx", FILE]
    with pytest.raises(BundleError, match=r"--to onnx --precision int8"):
        load(run, engine="onnxruntime", precision="int8")


def test_what_is_not_made(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"fp16 or int8[\s\S]*--precision fp32,fp16,int8"):
        export(tiny_run, to=("tensorrt",))
    monkeypatch.setattr(export_bundle, "has_vnni", lambda: False)
    with pytest.raises(ConfigError, match="nothing would be proven"):
        export(tiny_run, to=("tensorrt",), precision=("int8",))


def test_tensorrt_takes_this_file(
    exported: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="fp16 or int8, not in bf16"):
        load(exported, engine="tensorrt", precision="bf16")
    opened = []

    class Engine:
        precision, name = "int8", "tensorrt on cuda, int8"

        def __init__(self, path: Path, *, sha256: str, precision: str) -> None:
            opened.append((path.name, sha256, precision))

        def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raise AssertionError(images.shape)

    monkeypatch.setattr(tensorrt_engine, "TensorRtEngine", Engine)
    monkeypatch.setattr(tensorrt_engine, "tensorrt_and_torch", lambda: (None, None))
    open_exported(read_bundle(exported / "model"), "tensorrt", "int8")
    artifact = exports_of(exported).find("int8-symmetric")
    assert artifact is not None
    assert opened == [(FILE, artifact.sha256, "int8")]
    with pytest.raises(BundleError, match=r"not exported for tensorrt"):
        open_exported(read_bundle(tiny_run / "model"), "tensorrt", "int8")
