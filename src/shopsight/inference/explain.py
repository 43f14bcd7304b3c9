"""Where a model looked in one image, as a map over the image as people see it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from shopsight.errors import ConfigError
from shopsight.images.decode import header
from shopsight.images.model_input import Box, preprocess_image
from shopsight.images.undo_preprocess import undone
from shopsight.inference.class_activation import ClassActivationEngine, occlusion
from shopsight.inference.predictor import Predictor
from shopsight.text import listed

Method = Literal["class activation", "occlusion"]
MethodChoice = Literal["auto", "cam", "occlusion"]


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
    predictor: Predictor,
    data: bytes,
    *,
    label: str | None = None,
    where: str | None = None,
    box: Box | None = None,
    method: MethodChoice = "auto",
) -> Explanation:
    """Explain one image.

    Args:
        predictor: the model.
        data: the image file.
        label: what is explained; None: the most probable label.
        where: the file's name, for errors.
        box: the part of the image that counts; None is the whole image.
        method: see `cells_for`.

    Raises:
        ImageError: the image cannot be read.
        ConfigError: the model has no such label, or no exact map where one is asked for.
    """
    if label is not None:
        check_label(predictor, label)
    preprocess = predictor.preprocess
    square = preprocess_image(data, preprocess, box=box, where=where)
    if label is None:
        label = predictor.labels[int(predictor.predict_batch(square[None])[1].argmax())]
    found, cells = cells_for(predictor, square, label, method=method)
    known = header(data, where=where)
    heat = undone(cells, known.width, known.height, preprocess, box=box)
    return Explanation(label, found, cells, heat)


def check_label(predictor: Predictor, label: str) -> None:
    """Refuse a label that the model does not have.

    Raises:
        ConfigError: it is none; the error names those that are like it.
    """
    if label in predictor.labels:
        return
    plain = {one.casefold(): one for one in reversed(predictor.labels)}
    near = difflib.get_close_matches(label.casefold(), plain, n=3, cutoff=0.6)
    raise ConfigError(
        f"{label!r} is no label of the model",
        where="label",
        details=[
            *(f"did you mean {plain[one]!r}?" for one in near),
            f"labels: {listed(predictor.labels)}",
        ],
        fix="name one of them",
    )


def covering_color(predictor: Predictor) -> UInt8[np.ndarray, "3"]:
    """The color that says least to the network: the mean of the images it was made for."""
    mean = 255 * np.array(predictor.preprocess.mean)
    return np.asarray(mean.clip(0, 255).round(), np.uint8)


def cells_for(
    predictor: Predictor,
    square: UInt8[np.ndarray, "s s 3"],
    label: str,
    *,
    method: MethodChoice = "auto",
) -> tuple[Method, Float32[np.ndarray, "r c"]]:
    """What speaks for a label, by the cells of a prepared image.

    Args:
        predictor: the model.
        square: the image.
        label: one of the model's.
        method: "auto" is the exact map where the network has one, else occlusion.

    Raises:
        ConfigError: the exact map is asked for, and the network has none.
    """
    engine, number = predictor.engine, predictor.labels.index(label)
    if method != "occlusion" and isinstance(engine, ClassActivationEngine):
        maps = engine.class_activation(square[None], np.array([number]))
        if maps is not None:
            return "class activation", maps[0]
    if method == "cam":
        why = (
            "its logits are no linear function of the mean over a feature map, or the engine does "
            "not give that"
        )
        if predictor.preprocess.average:
            why = "it averages several views of an image, whose cells lie in different places"
        raise ConfigError(
            f"this network has no exact map on {engine.name}: {why}",
            where="--method",
            fix="--method occlusion",
        )
    color, multilabel = covering_color(predictor), predictor.info.multilabel
    return "occlusion", occlusion(engine, square, number, color=color, multilabel=multilabel)
