"""What the desk suggests for each image, and in which order images are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from shopsight import progress
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.items import item_ids
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ConfigError
from shopsight.inference.predictor import Predictor
from shopsight.mislabels.label_judge import open_label_judge
from shopsight.mislabels.ranking import rank_labels
from shopsight.read_options import ReadOptions
from shopsight.runs.discover import is_model
from shopsight.runs.run_folder import RunFolder

Kind = Literal["doubtful", "unlabeled", "unreadable", "agreed"]
"""The given label is doubted; there is none; the file cannot be read; it is the suggested one."""
MOST_SUGGESTIONS = 5


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
    """

    catalog: Catalog
    ids: tuple[str, ...]
    given: tuple[str | None, ...]
    labels: tuple[str, ...]
    suggested: tuple[tuple[int, ...], ...]
    confidence: Float64[np.ndarray, "n"]
    kinds: tuple[Kind, ...]
    suspicion: Float64[np.ndarray, "n"]

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
    )


def _of_catalog(catalog: Catalog, predictor: Predictor) -> Suggestions:
    labels = tuple(predictor.info.labels)
    index = {label: at for at, label in enumerate(labels)}
    given = catalog.table["label"].to_list() if catalog.has("label") else [None] * len(catalog)
    suggested, confidence, kinds = list[tuple[int, ...]](), [], list[Kind]()
    with progress.task("Labeling what is to be looked at", total=len(catalog)) as advance:
        for row, found in enumerate(predictor.predict(catalog.refs(), top=MOST_SUGGESTIONS)):
            first = found.labels[0] if found.labels else None
            suggested.append(tuple(index[label] for label in found.labels))
            confidence.append(found.probabilities[0] if found.probabilities else 0.0)
            kinds.append(_kind(given[row], first))
            advance(1)
    sure = np.array(confidence, np.float64)
    doubted = np.array([kind == "doubtful" for kind in kinds])
    return Suggestions(
        catalog=catalog,
        ids=tuple(item_ids(catalog).to_list()),
        given=tuple(given),
        labels=labels,
        suggested=tuple(suggested),
        confidence=sure,
        kinds=tuple(kinds),
        suspicion=np.where(doubted, sure, 0.0),
    )


def _kind(given: str | None, suggested: str | None) -> Kind:
    if suggested is None:
        return "unreadable"
    if given is None:
        return "unlabeled"
    return "agreed" if given == suggested else "doubtful"
