"""What the routes answer: the JSON of predictions and embeddings, and its description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from shopsight.inference.inputs import Prepared
from shopsight.inference.predictor import Prediction
from shopsight.serve.work_queue import Computed


class ErrorText(BaseModel):
    """Why a request was not done, and what to do."""

    what: str
    fix: str | None


class ErrorAnswer(BaseModel):
    """The answer to a request that was not done."""

    error: ErrorText


class ImageFault(BaseModel):
    """Why an image could not be read: in a word and in a sentence."""

    reason: str
    what: str


class LabelProbability(BaseModel):
    """A label and its calibrated probability."""

    label: str
    probability: float


class HeatMap(BaseModel):
    """Where in the image the network looked, from 0 to 255, row by row."""

    width: int
    height: int
    cells: list[list[int]]


class PredictionAnswer(BaseModel):
    """What the model says of one image; `index` is its place in the request."""

    index: int
    labels: list[LabelProbability]
    predicted: list[str]
    unknown: bool | None
    error: ImageFault | None
    damaged: str | None
    map: HeatMap | None


class PredictionsAnswer(BaseModel):
    """The answer of /v1/predict."""

    predictions: list[PredictionAnswer]


class EmbeddingAnswer(BaseModel):
    """One image's embedding; None where it could not be read."""

    index: int
    vector: list[float] | None
    error: ImageFault | None


class EmbeddingsAnswer(BaseModel):
    """The answer of /v1/embed."""

    embeddings: list[EmbeddingAnswer]


class ItemAnswer(BaseModel):
    """An item of the index; `image` is the path of its thumbnail, where it is on this machine."""

    id: str
    product: str | None
    score: float
    image: str | None
    columns: dict[str, Any]


class ItemsAnswer(BaseModel):
    """The answer of /v1/search, best first."""

    items: list[ItemAnswer]


class ChangeAnswer(BaseModel):
    """What a change of the index did; `size` is how many items it has now."""

    size: int
    added: int = 0
    changed: int = 0
    same: int = 0
    removed: int = 0
    failed: list[str] = []


class StateAnswer(BaseModel):
    """The answer of /healthz and /readyz."""

    status: str


def predictions_json(
    computed: Computed, predictions: list[Prediction], maps: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    """Of predictions, in the order of the request's images; `maps` by their place there."""
    rows = [
        {
            "index": index,
            "labels": [
                {"label": label, "probability": probability}
                for label, probability in zip(one.labels, one.probabilities, strict=True)
            ],
            "predicted": list(one.predicted_labels),
            "unknown": None if one.unknown is None else one.unknown.is_unknown,
            "error": fault_json(image),
            "damaged": one.damaged,
            "map": maps.get(index),
        }
        for index, (one, image) in enumerate(zip(predictions, computed.images, strict=True))
    ]
    return {"predictions": rows}


def embeddings_json(computed: Computed) -> dict[str, Any]:
    """Of the embeddings, in the order of the request's images."""
    vectors: Iterator[list[float]] = iter(computed.outputs[0].tolist())
    return {
        "embeddings": [
            {
                "index": index,
                "vector": None if image.error is not None else next(vectors),
                "error": fault_json(image),
            }
            for index, image in enumerate(computed.images)
        ]
    }


def fault_json(image: Prepared) -> dict[str, str] | None:
    """Why an image could not be read; None of one that could."""
    if image.error is None:
        return None
    return {"reason": image.error.reason, "what": image.error.what}
