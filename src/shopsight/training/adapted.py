"""A layer for a search or a head for classes, fitted on kept embeddings, with what it changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64
from torch import nn

from shopsight.catalog.catalog import Catalog
from shopsight.head_settings import HeadSettings
from shopsight.metrics.families import Families
from shopsight.training.adapt_classes import accuracy_change, nearest_classes
from shopsight.training.adapt_head import fit_head, head_logits, mean_directions
from shopsight.training.adapt_parts import (
    TEST_IMAGES,
    TRAIN,
    VAL_IMAGES,
    AdaptParts,
)
from shopsight.training.adapt_search import Change, choose_projection, search_changes
from shopsight.training.calibrate import Calibration, calibrate
from shopsight.training.projection import Projection


@dataclass(frozen=True, eq=False)
class Adapted:
    """What was fitted.

    Attributes:
        changes: by held-out part and metric.
        chosen: what was fitted, for reports.
        projection: the layer; None where the embedding stays.
        head: on the new embedding.
        head_settings: that build it again.
        labels: of its logits.
        calibration: by the validation images.
    """

    changes: dict[str, dict[str, Change]]
    chosen: str
    projection: Projection | None
    head: nn.Module
    head_settings: HeadSettings
    labels: tuple[str, ...]
    calibration: Calibration


def adapted_for_search(
    embeddings: Float32[np.ndarray, "n d"], parts: AdaptParts, *, seed: int
) -> Adapted:
    """A layer that brings what belongs together nearer, and a head on what it gives.

    The head knows the classes that were fitted on; for products it takes their mean directions.

    Args:
        embeddings: of all rows, as the network gives them.
        parts: what each row is for.
        seed: of samples and orders.
    """
    best, settings = choose_projection(embeddings, parts, seed=seed)
    changes = search_changes(embeddings, parts, best.projection, seed=seed)
    outputs = best.projection.outputs(embeddings)
    labels, target = _known(parts)
    head_settings = HeadSettings(kind="direction")
    train, val = parts.rows(TRAIN), parts.rows(VAL_IMAGES)
    if parts.relevant_by == "product":
        head: nn.Module = mean_directions(outputs[train], target[train], len(labels))
    else:
        head = fit_head(
            outputs, target, train, val, head_settings, num_classes=len(labels), seed=seed
        )
    calibration = _calibrated(head, outputs[val], parts.families.take(val), labels, target[val])
    chosen = settings.line(best.passes)
    return Adapted(changes, chosen, best.projection, head, head_settings, labels, calibration)


def adapted_for_classes(
    embeddings: Float32[np.ndarray, "n d"],
    parts: AdaptParts,
    settings: HeadSettings,
    *,
    own: tuple[nn.Module, tuple[str, ...]] | None,
    seed: int,
) -> Adapted:
    """A head on the embedding as it is.

    Args:
        embeddings: of all rows, as the network gives them.
        parts: what each row is for, with no class held out.
        settings: of the head.
        own: the head that the model has, with its labels. Where they are others, or None, it
            answers with the label of the nearest photo.
        seed: of samples and orders.
    """
    train, val, test = (parts.rows(one) for one in (TRAIN, VAL_IMAGES, TEST_IMAGES))
    labels, target = _known(parts)
    test = test[target[test] >= 0]
    head = fit_head(embeddings, target, train, val, settings, num_classes=len(labels), seed=seed)
    changes: dict[str, dict[str, Change]] = {}
    if len(test):
        if own is not None and own[1] == labels:
            before = head_logits(own[0].eval(), embeddings[test]).argmax(axis=1)
        else:
            before = nearest_classes(embeddings[test], embeddings[train], target[train])
        after = head_logits(head, embeddings[test]).argmax(axis=1)
        change = accuracy_change(before, after, target[test], parts.families.take(test))
        changes["images"] = {"accuracy": change}
    families = parts.families.take(val)
    calibration = _calibrated(head, embeddings[val], families, labels, target[val])
    kind = "logistic regression" if settings.kind == "linear" else "two hidden layers"
    return Adapted(changes, kind, None, head, settings, labels, calibration)


def _known(parts: AdaptParts) -> tuple[tuple[str, ...], Int64[np.ndarray, "n"]]:
    """Names of the classes that were fitted on, and each row's number among them, or -1."""
    numbers = np.unique(parts.classes[parts.rows(TRAIN)])
    target = np.full(len(parts.classes), -1, np.int64)
    known = np.isin(parts.classes, numbers)
    target[known] = np.searchsorted(numbers, parts.classes[known])
    return tuple(parts.names[number] for number in numbers.tolist()), target


def _calibrated(
    head: nn.Module,
    embeddings: Float32[np.ndarray, "v d"],
    families: Families,
    labels: tuple[str, ...],
    target: Int64[np.ndarray, "v"],
) -> Calibration:
    """Temperature and doubt by the validation images."""
    if not len(target):
        return Calibration()
    named = pl.DataFrame(
        {
            "image": [str(number) for number in range(len(target))],
            "label": [labels[number] for number in target.tolist()],
        }
    )
    logits = head_logits(head, embeddings)
    return calibrate([logits], Catalog(named, "validation", ""), labels, families=families)
