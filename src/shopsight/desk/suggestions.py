"""What the desk suggests for each image, and in which order images are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from shopsight import progress
from shopsight.audit.file_info import inspect_catalog
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ConfigError
from shopsight.evaluation.copies import duplicate_groups
from shopsight.inference.engine import Outputs
from shopsight.inference.inputs import Prepared
from shopsight.inference.predictor import Predictor
from shopsight.mislabels.label_judge import open_label_judge
from shopsight.mislabels.ranking import rank_labels
from shopsight.read_options import ReadOptions
from shopsight.runs.discover import is_model
from shopsight.runs.run_folder import RunFolder
from shopsight.training.unknown_scores import principal_directions
from shopsight.unit_vectors import directions

Kind = Literal["doubtful", "unlabeled", "unreadable", "agreed"]
"""The given label is doubted; there is none; the file cannot be read; it is the suggested one."""
MOST_SUGGESTIONS = 5
MOST_FITTED = 5_000
"""Images whose principal directions say how photos are compared."""
FEWEST_ALIKE = 10
"""Of fewer images nothing is compared: a screen has room for all."""


@dataclass(frozen=True, eq=False)
class Suggestions:
    """The images of a catalog with what a model says of each.

    Attributes:
        catalog: the images.
        ids: of its rows.
        given: the label of each, None without.
        labels: the classes of the model.
        suggested: for each image the most probable classes, best first, as indices; empty where
            the file cannot be read.
        confidence: of the first of them.
        kinds: why an image is looked at.
        suspicion: from 0 to 1, how much a given label is doubted; images with more come first.
        unknown: whether the model answers "unknown".
        copies: equal for copies of one photo.
        vectors: unit vectors by which photos look alike, zeros where the file cannot be read; of
            no width where every image has a label.
    """

    catalog: Catalog
    ids: tuple[str, ...]
    given: tuple[str | None, ...]
    labels: tuple[str, ...]
    suggested: tuple[tuple[int, ...], ...]
    confidence: Float64[np.ndarray, "n"]
    kinds: tuple[Kind, ...]
    suspicion: Float64[np.ndarray, "n"]
    unknown: Bool[np.ndarray, "n"]
    copies: Int64[np.ndarray, "n"]
    vectors: Float32[np.ndarray, "n d"]

    def __len__(self) -> int:
        return len(self.ids)


def suggest(
    data: str | Path, predictor: Predictor, *, read: ReadOptions | None = None
) -> Suggestions:
    """Find suggestions for the images of a run or a catalog.

    Of a run, labels are doubted as by `shopsight mislabels`: by heads that did not learn from them.
    Of a catalog, the served model says what it would label them.

    Args:
        data: a run, or whatever `open_catalog` reads, labeled or not.
        predictor: the served model.
        read: how DATA is read.

    Raises:
        CatalogError: there are no images.
        ConfigError: an image may have several labels, of which a desk suggests one.
    """
    if is_model(data):
        return _of_run(RunFolder(Path(data)))
    catalog = open_catalog(data, read)
    if not len(catalog):
        raise CatalogError("there is no image to look at", where=str(data))
    if catalog.multilabel or predictor.info.multilabel:
        raise ConfigError(
            "an image may have several labels, and a desk suggests one", where="--review"
        )
    return _of_catalog(catalog, predictor)


def _of_run(run: RunFolder) -> Suggestions:
    judge = open_label_judge(run, device="cpu")
    ranking = rank_labels(judge, judge.given)
    scores = ranking.scores
    probabilities = judge.answers(judge.given)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :MOST_SUGGESTIONS]
    doubted = scores.suggested != judge.given
    return Suggestions(
        catalog=judge.catalog,
        ids=tuple(item_ids(judge.catalog).to_list()),
        given=tuple(judge.labels[code] for code in judge.given.tolist()),
        labels=judge.labels,
        suggested=tuple(map(tuple, best.tolist())),
        confidence=probabilities.max(axis=1),
        kinds=tuple("doubtful" if one else "agreed" for one in doubted.tolist()),
        suspicion=np.asarray(1.0 - ranking.sums, np.float64),
        unknown=np.zeros(len(judge), bool),
        copies=run.audited_catalog().duplicate_group,
        vectors=np.empty((len(judge), 0), np.float32),
    )


def _of_catalog(catalog: Catalog, predictor: Predictor) -> Suggestions:
    given = catalog.table["label"].to_list() if catalog.has("label") else [None] * len(catalog)
    seen = _Seen(predictor, len(catalog), with_vectors=None in given)
    with progress.task("Labeling what is to be looked at", total=len(catalog)) as advance:
        for batch, outputs in predictor.image_batches(catalog):
            seen.add(batch, outputs)
            advance(len(batch))
    kinds = tuple(map(_kind, given, seen.first_labels()))
    sure = np.array(seen.confidence, np.float64)
    doubted = np.array([kind == "doubtful" for kind in kinds])
    return Suggestions(
        catalog=catalog,
        ids=tuple(item_ids(catalog).to_list()),
        given=tuple(given),
        labels=tuple(predictor.labels),
        suggested=tuple(seen.suggested),
        confidence=sure,
        kinds=kinds,
        suspicion=np.where(doubted, sure, 0.0),
        unknown=np.array(seen.unknown, bool),
        copies=duplicate_groups(catalog, inspect_catalog(catalog)),
        vectors=seen.vectors(),
    )


class _Seen:
    """What the model says of the images of a catalog, batch by batch."""

    def __init__(self, predictor: Predictor, count: int, *, with_vectors: bool) -> None:
        self._predictor = predictor
        self._index = {label: at for at, label in enumerate(predictor.labels)}
        width = predictor.info.embedding_dim if with_vectors else 0
        # Halves are near enough to look alike, and 100,000 photos of 1,280 numbers take 256 MB.
        self._vectors = np.zeros((count, width), np.float16)
        self._done = 0
        self.suggested: list[tuple[int, ...]] = []
        self.confidence: list[float] = []
        self.unknown: list[bool] = []

    def add(self, batch: Sequence[Prepared], outputs: Outputs) -> None:
        """The next images, in their order."""
        for one in self._predictor.read_outputs(batch, outputs, top=MOST_SUGGESTIONS):
            self.suggested.append(tuple(self._index[label] for label in one.labels))
            self.confidence.append(one.probabilities[0] if one.probabilities else 0.0)
            self.unknown.append(one.unknown is not None and one.unknown.is_unknown)
        if self._vectors.shape[1]:
            rows = self._done + np.flatnonzero([image.error is None for image in batch])
            self._vectors[rows] = directions(outputs[0])
        self._done += len(batch)

    def first_labels(self) -> list[str | None]:
        """The label that is suggested first for each; None where the file cannot be read."""
        labels = self._predictor.labels
        return [labels[some[0]] if some else None for some in self.suggested]

    def vectors(self) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of what differs most between the images, in few numbers."""
        count, width = self._vectors.shape
        readable = np.flatnonzero([bool(some) for some in self.suggested])
        if not width or len(readable) < FEWEST_ALIKE:
            return np.empty((count, 0), np.float32)
        rng = np.random.default_rng(0)
        some = rng.permutation(readable)[:MOST_FITTED]
        center, basis = principal_directions(self._vectors[some].astype(np.float32))
        found = np.zeros((count, len(basis)), np.float32)
        for rows in np.array_split(readable, 1 + len(readable) // 10_000):
            found[rows] = directions((self._vectors[rows] - center) @ basis.T)
        return found


def _kind(given: str | None, suggested: str | None) -> Kind:
    if suggested is None:
        return "unreadable"
    if given is None:
        return "unlabeled"
    return "agreed" if given == suggested else "doubtful"
