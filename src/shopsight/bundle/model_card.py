"""The model card: a bundle's README.md, for the person who receives the folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shopsight.bundle.format import BundleInfo
from shopsight.errors import one_line

# What Markdown and HTML take as their own.
_MARKS = re.compile(r"[\\`*_\[\]<>&|#!~]")


def model_card(info: BundleInfo, metrics: Mapping[str, Any]) -> str:
    """Markdown that names the data, the score, the usage and the labels of a model.

    Args:
        info: Description of the model.
        metrics: `val_accuracy` and `val_images` of the model, or a list of such under `folds`.
    """
    synthetic = (
        " These images were **rendered by a program**, not photographed." if info.synthetic else ""
    )
    labels = "\n".join(f"- {_as_text(label)}" for label in info.labels)
    return f"""# {_as_text(info.recipe) or "A shopsight model"}

Trained on {_as_code(info.catalog)} (fingerprint `{info.catalog_fingerprint[:16]}`) from
`{info.backbone}`, weights: {_as_text(info.weights)}.{synthetic}

{_score(metrics)} The test score, with its interval, is in the run's `report.html` and
`metrics.json`.

    import shopsight
    model = shopsight.load("model")
    for prediction in model.predict(["photo.jpg"]):
        print(prediction.labels[0], prediction.probabilities[0])

Input: any image file, which is resized to {info.preprocess.size_px} x {info.preprocess.size_px}
pixels ("{info.preprocess.resize}"). Probabilities are calibrated with temperature
{info.temperature:.3f}{_doubt(info)}.

## Labels

{labels}
"""


def _as_text(text: str) -> str:
    """The text on one line, none of it Markdown or HTML: names and labels come from data."""
    return _MARKS.sub(r"\\\g<0>", one_line(text))


def _as_code(text: str) -> str:
    return "`" + one_line(text).replace("`", "'") + "`"


def _doubt(info: BundleInfo) -> str:
    """How sure the model can be at most; empty where that is not bounded."""
    if not info.doubt:
        return ""
    share = 0.5 if info.multilabel else 1.0 / len(info.labels)
    most = 1.0 - info.doubt * (1.0 - share)
    return f", and none is above {most:.1%}: no more was shown by the validation images"


def _score(metrics: Mapping[str, Any]) -> str:
    if "val_accuracy" in metrics:
        return (
            f"Validation accuracy {metrics['val_accuracy']:.2%} on {metrics['val_images']} images."
        )
    folds = [fold["val_accuracy"] for fold in metrics.get("folds", []) if "val_accuracy" in fold]
    if folds:
        return (
            f"Validation accuracy of the models of {len(folds)} folds: {min(folds):.2%} to "
            f"{max(folds):.2%}."
        )
    return "No validation score."
