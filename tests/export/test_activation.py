"""Class-activation maps of an exported network are those of torch, and need no torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from shopsight.backbones.create import create_backbone
from shopsight.bundle.exports import Activation, read_exports
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import read_bundle
from shopsight.commands.export import export
from shopsight.errors import BundleError
from shopsight.export import onnx_graph
from shopsight.export.find_activation import find_activation
from shopsight.export.onnx_graph import write_graph
from shopsight.export.parity import Proof, run_all
from shopsight.inference.agreement import Readout
from shopsight.inference.explain import explain_image
from shopsight.inference.graph_activation import GraphActivation, is_pooled, with_outputs
from shopsight.inference.load import load
from shopsight.inference.save import save_bundle
from shopsight.inference.torch_engine import TorchEngine
from shopsight.metrics.families import Families
from shopsight.models.heads import DirectionHead, LinearHead, MlpHead
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from tests.export.without_torch import run_without_torch
from tests.helpers import ProductPhotos, edit_json

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

SIDE = 96


def lite_model(head: torch.nn.Module, *, flip: bool = False) -> ProductModel:
    backbone = create_backbone("embedded:tf_efficientnet_lite0")
    model = ProductModel(backbone.module, head, Preprocess(size_px=SIDE), tta_hflip=flip)
    return model.eval()


def lite(head: torch.nn.Module, *, flip: bool = False) -> TorchEngine:
    return TorchEngine(lite_model(head, flip=flip), device="cpu", precision="32")


def noise(engine: TorchEngine, count: int = 6) -> Proof:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    exact = run_all(engine, pixels)
    return Proof(pixels, exact, Readout(), "noise", None, Families.alone(count))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("beside", [False, True])
def test_maps_are_those_of_torch(
    flip: bool, beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if beside:
        monkeypatch.setattr(onnx_graph, "MOST_BYTES_INSIDE", 0)
    torch.manual_seed(0)
    head = LinearHead(1280, 4)
    engine = lite(head, flip=flip)
    proof = noise(engine)
    graph = tmp_path / "a.onnx"
    assert len(write_graph(engine.model, graph, name="lite")) == 1 + beside
    found = find_activation(engine, graph, proof)
    assert found is not None
    assert len(found.maps) == 1 + flip
    assert found.error < 1e-4
    maps = GraphActivation(graph, found.maps, head.classifier.weight.detach().numpy())
    labels = np.array([0, 3, 1])
    wanted = engine.class_activation(proof.pixels[:3], labels)
    got = maps(proof.pixels[:3], labels)
    assert got is not None
    assert wanted is not None
    assert got == pytest.approx(wanted, abs=1e-4)
    # A map's mean with the bias is the logit.
    bias = head.classifier.bias.detach().numpy()[labels]
    logits = proof.exact[1][np.arange(3), labels]
    assert got.mean((1, 2)) + bias == pytest.approx(logits, abs=1e-3)


@pytest.mark.parametrize(
    "head",
    [MlpHead(1280, 4, hidden_dim=8, hidden_dropout=(0.0, 0.0)), DirectionHead(1280, 4)],
    ids=["mlp", "direction"],
)
def test_a_head_that_is_not_linear_has_none(head: torch.nn.Module, tmp_path: Path) -> None:
    engine = lite(head)
    assert find_activation(engine, tmp_path / "none is read.onnx", noise(engine, 2)) is None


def test_a_graph_grows_an_output_as_onnx_would_write_it(tmp_path: Path) -> None:
    graph = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> '
        "g (float[2] images) => (float[2] embedding) { a = Neg(images) embedding = Abs(a) }"
    )
    name = "a" * 300  # a length of two bytes
    grown = onnx.load_from_string(with_outputs(graph.SerializeToString(), ["a", name]))
    assert [one.name for one in grown.graph.output] == ["embedding", "a", name]
    assert grown.graph.node == graph.graph.node
    assert grown.opset_import == graph.opset_import


def test_what_is_no_pooled_map() -> None:
    embedding = np.ones((2, 3), np.float32)
    assert is_pooled([np.ones((2, 3, 4, 4), np.float32)], embedding)
    assert not is_pooled([np.ones((2, 3, 4, 4), np.float32) * 1.01], embedding)
    assert not is_pooled([np.ones((2, 4, 4, 3), np.float32)], embedding)
    assert not is_pooled([np.full((2, 3, 4, 4), np.nan, np.float32)], embedding)


@pytest.fixture(scope="module")
def exported(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of Lite0 with a head of its own, and its fp32 file."""
    folder = tmp_path_factory.mktemp("explained") / "model"
    torch.manual_seed(1)
    model = lite_model(LinearHead(1280, 3))
    info = BundleInfo(
        backbone="embedded:tf_efficientnet_lite0",
        weights="pip",
        labels=("a", "b", "c"),
        preprocess=model.preprocess,
        embedding_dim=1280,
    )
    photos = sorted(product_photos.folder.rglob("*.jpg"))[::8]
    images = [path.read_bytes() for path in photos]
    save_bundle(folder, model, info=info, golden_images=images, metrics={})
    export(folder)
    return folder


