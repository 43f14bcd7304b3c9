"""The model card: a bundle's README.md, for the person who receives the folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shopsight.bundle.format import BundleInfo
from shopsight.control_characters import one_line
from shopsight.text import counted

# Punctuation that means something anywhere, at the start of a line, or in an address, which many
# viewers turn into a link by themselves.
_MARKUP = re.compile(r"[\\`*_\[\]<>&|~#@$]|^\s*[-+=]|:(?=//)|(?<=www)\.", re.IGNORECASE)


def model_card(
    info: BundleInfo,
    metrics: Mapping[str, Any],
    *,
    address: str = "model",
    scores: str = "The test score, with its interval, is in the run's `report.html` and\n"
    "`metrics.json`.",
) -> str:
    """Markdown that names the data, the score, the usage and the labels of a model.

    Args:
        info: Description of the model.
        metrics: `val_accuracy` and `val_images` of the model, or a list of such under `folds`.
        address: What `shopsight.load` is given.
        scores: What is said of the test score.
    """
    synthetic = (
        " These images were **rendered by a program**, not photographed." if info.synthetic else ""
    )
    labels = "\n".join(f"- {plain(label)}" for label in info.labels)
    return f"""# {plain(info.recipe or "A shopsight model")}

Trained on {_code(info.catalog)} (fingerprint {_code(info.catalog_fingerprint[:16])}) from
{_code(info.backbone)}, weights: {plain(info.weights)}.{synthetic}

{_score(metrics)} {scores}

    import shopsight
    model = shopsight.load("{address}")
    for prediction in model.predict(["photo.jpg"]):
        print(prediction.labels[0], prediction.probabilities[0])

Input: any image file, which is resized to {info.preprocess.size_px} x {info.preprocess.size_px}
pixels ("{info.preprocess.resize}"). Probabilities are calibrated with temperature
{_temperature(info, metrics)}{_doubt(info)}.{_products(info)}

{_framing(info, metrics)}

## Labels

{labels}
"""


def plain(text: str) -> str:
    """Text that Markdown shows as it is: no link, no image, no tag, no heading."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))


def _code(text: str) -> str:
    """Text as code, between more backticks than it has in a row itself."""
    text = one_line(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " * ("`" in text)
    return f"{fence}{space}{text}{space}{fence}"


def _framing(info: BundleInfo, metrics: Mapping[str, Any]) -> str:
    """What of an image the network sees, and why, where it was measured."""
    searched = metrics.get("framing")
    line = str(searched.get("line", "")) if isinstance(searched, Mapping) else ""
    # A line that says of another framing why it was chosen explains nothing here.
    if info.preprocess.framing not in line:
        line = f"framing: {info.preprocess.framing}"
    if info.preprocess.average:
        views = info.preprocess.views
        line += f"; {views} views of each image are averaged, which cost {views} times one"
    boxes = (
        " It sees the part of an image in its box, and answers no image without one."
        if info.preprocess.boxes
        else ""
    )
    return f"{plain(line[:1].upper() + line[1:])}.{boxes}"


def _temperature(info: BundleInfo, metrics: Mapping[str, Any]) -> str:
    """The temperature, and its interval where that is known."""
    low, high = metrics.get("temperature_low"), metrics.get("temperature_high")
    if low is None or high is None:
        return f"{info.temperature:.3f}"
    return f"{info.temperature:.2f} ({low:.2f} to {high:.2f})"


def _products(info: BundleInfo) -> str:
    """How several photos of one product are read; empty where nothing was fitted on products."""
    if info.by_product is None:
        return ""
    fitted = info.by_product
    return (
        "\nSeveral photos of one product are calibrated with temperature "
        f"{fitted.temperature:.3f}, fitted on {counted(fitted.products, 'product')}."
    )


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
            f"Validation accuracy {metrics['val_accuracy']:.2%} on {metrics['val_images']} images, "
            "on which the checkpoint and settings were chosen: a little too high."
        )
    folds = [fold["val_accuracy"] for fold in metrics.get("folds", []) if "val_accuracy" in fold]
    if folds:
        return (
            f"Validation accuracy of the models of {len(folds)} folds: {min(folds):.2%} to "
            f"{max(folds):.2%}, on images on which their checkpoints and settings were chosen: a "
            "little too high."
        )
    return "No validation score."
