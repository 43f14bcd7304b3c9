from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shopsight.bundle.read import read_bundle
from shopsight.devices import computes_bf16
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.models.build import build_model
from shopsight.models.product_model import ProductModel


@pytest.fixture
def model(bundle_folder: Path) -> ProductModel:
    return build_model(read_bundle(bundle_folder))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


def test_outputs_are_those_of_the_network(model: ProductModel, images: np.ndarray) -> None:
    with torch.inference_mode():
        expected = model.embed(torch.from_numpy(images))
        logits = model.classify(expected)
    found = TorchEngine(model, device="cpu", precision="32").run(images)
    np.testing.assert_allclose(found[0], expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(found[1], logits.numpy(), atol=1e-4)


def test_bf16_rounds_the_embedding_and_not_the_head(
    model: ProductModel, images: np.ndarray
) -> None:
    engine = TorchEngine(model, device="cpu", precision="32").at("bf16")
    assert (engine.precision, engine.name) == ("bf16", "torch on cpu, bf16")
    embeddings, logits = engine.run(images)
    exact, _ = engine.at("32").run(images)
    assert (embeddings != exact).any()
    head = engine.model.head.classifier
    assert isinstance(head, torch.nn.Linear)
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    np.testing.assert_allclose(logits, embeddings @ weight.T + bias, rtol=1e-5, atol=1e-5)


def test_auto_precision_follows_the_machine(model: ProductModel) -> None:
    engine = TorchEngine(model, device="cpu")
    assert engine.precision == ("bf16" if computes_bf16(torch.device("cpu")) else "32")


def test_a_reference_engine_is_a_copy_in_fp32(model: ProductModel, images: np.ndarray) -> None:
    model.half().train()
    engine = reference_engine(model)
    assert (engine.device.type, engine.precision) == ("cpu", "32")
    assert all(parameter.dtype == torch.float32 for parameter in engine.model.parameters())
    assert all(parameter.dtype == torch.float16 for parameter in model.parameters())
    assert model.training
    assert np.isfinite(engine.run(images)[1]).all()
