"""A linear layer on kept embeddings, so that photos of one product come nearer to each other.

The layer starts as the model is, or centered at the mean of all embeddings, and is changed in
their principal subspace alone. With the d x k basis V of the first k principal directions, the
mean m and a k x k matrix D that starts at zero,

    y = (I + V D V') (x - m)        W = I + V D V',   b = -W m,

so that at D = 0 the ranking is that of the model itself (m = 0) or of its centered embeddings.
Directions beyond the first k carry a few percent of the variance and stay as they are: k^2
numbers are trained instead of d^2, in the coordinates V'(x - m) alone.

The loss is cross-entropy over cosines to one learned direction per class, which starts at the
mean of its photos, with an angle added to the right one on request (NormFace; ArcFace with a
margin). The penalty is the squared norm of D: what is not needed stays as the model is.

Source: Wang et al. 2017, "NormFace: L2 Hypersphere Embedding for Face Verification"; Deng et al.
2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition".
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn import functional

from shopsight.training.margins import arcface_cosine
from shopsight.unit_vectors import unit_vectors

SUBSPACE = 256
"""Principal directions that are changed; on photos of products they hold 92 % of the variance."""
BATCH_IMAGES = 256
SCALE = 16.0
LR = 2e-3
JUDGED_AFTER = (2, 5, 10, 20, 40, 80)
"""Passes after which a layer is judged; twice in a row no better ends the fit."""
PATIENCE = 2
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class Projection:
    """The layer y = W x + b.

    Attributes:
        weight: W.
        bias: b.
    """

    weight: Float32[np.ndarray, "o d"]
    bias: Float32[np.ndarray, "o"]

    @classmethod
    def identity(cls, width: int) -> Projection:
        """The layer that changes nothing."""
        return cls(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))

    def outputs(self, embeddings: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n o"]:
        """The embeddings behind the layer."""
        found: Float32[np.ndarray, "n o"] = embeddings @ self.weight.T + self.bias
        return found

    def vectors(self, embeddings: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n o"]:
        """`outputs` as unit vectors."""
        pieces = [
            unit_vectors(self.outputs(embeddings[first : first + ROWS_AT_ONCE]))
            for first in range(0, len(embeddings), ROWS_AT_ONCE)
        ]
        return np.concatenate(pieces) if pieces else np.zeros((0, len(self.bias)), np.float32)


@dataclass(frozen=True)
class ProjectionSettings:
    """How a layer is fitted.

    Attributes:
        centered: it starts at the mean of all embeddings, not at zero.
        penalty: on the squared norm of D.
        margin: radians added to the angle to the right class.
    """

    centered: bool
    penalty: float
    margin: float = 0.0

    def line(self, passes: int) -> str:
        """For reports."""
        start = "the centered model" if self.centered else "the model as it is"
        margin = f", margin {self.margin:g}" if self.margin else ""
        return f"{passes} passes from {start}, penalty {self.penalty:g}{margin}"


@dataclass(frozen=True, eq=False)
class FittedProjection:
    """A layer and how it was judged.

    Attributes:
        projection: the best one.
        passes: over the training images until it was there; 0 is the start itself.
        score: by the judge; NaN where none was asked.
    """

    projection: Projection
    passes: int
    score: float


class PrincipalSubspace:
    """The training embeddings in the coordinates in which the layer is fitted.

    Args:
        embeddings: of the training images.
        centered: see `ProjectionSettings`.
    """

    def __init__(self, embeddings: Float32[np.ndarray, "n d"], *, centered: bool) -> None:
        width = embeddings.shape[1]
        mean = embeddings.mean(axis=0, dtype=np.float64)
        second = np.zeros((width, width))
        for first in range(0, len(embeddings), ROWS_AT_ONCE):
            piece = embeddings[first : first + ROWS_AT_ONCE] - mean.astype(np.float32)
            second += piece.T @ piece
        _, directions = np.linalg.eigh(second)
        self.basis = np.ascontiguousarray(directions[:, ::-1][:, :SUBSPACE], np.float32)
        self.center = (mean if centered else np.zeros(width)).astype(np.float32)
        coordinates = torch.from_numpy((embeddings - self.center) @ self.basis)
        # Whatever the network's scale, the first step is as long.
        self.coordinates = coordinates / coordinates.norm(dim=1).mean().clamp_min(1e-12)

    def projection(self, change: Float[Tensor, "k k"]) -> Projection:
        """The layer of a matrix D."""
        width = len(self.basis)
        matrix = change.detach().numpy().astype(np.float32)
        weight = np.eye(width, dtype=np.float32) + self.basis @ matrix @ self.basis.T
        return Projection(weight, -(weight @ self.center))


def fit_projection(
    embeddings: Float32[np.ndarray, "n d"],
    classes: Int64[np.ndarray, "n"],
    settings: ProjectionSettings,
    *,
    seed: int,
    judge: Callable[[Projection], float] | None = None,
    passes: int = JUDGED_AFTER[-1],
    seconds: float | None = None,
) -> FittedProjection:
    """Fit a layer, and keep the one that the judge liked best.

    Args:
        embeddings: of the training images, of any scale.
        classes: of these.
        settings: how.
        seed: of the order of the images.
        judge: a score of a layer, higher is better; None takes the last one.
        passes: over the training images, at most.
        seconds: after which no further pass begins; None is as long as it takes.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    space = PrincipalSubspace(embeddings, centered=settings.centered)
    start = space.projection(torch.zeros(2 * (space.basis.shape[1],)))
    best = FittedProjection(start, 0, judge(start) if judge else math.nan)
    worse = 0
    for done, change in _passes(space, classes, settings, seed=seed, count=passes):
        if judge is None:
            if done == passes or time.monotonic() > deadline:
                return FittedProjection(space.projection(change), done, math.nan)
        elif done in JUDGED_AFTER or done == passes:
            found = space.projection(change)
            score = judge(found)
            worse = 0 if score > best.score else worse + 1
            if score > best.score:
                best = FittedProjection(found, done, score)
        if worse >= PATIENCE or time.monotonic() > deadline:
            break
    return best


def _passes(
    space: PrincipalSubspace,
    classes: Int64[np.ndarray, "n"],
    settings: ProjectionSettings,
    *,
    seed: int,
    count: int,
) -> Iterator[tuple[int, Float[Tensor, "k k"]]]:
    """D after each pass over the images."""
    rows, target = space.coordinates, torch.from_numpy(np.unique(classes, return_inverse=True)[1])
    width, num_classes = rows.shape[1], int(target.max()) + 1
    means = torch.zeros(num_classes, width).index_add_(0, target, functional.normalize(rows, dim=1))
    directions = functional.normalize(means, dim=1).requires_grad_()
    change = torch.zeros(width, width, requires_grad=True)
    optimizer = torch.optim.Adam([change, directions], lr=LR)
    generator = torch.Generator().manual_seed(seed)
    for done in range(1, count + 1):
        order = torch.randperm(len(rows), generator=generator)
        for first in range(0, len(rows), BATCH_IMAGES):
            batch = order[first : first + BATCH_IMAGES]
            moved = functional.normalize(rows[batch] + rows[batch] @ change.T, dim=1)
            cosines = moved @ functional.normalize(directions, dim=1).T
            right = target[batch, None]
            turned = arcface_cosine(cosines.gather(1, right), settings.margin)
            logits = SCALE * cosines.scatter(1, right, turned)
            loss = functional.cross_entropy(logits, target[batch])
            loss = loss + settings.penalty * change.square().sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield done, change
