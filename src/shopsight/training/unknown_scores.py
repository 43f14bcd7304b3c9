"""The scores by which images are known, fitted on embeddings and logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from shopsight.bundle.unknown_info import (
    SCORES,
    WITH_VIM,
    Score,
    UnknownInfo,
    UnknownPart,
    residual_lengths,
)
from shopsight.unit_vectors import directions

MOST_ROWS = 20_000
"""Images that a score is fitted on, at most."""
GALLERY_ROWS = 2_048
"""Training images that are kept for the nearest ones, at most: ten megabytes of 1,280 numbers."""
NEIGHBORS = 10
MOST_DIRECTIONS = 256
REFERENCES = 256
FAR = 0.02
"""Of known images that the gate keeps out: coverage that it costs at most."""


@dataclass(frozen=True, eq=False)
class EmbeddedImages:
    """What a network says of n images.

    Attributes:
        embeddings: w numbers each.
        logits: of c classes.
        targets: the right class of each; -1 of a stranger.
    """

    embeddings: Float32[np.ndarray, "n w"]
    logits: Float32[np.ndarray, "n c"]
    targets: Int64[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def right(self) -> np.ndarray:
        """Whether each answer is right; never of a stranger."""
        return np.asarray(self.logits.argmax(axis=1) == self.targets)

    def take(self, rows: Int64[np.ndarray, "m"]) -> EmbeddedImages:
        """These images."""
        return EmbeddedImages(self.embeddings[rows], self.logits[rows], self.targets[rows])


def fit_scores(
    train: EmbeddedImages, val: EmbeddedImages, *, temperature: float, seed: int = 0
) -> dict[Score, UnknownPart]:
    """Every score that can be fitted, still without a threshold.

    Args:
        train: images that the network learned from.
        val: known images that it did not, whose scores are the reference of ranks.
        temperature: of the network's logits.
        seed: of which images are kept.
    """
    rng = np.random.default_rng(seed)
    if len(train) > MOST_ROWS:
        train = train.take(np.sort(rng.choice(len(train), MOST_ROWS, replace=False)))
    tensors: dict[str, np.ndarray] = {}
    scale = 0.0
    center, basis = principal_directions(train.embeddings)
    if len(basis):
        tensors |= {"center": center, "basis": basis}
        lengths = residual_lengths(train.embeddings, center, basis)
        tops = train.logits.max(axis=1).astype(np.float64)
        # The virtual logit has the mean size of the largest real one.
        scale = float(max(tops.mean(), 0.0) / max(lengths.mean(), 1e-9))
    tensors["gallery"] = _gallery(train, rng)
    neighbors = max(1, min(NEIGHBORS, len(tensors["gallery"]) // 20))
    found: dict[Score, UnknownPart] = {}
    # vim before what its values are needed for.
    for score in sorted(SCORES, key=lambda one: one in ("gated", "ranks-vim", "ranks-knn")):
        if score in WITH_VIM and not len(basis):
            continue
        info = UnknownInfo(
            score=score,
            threshold=0.0,
            temperature=temperature,
            scale=scale if score in WITH_VIM else 0.0,
            neighbors=neighbors if "knn" in score else 1,
        )
        if score == "gated":
            gate = np.quantile(found["vim"].scores(val.embeddings, val.logits), FAR)
            info = info.model_copy(update={"gate": float(gate)})
        found[score] = UnknownPart(info, _tensors_of(score, tensors, found, val))
    return {score: found[score] for score in SCORES if score in found}


def principal_directions(
    embeddings: Float32[np.ndarray, "n w"],
) -> tuple[Float32[np.ndarray, "w"], Float32[np.ndarray, "d w"]]:
    """Mean and principal directions of embeddings, of which none explain all of them.

    A quarter of the width, at most `MOST_DIRECTIONS`, and fewer than half of the images: what
    images have in common is in them, and a stranger has more of the rest.
    """
    count, width = embeddings.shape
    wanted = min(MOST_DIRECTIONS, width // 4, count // 2)
    exact = embeddings.astype(np.float64)
    center: Float64[np.ndarray, "w"] = exact.mean(axis=0)
    moved = exact - center
    # Eigenvectors of the smaller of the two products: both have the same directions.
    if width <= count:
        _, vectors = np.linalg.eigh(moved.T @ moved)
        basis = vectors[:, ::-1][:, :wanted].T
    else:
        _, _, right = np.linalg.svd(moved, full_matrices=False)
        basis = right[:wanted]
    return center.astype(np.float32), np.ascontiguousarray(basis, np.float32)


def _gallery(train: EmbeddedImages, rng: np.random.Generator) -> Float32[np.ndarray, "m w"]:
    """Unit vectors of some images, of each class as large a share as it has."""
    rows = np.arange(len(train))
    if len(rows) > GALLERY_ROWS:
        shuffled = rng.permutation(len(rows))
        by_class = shuffled[np.argsort(train.targets[shuffled], kind="stable")]
        rows = by_class[np.linspace(0, len(by_class) - 1, GALLERY_ROWS).astype(np.int64)]
    return directions(train.embeddings[rows])


def _tensors_of(
    score: Score,
    tensors: dict[str, np.ndarray],
    found: dict[Score, UnknownPart],
    val: EmbeddedImages,
) -> dict[str, np.ndarray]:
    kept: dict[str, np.ndarray] = {}
    if score in WITH_VIM:
        kept |= {name: tensors[name] for name in ("center", "basis")}
    if "knn" in score:
        kept["gallery"] = tensors["gallery"]
    if score in ("ranks-vim", "ranks-knn"):
        second: Score = "vim" if score == "ranks-vim" else "knn"
        for name, one in (("first", found["max-probability"]), ("second", found[second])):
            scores = np.sort(one.scores(val.embeddings, val.logits))
            places = np.linspace(0, len(scores) - 1, min(REFERENCES, len(scores)))
            kept[name] = scores[places.astype(np.int64)].astype(np.float32)
    return kept
