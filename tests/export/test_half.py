"""An fp16 file, what is refused, and TensorRT where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shopsight.bundle.exports import read_exports
from shopsight.bundle.read import read_bundle
from shopsight.commands.export import export
from shopsight.commands.verify import verify
from shopsight.errors import ConfigError, ExportError, ExtraMissingError
from shopsight.export.half_range import check_half_range
from shopsight.inference import tensorrt_engine
from shopsight.inference.exported_engines import candidates
from shopsight.inference.load import load
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.heads import LinearHead
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("half") / "run"
    shutil.copytree(tiny_run, run)
    export(run, precision=("fp32", "fp16"), max_drop=100.0)
    return run


def test_half_of_the_bytes_and_the_same_answers(exported: Path) -> None:
    folder = exported / "model"
    found = read_exports(folder, read_bundle(folder).info)
    assert [one.file for one in found.artifacts] == ["model.fp32.onnx", "model.fp16.onnx"]
    whole, half = ((folder / one.file).stat().st_size for one in found.artifacts)
    assert half < 0.65 * whole
    artifact = found.find("fp16")
    assert artifact is not None
    proof = artifact.proof("onnxruntime", "fp16")
    assert proof is not None
    assert proof.embedding_error < 0.05
    assert proof.same == 1.0
    graph = onnx.load(str(folder / "model.fp16.onnx")).graph
    # Bytes in, of which TensorRT only takes a cast; the head in fp32.
    assert graph.node[0].op_type == "Cast"
    assert {one.type.tensor_type.elem_type for one in graph.output} == {onnx.TensorProto.FLOAT}
    kinds = {one.data_type for one in graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds


def test_it_is_opened_when_it_is_asked_for_and_never_by_itself(exported: Path) -> None:
    bundle = read_bundle(exported / "model")
    named = candidates(read_exports(bundle.folder, bundle.info), fast=True)
    assert all(one.precision in ("32", "bf16") for one in named)
    engine = load(exported, engine="onnxruntime", precision="16").engine
    assert engine.name == "onnxruntime on cpu, 16"
    assert "onnxruntime on cpu, 16" in [one.engine for one in verify(exported) if one.ok]
    with pytest.raises(ConfigError, match="does not compute in '16'"):
        load(exported, engine="torch", precision="16")


class _Times(nn.Module):
    """Pixels, pooled, times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 8, stride=8)
        nn.init.constant_(self.layer.weight, factor)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.layer(pixels).mean((2, 3)) / 1e6


def test_numbers_beyond_fp16_are_refused() -> None:
    pixels = np.full((2, 16, 16, 3), 200, np.uint8)

    def engine(factor: float) -> TorchEngine:
        model = ProductModel(_Times(factor), LinearHead(4, 2), Preprocess(size_px=16))
        return TorchEngine(model.eval(), device="cpu", precision="32")

    assert check_half_range(engine(1.0), pixels) < 1000
    with pytest.raises(ExportError, match=r"fp16 ends at 65,504"):
        check_half_range(engine(1e4), pixels)
    with pytest.raises(ExportError, match="numbers of up to nan"):
        check_half_range(engine(float("nan")), pixels)


def test_tensorrt_says_what_is_missing(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="first GPU"):
        load(exported, engine="tensorrt", device="cpu")
    with pytest.raises(ConfigError, match=r"fp16[\s\S]*--precision 16"):
        load(exported, engine="tensorrt", precision="32")
    monkeypatch.setattr(tensorrt_engine, "is_installed", lambda name: name != "tensorrt")
    with pytest.raises(ExtraMissingError, match=r"tensorrt is not installed[\s\S]*pip install"):
        load(exported, engine="tensorrt")
    monkeypatch.setattr(tensorrt_engine, "is_installed", lambda _name: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="needs an NVIDIA GPU"):
        load(exported, engine="tensorrt")


@pytest.mark.gpu
def test_tensorrt_gives_the_golden_outputs(exported: Path) -> None:
    pytest.importorskip("tensorrt")
    predictor = load(exported, engine="tensorrt")
    assert predictor.engine.name == "tensorrt on cuda, 16"
    assert predictor.verify().ok
