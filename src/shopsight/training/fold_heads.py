"""Heads that are fitted on kept embeddings, each without a fold of products.

Each product is answered by the head that was fitted without it; a product that is new to all of
them by their mean, which is one linear head again. That is a head like those which say how often
the answers are right, if anything a better one: what they promise holds for it. The run's own head
may be worse: from a category of five products its split takes one to validate and one to test, and
trains on three; of the folds each keeps one out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from shopsight.config.model_settings import ProbeSettings
from shopsight.config.training_settings import TrainingSettings
from shopsight.loading.class_sampling import ClassSampling
from shopsight.metrics.families import Families
from shopsight.models.heads import LinearHead
from shopsight.runs.run_folder import RunFolder
from shopsight.training.losses import class_weights
from shopsight.training.probe import Probe, fit_probe
from shopsight.training.standard_rows import Features

FOLDS = 5


@dataclass(frozen=True)
class HeadFit:
    """How a run's own head was fitted, and new ones are.

    Attributes:
        labels: the classes.
        probe: the penalty that the run's head has, where it is such a head; else those to try.
        training: class weights, and how often images of each class are drawn.
        seed: of the run.
    """

    labels: tuple[str, ...]
    probe: ProbeSettings
    training: TrainingSettings
    seed: int = 0

    @classmethod
    def of(cls, run: RunFolder, labels: tuple[str, ...]) -> HeadFit:
        """As in this run."""
        recipe, penalty = run.recipe(), run.state().get("probe_penalty")
        probe = recipe.probe
        if penalty is not None:
            probe = probe.model_copy(update={"penalties": (penalty,)})
        return cls(labels, probe, recipe.training, recipe.seed)

    def class_weights(self, targets: Int64[np.ndarray, "n"]) -> Tensor | None:
        """Of the classes, by these images; a class without any weighs as one with one."""
        counts = np.maximum(np.bincount(targets, minlength=len(self.labels)), 1)
        return class_weights(self.training, counts.tolist(), self.labels)

    def row_weights(self, targets: Int64[np.ndarray, "n"]) -> Tensor:
        """How often an epoch draws each of these images."""
        sampling = "balanced" if self.training.sampling == "pxk" else self.training.sampling
        expected = ClassSampling(targets, num_classes=len(self.labels), sampling=sampling).expected
        return torch.from_numpy(expected).float()


@dataclass(frozen=True, eq=False)
class FoldHeads:
    """The heads of all folds.

    Attributes:
        logits: of each image, by the head that was fitted without it.
        weight: the mean of the heads.
        bias: likewise.
    """

    logits: Float32[np.ndarray, "n c"]
    weight: Float[Tensor, "c w"]
    bias: Float[Tensor, " c"]

    def mean_head(self) -> LinearHead:
        """The mean of the heads, for what is new to all of them."""
        num_classes, width = self.weight.shape
        head = LinearHead(width, num_classes)
        with torch.no_grad():
            head.classifier.weight.copy_(self.weight)
            head.classifier.bias.copy_(self.bias)
        return head.eval()


def fit_fold_heads(
    features: Features,
    targets: Int64[np.ndarray, "n"],
    families: Families,
    *,
    how: HeadFit,
    device: torch.device,
    learned: Bool[np.ndarray, "n"] | None = None,
) -> FoldHeads:
    """Fit a head without each fold.

    Args:
        features: of the images.
        targets: their classes.
        families: of the images; a family is in one fold.
        how: how each head is fitted; of several penalties the next fold chooses, which the head
            then does not train on.
        device: where heads are fitted.
        learned: the images that heads are fitted on; None: all. All are answered.
    """
    is_learned = np.ones(len(targets), bool) if learned is None else learned
    fold_of = deal_folds(targets, families, seed=how.seed)
    logits = np.zeros((len(targets), len(how.labels)), np.float32)
    probes: list[Probe] = []
    for fold in np.unique(fold_of).tolist():
        chooses = fold_of == (fold + 1) % FOLDS if len(how.probe.penalties) > 1 else fold_of < 0
        train = np.flatnonzero((fold_of != fold) & ~chooses & is_learned)
        kept_out, val = np.flatnonzero(fold_of == fold), np.flatnonzero(chooses & is_learned)
        probe = fit_probe(
            torch.as_tensor(features[train]),
            targets[train],
            torch.as_tensor(features[val]),
            targets[val],
            settings=how.probe,
            weights=how.class_weights(targets[train]),
            row_weights=how.row_weights(targets[train]),
            num_classes=len(how.labels),
            device=device,
        )
        answers = torch.as_tensor(features[kept_out]) @ probe.weight.T + probe.bias
        logits[kept_out] = answers.numpy()
        probes.append(probe)
    weight = torch.stack([one.weight for one in probes]).mean(dim=0)
    return FoldHeads(logits, weight, torch.stack([one.bias for one in probes]).mean(dim=0))


def deal_folds(
    targets: Int64[np.ndarray, "n"], families: Families, *, seed: int, count: int = FOLDS
) -> Int64[np.ndarray, "n"]:
    """The fold of each image: families as a whole, those of each class one fold after another.

    Args:
        targets: the class of each image; of a family that of its first image counts.
        families: of the images.
        seed: of the order within a class.
        count: folds.
    """
    _, first = np.unique(families.of_image, return_index=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    order = np.lexsort((shuffled, targets[first]))
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % count
    dealt: Int64[np.ndarray, "n"] = fold[families.of_image]
    return dealt
