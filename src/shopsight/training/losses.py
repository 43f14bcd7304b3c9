"""Training losses over hard, mixed and many-label targets, and class weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from shopsight.config.sections import TrainingSettings
from shopsight.errors import ConfigError

EFFECTIVE_BETA = 0.999


def class_weights(
    settings: TrainingSettings, counts: Sequence[int], labels: Sequence[str]
) -> Float[Tensor, " classes"] | None:
    """Weight of each class in the loss, or None for equal weights.

    Args:
        counts: training images of each class, in the order of `labels`; each at least 1.

    Raises:
        ConfigError: the table names an unknown label.
    Source: "balanced" is scikit-learn's n / (classes * count); "effective" is Cui et al. 2019,
        "Class-Balanced Loss Based on Effective Number of Samples", scaled to a mean of 1.
    """
    chosen = settings.class_weights
    if chosen == "none":
        return None
    count = np.asarray(counts, dtype=np.float64)
    if chosen == "balanced":
        weights = count.sum() / (len(count) * count)
    elif chosen == "effective":
        weights = (1.0 - EFFECTIVE_BETA) / (1.0 - EFFECTIVE_BETA**count)
        weights = weights / weights.mean()
    else:
        unknown = sorted(set(chosen) - set(labels))
        if unknown:
            raise ConfigError(
                f"{len(unknown)} labels of training.class_weights are not in the catalog",
                details=unknown,
            )
        weights = np.array([chosen.get(label, 1.0) for label in labels])
    return torch.tensor(weights, dtype=torch.float32)


class ClassificationLoss(nn.Module):
    """Cross-entropy or focal loss with class weights and smoothing, or BCE for many labels.

    Weighted losses are divided by the weights in the batch, as torch's weighted mean is, so that
    the learning rate means the same with and without weights.

    Source: focal: Lin et al. 2017, "Focal Loss for Dense Object Detection"; smoothing: Szegedy et
        al. 2016, "Rethinking the Inception Architecture".
    """

    def __init__(
        self, settings: TrainingSettings, weights: Float[Tensor, " classes"] | None
    ) -> None:
        super().__init__()
        self.kind = settings.loss
        self.smoothing = settings.label_smoothing
        self.gamma = settings.focal_gamma
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(
        self, logits: Float[Tensor, "batch classes"], target: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, ""]:
        """Mean loss. `target` holds probabilities (rows sum to 1) or, for BCE, zeros and ones."""
        logits = logits.float()
        if self.kind == "bce":
            smooth = target * (1.0 - self.smoothing) + 0.5 * self.smoothing
            return functional.binary_cross_entropy_with_logits(
                logits, smooth, pos_weight=self.weights
            )
        if self.smoothing:
            target = target * (1.0 - self.smoothing) + self.smoothing / logits.shape[1]
        log_p = functional.log_softmax(logits, dim=1)
        terms = -target * log_p
        if self.kind == "focal":
            terms = terms * (1.0 - log_p.exp()) ** self.gamma
        if self.weights is None:
            return terms.sum(1).mean()
        weighted = terms * self.weights
        return weighted.sum() / (target * self.weights).sum().clamp_min(1e-12)
