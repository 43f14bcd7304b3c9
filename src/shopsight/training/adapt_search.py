"""Choose a layer for a search on kept embeddings, and say what it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from shopsight import progress
from shopsight.errors import TrainingError
from shopsight.memory import memory_budget_bytes
from shopsight.metrics.estimates import difference_of, interval_of
from shopsight.metrics.intervals import Interval
from shopsight.metrics.retrieval import RankedQueries, exact_rankings, score_rankings
from shopsight.text import human_bytes
from shopsight.training.adapt_parts import (
    NOWHERE,
    TEST_CLASSES,
    TEST_IMAGES,
    TRAIN,
    VAL_CLASSES,
    VAL_IMAGES,
    AdaptParts,
)
from shopsight.training.projection import (
    FittedProjection,
    Projection,
    ProjectionSettings,
    fit_projection,
)

METRICS = ("recall_at_1", "mean_average_precision")
DECIDING = "mean_average_precision"
GRID = (
    ProjectionSettings(centered=True, penalty=0.0, margin=0.2),
    ProjectionSettings(centered=True, penalty=3e-3, margin=0.2),
    ProjectionSettings(centered=True, penalty=1e-2),
)
"""What is tried; each also from the model as it is, where centering does not help."""
LOSS_WEIGHT = 5.0
"""How much more than a gain a loss weighs in the choice."""
MOST_FITTED = 100_000
"""Photos that the layer is fitted on; of more, whole classes in a seeded order."""
MOST_JUDGES = 500
"""Queries of each part by which settings are chosen."""
MOST_JUDGED = 20_000
"""Photos among which they search."""
MOST_QUERIES = 5000
"""Queries of each part in the report."""


@dataclass(frozen=True)
class Change:
    """A score before and after, on the same images.

    Attributes:
        before: of the model as it is.
        after: behind the layer or with the new head.
        gain: after less before, paired.
        images: how many were scored.
        classes: how many products or labels they show.
    """

    before: Interval
    after: Interval
    gain: Interval
    images: int
    classes: int

    @property
    def is_gain(self) -> bool:
        """Whether the whole interval of the gain is above zero."""
        return self.gain.is_known and self.gain.low > 0

    @property
    def is_loss(self) -> bool:
        """Whether the whole interval of the gain is below zero."""
        return self.gain.is_known and self.gain.high < 0

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        named = {"before": self.before, "after": self.after, "gain": self.gain}
        numbers: dict[str, object] = {name: one.to_json() for name, one in named.items()}
        return numbers | {"images": self.images, "classes": self.classes}


def check_memory(num_images: int, width: int) -> None:
    """Refuse what would not fit, before the first image is embedded.

    The embeddings are there twice, as the model gives them and behind the layer; a k x d basis and
    a d x d second moment in fp64 come on top.

    Raises:
        TrainingError: it takes more than the work may have; the number is in the message.
    """
    needed = 2 * 4 * num_images * width + 3 * 8 * width * width
    allowed = memory_budget_bytes()
    if needed > allowed:
        raise TrainingError(
            f"{num_images:,} embeddings of {width:,} numbers take {human_bytes(needed)} of memory, "
            f"and the work may have {human_bytes(allowed)}",
            fix="--memory-gb with a larger number, or fewer images",
        )


def choose_projection(
    embeddings: Float32[np.ndarray, "n d"],
    parts: AdaptParts,
    *,
    seed: int,
    grid: tuple[ProjectionSettings, ...] = GRID,
) -> tuple[FittedProjection, ProjectionSettings]:
    """The layer whose settings and number of passes do best on what was held out to choose on.

    It is fitted once more with the images of that part, for as many passes.

    Args:
        embeddings: of all rows, as the network gives them.
        parts: what each row is for.
        seed: of the order of the images, and of samples.
        grid: settings to try.
    """
    judge = _Judge(embeddings, parts, seed=seed)
    train = _fitted_rows(parts, (TRAIN,), seed)
    tried: list[tuple[FittedProjection, ProjectionSettings]] = []
    with progress.task("Fitting", len(grid) + 1, "layers") as advance:
        for settings in _from_better_start(embeddings[train], grid, judge):
            found = fit_projection(
                embeddings[train], parts.classes[train], settings, seed=seed, judge=judge
            )
            tried.append((found, settings))
            advance(1)
        best, settings = max(tried, key=lambda one: one[0].score)
        if best.passes:
            rows = _fitted_rows(parts, (TRAIN, VAL_IMAGES, VAL_CLASSES), seed)
            best = fit_projection(
                embeddings[rows], parts.classes[rows], settings, seed=seed, passes=best.passes
            )
        advance(1)
    return best, settings


def _from_better_start(
    embeddings: Float32[np.ndarray, "n d"], grid: tuple[ProjectionSettings, ...], judge: _Judge
) -> list[ProjectionSettings]:
    """The grid, from the model as it is where centering alone makes the ranking worse."""
    width = embeddings.shape[1]
    plain = Projection.identity(width)
    mean = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    centered = judge(Projection(plain.weight, -mean)) >= judge(plain)
    return [
        ProjectionSettings(centered=centered, penalty=one.penalty, margin=one.margin)
        for one in grid
    ]


class _Judge:
    """What a layer gains on held-out images and on held-out classes, whichever there are.

    A layer that forgets what it was not fitted on gains much on the one and loses on the other.
    So the score is the mean gain of mAP, less `LOSS_WEIGHT` times what any part loses of mAP or
    recall@1: a loss is accepted only where it is a small part of what is gained.
    """

    def __init__(
        self, embeddings: Float32[np.ndarray, "n d"], parts: AdaptParts, *, seed: int
    ) -> None:
        gallery = parts.rows(TRAIN, VAL_IMAGES, VAL_CLASSES)
        rng = np.random.default_rng(seed)
        if len(gallery) > MOST_JUDGED:
            gallery = np.sort(rng.choice(gallery, MOST_JUDGED, replace=False))
        self._embeddings, self._parts, self._gallery = embeddings[gallery], parts, gallery
        self._queries = [
            _sample(np.flatnonzero(parts.part[gallery] == part), MOST_JUDGES, rng)
            for part in (VAL_IMAGES, VAL_CLASSES)
        ]
        self._before = self._scores(Projection.identity(embeddings.shape[1]))

    def __call__(self, projection: Projection) -> float:
        gains = self._scores(projection) - self._before
        if not len(gains):
            # Nothing to choose on: the start is kept.
            return 0.0
        deciding = gains[:, METRICS.index(DECIDING)].mean()
        return float(deciding - LOSS_WEIGHT * np.maximum(-gains, 0.0).sum())

    def _scores(self, projection: Projection) -> Float64[np.ndarray, "parts metrics"]:
        vectors = projection.vectors(self._embeddings)
        scores = []
        for queries in self._queries:
            ranked = _ranked(vectors, self._parts, self._gallery, queries)
            if len(ranked.queries):
                scores.append([float(ranked.values[metric].mean()) for metric in METRICS])
        return np.array(scores, np.float64).reshape(-1, len(METRICS))


def search_changes(
    embeddings: Float32[np.ndarray, "n d"],
    parts: AdaptParts,
    projection: Projection,
    *,
    seed: int,
) -> dict[str, dict[str, Change]]:
    """What a layer changes, see `changes_between`.

    Args:
        embeddings: of all rows, as the network gives them.
        parts: what each row is for.
        projection: the layer.
        seed: of the sample of queries.
    """
    before = Projection.identity(embeddings.shape[1]).vectors(embeddings)
    return changes_between(before, projection.vectors(embeddings), parts, seed=seed)


def changes_between(
    before: Float32[np.ndarray, "n d"],
    after: Float32[np.ndarray, "n e"],
    parts: AdaptParts,
    *,
    seed: int,
) -> dict[str, dict[str, Change]]:
    """What other vectors change, by part ("images", "classes") and metric.

    Queries are the held-out images, or all images of the held-out classes; they search among all
    images, themselves and copies of them left out.

    Args:
        before: unit vectors of all rows.
        after: likewise.
        parts: what each row is for.
        seed: of the sample of queries.
    """
    gallery = np.flatnonzero(parts.part != NOWHERE)
    vectors = {"before": before[gallery], "after": after[gallery]}
    found: dict[str, dict[str, Change]] = {}
    for name, part in (("images", TEST_IMAGES), ("classes", TEST_CLASSES)):
        rng = np.random.default_rng(seed)
        queries = _sample(np.flatnonzero(parts.part[gallery] == part), MOST_QUERIES, rng)
        ranked = {when: _ranked(those, parts, gallery, queries) for when, those in vectors.items()}
        if len(ranked["before"].queries):
            found[name] = _changes(ranked, parts, gallery[queries])
    return found


def _changes(
    ranked: Mapping[str, RankedQueries], parts: AdaptParts, rows: Int64[np.ndarray, "q"]
) -> dict[str, Change]:
    scored = rows[ranked["before"].queries]
    families = parts.families.take(scored)
    changes = {}
    for metric in METRICS:
        before, after = (ranked[when].estimate(metric) for when in ("before", "after"))
        changes[metric] = Change(
            interval_of(before, families),
            interval_of(after, families),
            difference_of(after, before, families),
            len(scored),
            len(np.unique(parts.classes[scored])),
        )
    return changes


def _ranked(
    vectors: Float32[np.ndarray, "g d"],
    parts: AdaptParts,
    gallery: Int64[np.ndarray, "g"],
    queries: Int64[np.ndarray, "q"],
) -> RankedQueries:
    """Score queries, given by their positions in the gallery."""
    classes, contents = parts.classes[gallery], parts.contents[gallery]
    found = exact_rankings(
        vectors[queries],
        vectors,
        query_groups=classes[queries],
        gallery_groups=classes,
        junk=lambda query: np.flatnonzero(contents == contents[queries[query]]),
    )
    return score_rankings(found, len(queries))


def _fitted_rows(parts: AdaptParts, which: tuple[int, ...], seed: int) -> Int64[np.ndarray, "m"]:
    """The rows to fit on: of too many, those of whole classes."""
    rows = parts.rows(*which)
    if len(rows) <= MOST_FITTED:
        return rows
    order = np.random.default_rng(seed).permutation(len(parts.names))
    counts = np.bincount(parts.classes[rows], minlength=len(parts.names))[order]
    chosen = order[np.cumsum(counts) <= MOST_FITTED]
    progress.notify(
        f"the layer is fitted on {len(chosen):,} of {len(parts.names):,} classes, "
        f"{MOST_FITTED:,} photos"
    )
    return rows[np.isin(parts.classes[rows], chosen)]


def _sample(
    rows: Int64[np.ndarray, "n"], most: int, rng: np.random.Generator
) -> Int64[np.ndarray, "m"]:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
