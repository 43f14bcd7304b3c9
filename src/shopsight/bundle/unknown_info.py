"""When a bundle answers "unknown", and its sets of labels; part of model.json.

    unknown.safetensors   what the score of an image is computed with, see `UnknownPart`

An image's score says how much it is like those that the model knows: the higher, the more. It is
computed of its embedding and its logits alone, in NumPy, so that every engine has the same. Nothing
here imports torch or SciPy.

Scores:

    max-probability   the probability of the best label, by the model's temperature
    vim               log sum exp(logits) - scale * |residual of the embedding|, where the residual
                      is what the principal directions of the training embeddings do not explain
    knn               the cosine to the k-th nearest of some training images
    gated     max-probability, less 1 where vim is below a gate: lower than of nearly all known
              images. A product that looks like another is told by its probability, a photo of
              something else by the gate, of which the probability may be sure
    ranks-vim, ranks-knn   the mean of the ranks of max-probability and of the one named among
                      validation images

Source of vim: Wang et al. 2022, "ViM: Out-Of-Distribution with Virtual-logit Matching"; of knn: Sun
et al. 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from pydantic import BaseModel, ConfigDict, Field

from shopsight.activations import softmax
from shopsight.bundle.embedding_space import Digest
from shopsight.unit_vectors import directions

UNKNOWN_FILE = "unknown.safetensors"
MOST_GALLERY = 100_000
MOST_REFERENCES = 100_000
MOST_QUANTILES = 1001
GOLDEN = "golden"

Score = Literal["max-probability", "gated", "vim", "knn", "ranks-vim", "ranks-knn"]
SCORES: tuple[Score, ...] = get_args(Score)
WITH_VIM: tuple[Score, ...] = ("gated", "vim", "ranks-vim")

_Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]


class Measured(BaseModel):
    """A share of images with its 95 % interval.

    Attributes:
        value: of these images.
        low: the lower end; None where there is no interval.
        high: likewise.
        num_images: that it was measured on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: _Share
    low: _Share | None = None
    high: _Share | None = None
    num_images: int = Field(default=0, ge=0)


class LabelSets(BaseModel):
    """Sets that hold the right label as often as was asked.

    Attributes:
        level: as was asked, on average over images of all classes.
        least_probability: a label as probable is in the set; the best one always is.
        reached: on the test images; None without any.
        mean_size: labels in a set, there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Annotated[float, Field(gt=0.0, lt=1.0)]
    least_probability: _Share
    reached: Measured | None = None
    mean_size: Annotated[float, Field(ge=1.0, allow_inf_nan=False)] | None = None


class UnknownInfo(BaseModel):
    """When the answer is "unknown".

    Attributes:
        score: which one.
        threshold: an image is answered from this score on.
        temperature: of the probabilities in the score.
        scale: of "vim".
        gate: of "gated": the value of vim below which an image is far from all that is known.
        neighbors: k of "knn".
        wanted: what the threshold was chosen for on validation images.
        target: how much of it.
        coverage: the fraction of known test images that is answered; None without test images.
        accuracy: of these answers.
        accepted: the fraction of strangers that is answered all the same; None without any.
        strangers: what these were: classes that heads were fitted without, or images of others.
        is_optimistic: the backbone was trained on the classes that stand for strangers.
        sets: of labels; None where none were asked for.
        known: scores of known images at equally spaced quantiles, from the lowest to the highest:
            those of photos to come are held against them.
        sha256: of unknown.safetensors. Filled in when it is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: Score
    threshold: _Finite
    temperature: float = Field(default=1.0, gt=0.0, le=1e6, allow_inf_nan=False)
    scale: float = Field(default=0.0, ge=0.0, le=1e9, allow_inf_nan=False)
    gate: _Finite = 0.0
    neighbors: int = Field(default=1, ge=1, le=1000)
    wanted: Literal["accuracy", "coverage"] = "coverage"
    target: _Share = 0.95
    coverage: Measured | None = None
    accuracy: Measured | None = None
    accepted: _Share | None = None
    strangers: Literal["none", "held-out classes", "negatives"] = "none"
    is_optimistic: bool = False
    sets: LabelSets | None = None
    known: Annotated[tuple[_Finite, ...], Field(max_length=MOST_QUANTILES)] = ()
    sha256: Digest = "0" * 64


