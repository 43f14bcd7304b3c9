"""One image explained: the answer, where it comes from in the photo, and what it is like."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from shopsight.errors import ImageError
from shopsight.explanations.training_photos import Nearest, TrainingPhotos
from shopsight.files import sha256_bytes
from shopsight.images.decode import header
from shopsight.images.heat_overlay import decode_for_overlay, overlay
from shopsight.images.model_input import Box, crop_of_box, preprocess_image
from shopsight.images.undo_preprocess import place_in_square, undone
from shopsight.inference.deletion import (
    TOP,
    heat_in_square,
    hottest_first,
    top_share,
    with_covered,
)
from shopsight.inference.explain import Method, MethodChoice, cells_for, covering_color
from shopsight.inference.image_stream import NamedImage
from shopsight.inference.inputs import Prepared, file_of
from shopsight.inference.predictor import Prediction, Predictor
from shopsight.unit_vectors import have_direction, unit_vectors


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """Why an image gets a label.

    Attributes:
        source: its path or URL, or "image 3".
        label: that is explained; empty where the image could not be read, as is all that follows.
        probability: of that label.
        predicted: the model's own labels, the most probable one first.
        is_unknown: the model answers "unknown"; None where it never does.
        method: how it was found what speaks for the label.
        top_share: of all that speaks for the label, the part in the fifth of the photo that says
            most; None where nothing speaks for it.
        covered_probability: of the label, where that fifth is covered.
        overlay: name of the file with the map over the photo.
        nearest: training photos that are like it.
        error: why the image could not be read.
    """

    source: str
    label: str = ""
    probability: float | None = None
    predicted: tuple[str, ...] = ()
    is_unknown: bool | None = None
    method: Method | None = None
    top_share: float | None = None
    covered_probability: float | None = None
    overlay: str = ""
    nearest: Nearest = field(default_factory=Nearest)
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "image": self.source,
            "label": self.label,
            "probability": self.probability,
            "predicted": list(self.predicted),
            "unknown": self.is_unknown,
            "method": self.method,
            "top_share": self.top_share,
            "covered_probability": self.covered_probability,
            "overlay": self.overlay,
            "nearest": [
                {"image": one.name, "label": one.label, "similarity": round(one.similarity, 6)}
                for one in self.nearest.photos
            ],
            "labels_of_this_file": list(self.nearest.own_labels),
            "error": self.error,
        }


@dataclass(frozen=True, eq=False)
class PhotoAndMap:
    """A photo and its map, of one size.

    Attributes:
        photo: upright.
        overlay: the map over it.
    """

    photo: UInt8[np.ndarray, "h w 3"]
    overlay: UInt8[np.ndarray, "h w 3"]


def explain_one(
    predictor: Predictor,
    one: NamedImage,
    *,
    label: str | None,
    method: MethodChoice,
    training: TrainingPhotos | None,
    overlay_name: str,
) -> tuple[ImageExplanation, PhotoAndMap | None]:
    """Explain an image; one that cannot be read has an error and no map.

    Args:
        predictor: the model.
        one: the image.
        label: that is explained; None: the most probable one.
        method: see `shopsight.inference.explain.cells_for`.
        training: where photos like it are looked for; None: nowhere.
        overlay_name: of the file with the map.

    Raises:
        ConfigError: the exact map is asked for, and the network has none.
    """
    try:
        data = file_of(one)
        square = preprocess_image(data, predictor.preprocess, box=one.box, where=one.source)
        photo = decode_for_overlay(data, matte=predictor.preprocess.matte, where=one.source)
    except ImageError as error:
        return ImageExplanation(one.source, error=str(error)), None
    outputs = predictor.predict_batch(square[None])
    (answer,) = predictor.read_outputs([Prepared(one.source, None, None)], outputs)
    explained = answer.labels[0] if label is None else label
    number = predictor.labels.index(explained)
    found, cells = cells_for(predictor, square, explained, method=method)
    known = header(data)
    size = known.width, known.height
    share, covered = _weight_of_top(predictor, square, cells, number, size, one.box)
    shape = photo.shape[:2]
    heat = undone(cells, *size, predictor.preprocess, box=one.box, shape=shape)
    explanation = ImageExplanation(
        source=one.source,
        label=explained,
        probability=float(predictor.probabilities(outputs[1])[0, number]),
        predicted=_own_labels(answer),
        is_unknown=None if answer.unknown is None else answer.unknown.is_unknown,
        method=found,
        top_share=share,
        covered_probability=covered,
        overlay=overlay_name,
        nearest=_nearest(training, outputs[0], data),
    )
    return explanation, PhotoAndMap(photo, overlay(photo, heat))


def _own_labels(answer: Prediction) -> tuple[str, ...]:
    """The labels that the model gives; of one that gives none, the most probable one."""
    return answer.predicted_labels or answer.labels[:1]


def _weight_of_top(
    predictor: Predictor,
    square: UInt8[np.ndarray, "s s 3"],
    cells: Float32[np.ndarray, "r c"],
    number: int,
    size: tuple[int, int],
    box: Box | None,
) -> tuple[float | None, float]:
    """What the map's top region holds, and the label's probability without that region."""
    preprocess = predictor.preprocess
    crop = crop_of_box(box, *size, None)
    heat = heat_in_square(cells, place_in_square(crop.w, crop.h, preprocess), preprocess.size_px)
    covered = with_covered(square, hottest_first(heat), TOP, color=covering_color(predictor))
    logits = predictor.predict_batch(covered[None])[1]
    return top_share(heat), float(predictor.probabilities(logits)[0, number])


def _nearest(
    training: TrainingPhotos | None, embeddings: Float32[np.ndarray, "1 w"], data: bytes
) -> Nearest:
    if training is None or not have_direction(embeddings)[0]:
        return Nearest()
    return training.nearest(unit_vectors(embeddings)[0], sha256_bytes(data))
