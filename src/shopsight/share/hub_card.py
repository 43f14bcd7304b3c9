"""The model card as the Hub reads it: what it is, and how good it was measured to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shopsight.bundle.format import Bundle, BundleInfo
from shopsight.bundle.model_card import model_card, plain
from shopsight.errors import DamagedFileError
from shopsight.io.hub import HubName
from shopsight.io.json_files import read_json_table
from shopsight.paths import is_file
from shopsight.runs.discover import run_of
from shopsight.share.yaml_text import yaml_text
from shopsight.text import counted

# Names of the Hub for metrics of ours.
_METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "mean_average_precision": ("mean_average_precision", "Mean average precision"),
    "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
    "macro_f1": ("f1", "Macro F1"),
}
_PARTS = {"test": "test", "out-of-fold": "validation"}


@dataclass(frozen=True)
class Figure:
    """A metric on images that did not train the model.

    Attributes:
        kind: the Hub's name of the metric.
        title: for people.
        value: measured.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
    """

    kind: str
    title: str
    value: float
    low: float | None
    high: float | None

    def line(self) -> str:
        """For people."""
        if self.low is None or self.high is None:
            return f"{self.title} {self.value:.2%}"
        return f"{self.title} {self.value:.2%} (95 % interval {self.low:.2%} to {self.high:.2%})"


@dataclass(frozen=True)
class Figures:
    """What was measured on one part of the data.

    Attributes:
        split: "test" or "validation".
        images: what they are, in words.
        num_images: how many.
        figures: the metrics, the quoted one first.
        is_optimistic: the images chose the checkpoint or settings.
    """

    split: str
    images: str
    num_images: int
    figures: tuple[Figure, ...]
    is_optimistic: bool

    def sentence(self) -> str:
        """For people."""
        what = "; ".join(one.line() for one in self.figures)
        text = f"{what}, on {counted(self.num_images, 'image')} ({self.images})."
        return text + (" They chose the checkpoint: a little too high." * self.is_optimistic)


def find_figures(bundle: Bundle) -> Figures | None:
    """The scores that the bundle's run reported, else the validation score in the bundle."""
    run = run_of(bundle.folder)
    if run is not None and is_file(run.scores_file):
        try:
            parts = read_json_table(run.scores_file)
        except DamagedFileError:
            parts = {}
        for name, split in _PARTS.items():
            found = _of_part(parts.get(name), split, f"{name} images")
            if found is not None:
                return found
    accuracy, count = bundle.metrics.get("val_accuracy"), bundle.metrics.get("val_images")
    if not (isinstance(accuracy, float) and isinstance(count, int)):
        return None
    figure = Figure("accuracy", "Accuracy", accuracy, None, None)
    return Figures("validation", "validation images", count, (figure,), is_optimistic=True)


def _of_part(part: Any, split: str, images: str) -> Figures | None:
    if not isinstance(part, Mapping):
        return None
    written, count = part.get("metrics"), part.get("counts", {}).get("images")
    if not isinstance(written, Mapping) or not isinstance(count, int):
        return None
    figures = []
    for name, (kind, title) in _METRICS.items():
        found = written.get(name)
        if isinstance(found, Mapping) and isinstance(found.get("value"), float):
            figures.append(Figure(kind, title, found["value"], found.get("low"), found.get("high")))
    headline = _METRICS.get(str(part.get("headline")), ("", ""))[0]
    figures.sort(key=lambda one: one.kind != headline)
    if not figures:
        return None
    return Figures(split, images, count, tuple(figures), is_optimistic=False)


def hub_card(
    name: HubName,
    info: BundleInfo,
    metrics: Mapping[str, Any],
    figures: Figures | None,
    *,
    license: str | None = None,
) -> str:
    """README.md of a repository on the Hub: its front matter, then the model card.

    Args:
        name: of the repository.
        info: the description that is shared.
        metrics: content of metrics.json.
        figures: see `find_figures`.
        license: the Hub's word for the license under which the model is given away.
    """
    about: dict[str, Any] = {} if license is None else {"license": license}
    about |= {
        "library_name": "shopsight",
        "pipeline_tag": "image-classification",
        "tags": ["shopsight", "image-classification", "product-photos"],
    }
    if figures is not None:
        about["model-index"] = [
            {"name": name.repo.partition("/")[2], "results": [_result(info, figures)]}
        ]
    # The first score is in the card already where there is no other.
    known = figures is not None and not figures.is_optimistic
    scores = f"Test score: {plain(figures.sentence())}" if known and figures else ""
    body = model_card(info, metrics, address=str(name), scores=scores)
    return f"---\n{yaml_text(about)}---\n\n{body}\n{_HOW_TO}"


def _result(info: BundleInfo, figures: Figures) -> dict[str, Any]:
    return {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {
            "type": "product-photos",
            "name": info.catalog or "product photos",
            "split": figures.split,
        },
        "metrics": [
            {
                "type": one.kind,
                "name": f"{one.line()}, {counted(figures.num_images, 'image')}",
                "value": round(one.value, 6),
            }
            for one in figures.figures
        ],
    }


_HOW_TO = """## What is in here

A bundle of shopsight (`pip install shopsight`): weights as safetensors, a description,
golden outputs for a few rendered images, and exports where there are any. Nothing in it is code.
`shopsight.load` compares the hashes and computes the golden outputs before it answers. Name a
commit behind the address (`@COMMIT`) and the model is the same for ever.
"""
