"""What MLflow calls to open the bundle in a folder that `shopsight push` wrote.

Images come as bytes, in a column: a path would be read on the machine that answers, by anybody who
may ask it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shopsight.errors import ConfigError
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor

IMAGE = "image"
"""The column of bytes."""
TOP = "top"
"""The parameter that says how many labels are given."""


class BundleModel:
    """What MLflow's `PyFuncModel` wraps."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Label the images of a table.

        Args:
            model_input: a pandas DataFrame with the column `image`, bytes of an image file each.
            params: `top`, the number of labels.

        Returns:
            A DataFrame with a row for each image: the best label with its probability, the best
            `top` of both, all that are assigned, whether the image is unknown (None where the model
            never says so), and why it could not be read.

        Raises:
            ConfigError: there is no such column, or it holds something else.
        """
        import pandas as pd

        images = _images(model_input)
        top = int((params or {}).get(TOP, 5))
        top = max(1, min(top, len(self._predictor.labels)))
        rows = [
            {
                "label": found.labels[0] if found.error is None else None,
                "probability": found.probabilities[0] if found.error is None else None,
                "labels": list(found.labels),
                "probabilities": [float(one) for one in found.probabilities],
                "predicted_labels": list(found.predicted_labels),
                "unknown": None if found.unknown is None else found.unknown.is_unknown,
                "error": found.error,
            }
            for found in self._predictor.predict(images, top=top, on_error="report")
        ]
        return pd.DataFrame(rows, index=model_input.index)


def _images(table: Any) -> list[bytes]:
    if IMAGE not in getattr(table, "columns", ()):
        raise ConfigError(f"no column {IMAGE!r}", where="model_input", fix=f"one column, {IMAGE}")
    images = list(table[IMAGE])
    for image in images:
        if not isinstance(image, bytes | bytearray | memoryview):
            raise ConfigError(
                f"{IMAGE} holds {type(image).__name__}, where bytes of an image file are read",
                where="model_input",
                fix='pandas.DataFrame({"image": [open(path, "rb").read()]})',
            )
    return [bytes(image) for image in images]


def _load_pyfunc(path: str) -> BundleModel:
    """The name that MLflow looks for.

    Args:
        path: of the bundle in the folder.
    """
    return BundleModel(load(path))
