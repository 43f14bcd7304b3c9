"""Maps of where a network looked: exact, or by covering parts; and over the image itself."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shopsight.backbones.create import create_backbone
from shopsight.errors import ConfigError
from shopsight.images.model_input import preprocess_array
from shopsight.images.undo_preprocess import place_in_square, undone
from shopsight.inference.class_activation import occlusion
from shopsight.inference.explain import explain_image
from shopsight.inference.load import load
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.heads import LinearHead, MlpHead
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess


def engine_of(head: torch.nn.Module, *, flip: bool = False) -> TorchEngine:
    backbone = create_backbone("embedded:tf_efficientnet_lite0")
    preprocess = Preprocess(size_px=96)
    model = ProductModel(backbone.module, head, preprocess, tta_hflip=flip)
    return TorchEngine(model, device="cpu", precision="32")


@pytest.mark.parametrize("flip", [False, True])
def test_the_mean_of_a_map_is_the_logit(flip: bool) -> None:
    torch.manual_seed(0)
    head = LinearHead(1280, 4)
    engine = engine_of(head, flip=flip)
    images = np.random.default_rng(0).integers(0, 255, (3, 96, 96, 3), np.uint8)
    labels = np.array([2, 0, 3])
    maps = engine.class_activation(images, labels)
    assert maps is not None
    assert maps.shape == (3, 3, 3)
    logits = engine.run(images)[1][np.arange(3), labels]
    bias = head.classifier.bias.detach().numpy()[labels]
    assert maps.mean(axis=(1, 2)) + bias == pytest.approx(logits, abs=1e-3)


def test_no_map_of_a_head_that_is_not_linear() -> None:
    head = MlpHead(1280, 4, hidden_dim=8, hidden_dropout=(0.0, 0.0))
    images = np.zeros((1, 96, 96, 3), np.uint8)
    assert engine_of(head).class_activation(images, np.array([0])) is None


class _Corner:
    """An engine whose first logit is the brightness of the upper left corner."""

    name, precision = "corner", "32"

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bright = images[:, :10, :10].mean(axis=(1, 2, 3)) / 25
        logits = np.stack([bright, np.zeros(len(images))], axis=1).astype(np.float32)
        return np.zeros((len(images), 1), np.float32), logits


def test_what_is_covered_and_missed_counts() -> None:
    image = np.full((70, 70, 3), 200, np.uint8)
    found = occlusion(_Corner(), image, 0, color=np.zeros(3, np.uint8))  # type: ignore[arg-type]
    assert found.argmax() == 0
    # A sure answer becomes one of two equal ones.
    assert found[0, 0] == pytest.approx(np.log(2), abs=1e-3)
    assert (found.ravel()[1:] == 0).all()


@pytest.mark.parametrize("size", [(120, 60), (60, 120), (90, 90)])
@pytest.mark.parametrize("resize", ["pad", "crop", "squash"])
def test_a_map_comes_back_to_its_place(size: tuple[int, int], resize: str) -> None:
    """A white spot is found again where it was."""
    width, height = size
    preprocess = Preprocess(size_px=64, resize=resize, pad_color=(0, 0, 0))  # type: ignore[arg-type]
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2 - 10, width // 2 - 14
    image[top : top + 6, left : left + 6] = 255
    square = preprocess_array(image, preprocess)[:, :, 0].astype(np.float32)
    back = undone(square, width, height, preprocess)
    assert back.shape == (height, width)
    y, x = np.unravel_index(np.nanargmax(back), back.shape)
    assert top - 1 <= y <= top + 6
    assert left - 1 <= x <= left + 6
    cut_off = resize == "crop"
    assert np.isnan(back).any() == cut_off


def test_place_of_a_padded_image() -> None:
    assert place_in_square(200, 100, Preprocess(size_px=64)) == (0, 16, 64, 32)


def test_an_image_that_lies_on_its_side(tiny_run: Path) -> None:
    predictor = load(tiny_run, device="cpu")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 80, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    found = explain_image(predictor, file.getvalue())
    # As people see it: upright.
    assert found.heat.shape == (80, 40)
    assert found.label in predictor.labels
    with pytest.raises(ConfigError, match="is no label of the model"):
        explain_image(predictor, file.getvalue(), label="other")
