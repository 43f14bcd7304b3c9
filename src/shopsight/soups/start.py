"""The weights that a run began with, and which of them it still shares with its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import lightning
import numpy as np
import torch

from shopsight.backbones.create import create_backbone
from shopsight.backbones.spec import Backbone
from shopsight.bundle.format import BundleInfo
from shopsight.errors import SoupError
from shopsight.io.weights import read_weights
from shopsight.runs.run_folder import RunFolder
from shopsight.soups.shared_start import has_fitted_head, is_random_start
from shopsight.soups.weights import Weights
from shopsight.training.zero_shot import named_classes

NECK = "backbone.neck."
"""What the names of a neck's tensors begin with, see `shopsight.backbones.necks`."""

HeadRole = Literal["interpolated", "refitted", "kept"]
"""What becomes of the head between a run and its start.

interpolated: it was fitted before fine-tuning (a probe, or a text encoder's classes), and both ends
are classifiers of the same labels.
refitted: it was random, and an average with noise is no classifier; a linear one is fitted anew to
each backbone.
kept: it was random and is not linear: that of the end is used with each backbone.

A neck that was new is interpolated in the first case, and that of the end in the others.
"""


@dataclass(frozen=True)
class Start:
    """What a run began with.

    Attributes:
        weights: of the backbone and the head, by the names of the network's state dict; where the
            head is not interpolated, the end's head.
        head: what becomes of the head.
    """

    weights: Weights
    head: HeadRole


def start_of(run: RunFolder, info: BundleInfo, end: Weights) -> Start:
    """The start of a fine-tuned run.

    Args:
        run: the run.
        info: of its bundle.
        end: the weights in the bundle.

    Raises:
        SoupError: the run began with random weights, or its start cannot be had any more.
        WeightsError: the pretrained weights cannot be had.
    """
    if is_random_start(run):
        raise SoupError(
            "began with random weights: between noise and a network lies no network",
            where=str(run.path),
            fix="shopsight soup RUN RUN --uniform ...   (runs of one start)",
        )
    backbone = _backbone_of(run, info)
    if (backbone.name, backbone.weights) != (info.backbone, info.weights):
        raise SoupError(
            "the weights that it began with are not there any more",
            where=str(run.path),
            details=[f"it began with {info.weights}", f"here is {backbone.weights}"],
            fix="bring the file back, or install the library's release that had them",
        )
    start = {name: value for name, value in end.items() if name.startswith("head.")}
    found = backbone.module.state_dict()
    start |= {f"backbone.{name}": value.detach().clone() for name, value in found.items()}
    _check_moved(run, start, end)
    if has_fitted_head(run):
        return Start(start | _fitted_head(run, end), "interpolated")
    if backbone.text is not None:
        return Start(start | _named_head(run, info, backbone), "interpolated")
    if not info.neck.is_none:
        # That no head was fitted to: it is noise at the start, as the head is.
        start |= {name: value for name, value in end.items() if name.startswith(NECK)}
    return Start(start, "refitted" if info.head.kind == "linear" else "kept")


def _backbone_of(run: RunFolder, info: BundleInfo) -> Backbone:
    """The backbone as the run began with it, a new neck by the run's seed."""
    recipe = run.recipe()
    settings = recipe.model
    lightning.seed_everything(recipe.seed, verbose=False)
    return create_backbone(
        settings.backbone,
        weights=settings.weights,
        drop_path=settings.drop_path,
        conv_dropout=settings.conv_dropout,
        size_px=info.preprocess.size_px,
        # The classes of two towers are those of the text encoder, at both ends.
        with_text=recipe.training.mode == "contrastive" and settings.new_text is None,
        neck=settings.neck,
    )


def _check_moved(run: RunFolder, start: Weights, end: Weights) -> None:
    """Refuse a run of which only the head was trained."""
    backbone = [name for name in end if name.startswith("backbone.")]
    if all(start[name].equal(end[name]) for name in backbone):
        raise SoupError(
            "trained its head alone: its backbone is the one that it began with",
            where=str(run.path),
            fix="shopsight train DATA --recipe balanced --out RUN   (fine-tunes)",
        )


def _named_head(run: RunFolder, info: BundleInfo, backbone: Backbone) -> Weights:
    """The classes by the text encoder that a contrastive training began with."""
    tower = backbone.text
    assert tower is not None
    directions = named_classes(
        tower,
        info.labels,
        prompts=run.recipe().zero_shot.prompts,
        device=torch.device("cpu"),
    )
    weight = torch.from_numpy(np.float32(tower.logit_scale) * directions)
    return {"head.classifier.weight": weight, "head.classifier.bias": torch.zeros(len(weight))}


def _fitted_head(run: RunFolder, end: Weights) -> Weights:
    """The classifier that fine-tuning began with, by the names of the network's state dict."""
    fitted = read_weights(run.probe_file, unwrap=False)
    head = {f"head.classifier.{name}": value for name, value in fitted.items()}
    shapes = {name: tuple(value.shape) for name, value in head.items()}
    if any(name not in end or tuple(end[name].shape) != shape for name, shape in shapes.items()):
        raise SoupError(
            "the classifier that it began with has another shape than the one that it ended with",
            where=str(run.probe_file),
            details=[f"{name}: {list(shape)}" for name, shape in shapes.items()],
        )
    return head