@dataclass(frozen=True, eq=False)
class UnknownPart:
    """The score with its numbers, fp32.

    Attributes:
        info: which score, and the threshold.
        tensors: "center" (w) and "basis" (d w) of what has vim in it, "gallery" (m w) of knn,
            "first" and "second" (ascending scores of validation images) of ranks, and "golden": the
            scores that the golden embeddings and logits must give.
    """

    info: UnknownInfo
    tensors: Mapping[str, np.ndarray]

    def scores(
        self, embeddings: Float[np.ndarray, "n w"], logits: Float[np.ndarray, "n c"]
    ) -> Float64[np.ndarray, "n"]:
        """How much each image is like those that the model knows."""
        match self.info.score:
            case "max-probability":
                return self._max_probability(logits)
            case "gated":
                near = self._vim(embeddings, logits) >= self.info.gate
                return self._max_probability(logits) - np.where(near, 0.0, 1.0)
            case "vim":
                return self._vim(embeddings, logits)
            case "knn":
                return self._knn(embeddings)
            case "ranks-vim":
                return self._ranks(logits, self._vim(embeddings, logits))
            case "ranks-knn":
                return self._ranks(logits, self._knn(embeddings))

    def known(
        self, embeddings: Float[np.ndarray, "n w"], logits: Float[np.ndarray, "n c"]
    ) -> Bool[np.ndarray, "n"]:
        """Which images are answered."""
        return self.scores(embeddings, logits) >= self.info.threshold

    def misfits(self, embedding_dim: int, num_golden: int) -> list[str]:
        """What is wrong with the tensors."""
        sizes = {name: one.shape for name, one in self.tensors.items()}
        wanted: dict[str, tuple[int | None, ...]] = {GOLDEN: (num_golden,)}
        kind = self.info.score
        if kind in WITH_VIM:
            wanted |= {"center": (embedding_dim,), "basis": (None, embedding_dim)}
        if "knn" in kind:
            wanted |= {"gallery": (None, embedding_dim)}
        if kind.startswith("ranks"):
            wanted |= {"first": (None,), "second": (None,)}
        wrong = [f"no tensor {name}" for name in wanted.keys() - sizes.keys()]
        wrong += [f"a tensor {name} of no score" for name in sizes.keys() - wanted.keys()]
        for name in sorted(wanted.keys() & sizes.keys()):
            one, shape = self.tensors[name], wanted[name]
            fits = one.ndim == len(shape) and all(
                size is None or size == found for size, found in zip(shape, one.shape, strict=True)
            )
            if not fits or one.dtype != np.float32 or not np.isfinite(one).all() or not one.size:
                wrong.append(f"{name} of shape {one.shape} and type {one.dtype}, not {shape}")
        if not wrong and "knn" in kind and len(self.tensors["gallery"]) < self.info.neighbors:
            wrong.append("fewer images than neighbors")
        return sorted(wrong)

    def _max_probability(self, logits: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, "n"]:
        probabilities = softmax(np.asarray(logits, np.float64) / self.info.temperature)
        best: Float64[np.ndarray, "n"] = probabilities.max(axis=1)
        return best

    def _vim(
        self, embeddings: Float[np.ndarray, "n w"], logits: Float[np.ndarray, "n c"]
    ) -> Float64[np.ndarray, "n"]:
        exact = np.asarray(logits, np.float64)
        top = exact.max(axis=1)
        energy = top + np.log(np.exp(exact - top[:, None]).sum(axis=1))
        lengths = residual_lengths(embeddings, self.tensors["center"], self.tensors["basis"])
        return np.asarray(energy - self.info.scale * lengths)

    def _knn(self, embeddings: Float[np.ndarray, "n w"]) -> Float64[np.ndarray, "n"]:
        cosines = directions(embeddings) @ self.tensors["gallery"].T
        place = cosines.shape[1] - self.info.neighbors
        kth: Float32[np.ndarray, "n"] = np.partition(cosines, place, axis=1)[:, place]
        return kth.astype(np.float64)

    def _ranks(
        self, logits: Float[np.ndarray, "n c"], second: Float64[np.ndarray, "n"]
    ) -> Float64[np.ndarray, "n"]:
        first = self._max_probability(logits)
        pairs = ((first, self.tensors["first"]), (second, self.tensors["second"]))
        return np.asarray(sum(_rank(one, among) for one, among in pairs) / 2)


def residual_lengths(
    embeddings: Float[np.ndarray, "n w"],
    center: Float[np.ndarray, "w"],
    basis: Float[np.ndarray, "d w"],
) -> Float64[np.ndarray, "n"]:
    """The length of what orthonormal directions do not explain: |x|^2 = |B x|^2 + |residual|^2."""
    moved = np.asarray(embeddings, np.float64) - center
    within = moved @ np.asarray(basis, np.float64).T
    squared = np.einsum("nw,nw->n", moved, moved) - np.einsum("nd,nd->n", within, within)
    lengths: Float64[np.ndarray, "n"] = np.sqrt(np.maximum(squared, 0.0))
    return lengths


def _rank(values: Float64[np.ndarray, "n"], among: Float[np.ndarray, "m"]) -> np.ndarray:
    """The place of values in an ascending list, 0 to 1, and a little further beyond its ends."""
    places = np.linspace(0.0, 1.0, len(among))
    inside = np.interp(values, among, places)
    spread = max(float(among[-1] - among[0]), 1e-6)
    # Below the least score of a known image, the further the stranger.
    return np.asarray(inside - np.maximum(among[0] - values, 0.0) / spread)
