"""What a layer on the probe's features would bring to a search: said before any fine-tuning.

The features are there already, so that it takes a second or two: one layer with fixed settings,
fitted on a sample of the training images and judged on the validation images, which decide
nothing. `adapt` chooses its settings, and may bring more.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.items import products
from shopsight.catalog.linked_rows import codes_of
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.text import command_line
from shopsight.training.adapt_parts import NOWHERE, TEST_IMAGES, TRAIN, AdaptParts
from shopsight.training.adapt_search import DECIDING, Change, search_changes
from shopsight.training.projection import ProjectionSettings, fit_projection
from shopsight.training.standard_rows import Features

SETTINGS = ProjectionSettings(centered=True, penalty=3e-3, margin=0.2)
PASSES = 10
MOST = {"train": 3000, "val": 500}
FEWEST = {"train": 100, "val": 30}
"""Images below which nothing is said."""
FEWEST_CLASSES = 2


def adapt_outlook(
    audited: AuditedCatalog,
    features: Mapping[str, tuple[Int64[np.ndarray, "n"], Features]],
    *,
    seed: int,
) -> Change | None:
    """What a layer gains in mAP on the validation images, searched for among the training images.

    Args:
        audited: the images of the run.
        features: of "train" and "val": rows, and the features of each of them.
        seed: of the samples and the order of the images.

    Returns:
        None where the images have several labels and no products, are too few, or none has
        another one to find.
    """
    known = products(audited.catalog)
    if known is None and audited.catalog.multilabel:
        return None
    column = audited.catalog.table["label"] if known is None else known
    rng, pieces, rows = np.random.default_rng(seed), [], []
    for name, most in MOST.items():
        of_split, found = features[name]
        if len(of_split) < FEWEST[name]:
            return None
        some = np.arange(len(of_split))
        if len(some) > most:
            some = np.sort(rng.choice(some, most, replace=False))
        rows.append(of_split[some])
        pieces.append(np.asarray(found[some], np.float32))
    parts = _parts(audited.take(np.concatenate(rows)), column[np.concatenate(rows)], len(rows[0]))
    fitted = parts.rows(TRAIN)
    if parts.num_classes(TRAIN) < FEWEST_CLASSES:
        return None
    embeddings = np.concatenate(pieces)
    layer = fit_projection(
        embeddings[fitted], parts.classes[fitted], SETTINGS, seed=seed, passes=PASSES
    ).projection
    changes = search_changes(embeddings, parts, layer, seed=seed)
    return changes["images"][DECIDING] if "images" in changes else None


def _parts(audited: AuditedCatalog, column: pl.Series, num_train: int) -> AdaptParts:
    """The first rows train, the others test."""
    classes = codes_of(column)
    part = np.where(np.arange(len(audited)) < num_train, TRAIN, TEST_IMAGES)
    part[classes < 0] = NOWHERE
    return AdaptParts(
        "product" if products(audited.catalog) is not None else "label",
        classes,
        (),
        part,
        audited.families(),
        audited.duplicate_group,
    )


def outlook_line(change: Change, model: str) -> str:
    """One line for people.

    Args:
        change: in mAP.
        model: the backbone.
    """
    gain = change.gain
    ends = f" ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})" if gain.is_known else ""
    return (
        f"search with these features: mAP {change.before.value:.1%}; a layer on them "
        f"({command_line(['shopsight', 'adapt', model])}) would bring {100 * gain.value:+.1f} "
        f"points{ends}"
    )
