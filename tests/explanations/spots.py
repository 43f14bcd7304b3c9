"""A real network that knows two things by sight, in photos whose place of evidence is known."""

from __future__ import annotations

import io
from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.bundle.format import BundleInfo
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.heads import LinearHead
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess

SIZE_PX = 256
LABELS = ("disc", "stripes")
BACKBONE = "embedded:tf_efficientnet_lite0"
Corners = tuple[int, int, int, int]


def photo(label: str, width: int, height: int, place: Corners, *, seed: int = 0) -> Image.Image:
    """A plain ground with a little noise, and one thing at (left, top, right, bottom)."""
    rng = np.random.default_rng(seed)
    ground = np.full((height, width, 3), rng.integers(110, 200, 3), np.float64)
    ground += rng.normal(0, 4, ground.shape)
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    left, top, right, bottom = place
    if label == "disc":
        pen.ellipse(place, fill=(200, 20, 30))
    else:
        for x in range(left, right, 8):
            pen.rectangle((x, top, x + 3, bottom), fill=(20, 30, 160))
    return image


def file_of(image: Image.Image, *, orientation: int = 1) -> bytes:
    """A JPEG that viewers turn by `orientation`."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    image.save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


@cache
def _head() -> dict[str, torch.Tensor]:
    """The weights of a head that was fitted to 64 photos, by ridge regression."""
    rng = np.random.default_rng(1)
    squares, targets = [], []
    for number in range(64):
        label, size = LABELS[number % 2], int(rng.integers(60, 110))
        left, top = rng.integers(0, SIZE_PX - size, 2).tolist()
        place = (left, top, left + size, top + size)
        squares.append(np.asarray(photo(label, SIZE_PX, SIZE_PX, place, seed=number)))
        targets.append(1.0 if label == "disc" else -1.0)
    network = _network(LinearHead(1280, 2), Preprocess(size_px=SIZE_PX))
    found, _ = TorchEngine(network, device="cpu", precision="32").run(np.stack(squares))
    mean = found.mean(axis=0)
    kernel = (found - mean) @ (found - mean).T
    weight = (found - mean).T @ np.linalg.solve(kernel + np.eye(len(found)), np.array(targets))
    weight, bias = 4 * weight.astype(np.float32), float(-4 * mean @ weight)
    return {
        "classifier.weight": torch.from_numpy(np.stack([weight, -weight])),
        "classifier.bias": torch.tensor([bias, -bias]),
    }


def _network(head: nn.Module, preprocess: Preprocess) -> ProductModel:
    return ProductModel(create_backbone(BACKBONE).module, head, preprocess)


def spot_predictor(resize: Literal["pad", "crop", "squash"] = "pad", **info: Any) -> Predictor:
    """The network behind a way to fit photos into its square."""
    preprocess = Preprocess(size_px=SIZE_PX, resize=resize, pad_color="edge")
    head = LinearHead(1280, 2)
    head.load_state_dict(_head())
    return predictor_of(head, preprocess, LABELS, **info)


def predictor_of(
    head: nn.Module, preprocess: Preprocess, labels: tuple[str, ...], **info: Any
) -> Predictor:
    """A predictor of the backbone with a head."""
    engine = TorchEngine(_network(head, preprocess), device="cpu", precision="32")
    about = BundleInfo(
        backbone=BACKBONE,
        weights="imagenet",
        labels=labels,
        preprocess=preprocess,
        embedding_dim=1280,
        **info,
    )
    return Predictor(engine, about)