def test_an_export_says_where_its_maps_come_from(exported: Path) -> None:
    bundle = read_bundle(exported)
    artifact = read_exports(bundle.folder, bundle.info).find("fp32")
    assert artifact is not None
    assert artifact.activation is not None
    assert artifact.activation.num_images > 0
    data = bundle.golden.images[0]
    exact = explain_image(load(exported, engine="torch", precision="32"), data)
    found = explain_image(load(exported, engine="onnxruntime"), data)
    assert found.method == exact.method == "class activation"
    assert found.label == exact.label
    assert found.cells == pytest.approx(exact.cells, abs=1e-3)


EXPLAIN = """
import json
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import read_bundle
from shopsight.inference.explain import explain_image
from shopsight.inference.load import load
from shopsight.serve.heat_maps import heat_map

predictor = load(sys.argv[1])
found = explain_image(predictor, predictor.golden.images[0])
shown = heat_map(predictor, predictor.golden.images[0], found.label)
print(json.dumps([found.method, found.cells.tolist(), max(map(max, shown["cells"]))]))
"""


def test_it_needs_no_torch(exported: Path) -> None:
    method, cells, brightest = json.loads(run_without_torch(EXPLAIN, exported))
    predictor = load(exported, engine="torch", precision="32")
    assert predictor.golden is not None
    exact = explain_image(predictor, predictor.golden.images[0])
    assert method == "class activation"
    assert np.array(cells) == pytest.approx(exact.cells, abs=1e-3)
    assert brightest == 255


def test_tensors_that_are_no_map_give_none(exported: Path, tmp_path: Path) -> None:
    """Somebody edited the name: another tensor is never shown as the map."""
    run = Path(shutil.copytree(exported, tmp_path / "run"))
    written = json.loads((run / "exports.json").read_text(encoding="utf-8"))
    artifacts = written["artifacts"]
    artifacts[0]["activation"]["maps"] = ["logits"]
    edit_json(run / "exports.json", artifacts=artifacts)
    predictor = load(run, engine="onnxruntime")
    assert predictor.golden is not None
    assert explain_image(predictor, predictor.golden.images[0]).method == "occlusion"
    artifacts[0]["activation"]["maps"] = ["no such tensor"]
    edit_json(run / "exports.json", artifacts=artifacts)
    predictor = load(run, engine="onnxruntime")
    assert predictor.golden is not None
    with pytest.raises(BundleError, match="cannot open the graph"):
        explain_image(predictor, predictor.golden.images[0])


def test_a_list_of_maps_has_its_limits() -> None:
    for maps in ((), ("a", "b", "c"), ("",)):
        with pytest.raises(ValueError, match="maps"):
            Activation(maps=maps, error=0.0, num_images=1)
