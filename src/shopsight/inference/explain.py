"""Where a model looked in one image, as a map over the image as people see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from shopsight.errors import ConfigError
from shopsight.images.decode import decode
from shopsight.images.model_input import preprocess_image
from shopsight.images.undo_preprocess import undone
from shopsight.inference.class_activation import ClassActivationEngine, occlusion
from shopsight.inference.predictor import Predictor
from shopsight.text import listed

Method = Literal["class activation", "occlusion"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What speaks for a label in one image.

    Attributes:
        label: which.
        method: the exact class-activation map, or parts that were covered one after another.
        cells: of the network's square; what speaks against the label is negative.
        heat: the same over the upright image, NaN where the network saw nothing.
    """

    label: str
    method: Method
    cells: Float32[np.ndarray, "r c"]
    heat: Float32[np.ndarray, "h w"]


def explain_image(
    predictor: Predictor, data: bytes, *, label: str | None = None, where: str | None = None
) -> Explanation:
    """Explain one image.

    Args:
        predictor: the model.
        data: the image file.
        label: what is explained; None: the most probable label.
        where: the file's name, for errors.

    Raises:
        ImageError: the image cannot be read.
        ConfigError: the model has no such label.
    """
    if label is not None and label not in predictor.labels:
        raise ConfigError(
            f"{label!r} is no label of the model",
            where="label",
            details=[f"labels: {listed(predictor.labels)}"],
            fix="name one of them",
        )
    preprocess = predictor.preprocess
    square = preprocess_image(data, preprocess, where=where)
    if label is None:
        label = predictor.labels[int(predictor.predict_batch(square[None])[1].argmax())]
    method, cells = cells_for(predictor, square, label)
    height, width = decode(data, matte=preprocess.matte, where=where).shape[:2]
    return Explanation(label, method, cells, undone(cells, width, height, preprocess))


def cells_for(
    predictor: Predictor, square: UInt8[np.ndarray, "s s 3"], label: str
) -> tuple[Method, Float32[np.ndarray, "r c"]]:
    """What speaks for a label, by the cells of a prepared image: exactly, where the network can."""
    engine, number = predictor.engine, predictor.labels.index(label)
    if isinstance(engine, ClassActivationEngine):
        maps = engine.class_activation(square[None], np.array([number]))
        if maps is not None:
            return "class activation", maps[0]
    color = (255 * np.array(predictor.preprocess.mean)).clip(0, 255).round().astype(np.uint8)
    multilabel = predictor.info.multilabel
    return "occlusion", occlusion(engine, square, number, color=color, multilabel=multilabel)
