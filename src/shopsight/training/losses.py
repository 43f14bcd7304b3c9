"""Training losses over hard, mixed and many-label targets, and class weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn import functional

from shopsight.config.training_settings import TrainingSettings
from shopsight.errors import ConfigError

# (N - 1) / N for a class of which N = 1,000 images show all there is to see.
EFFECTIVE_BETA = 0.999


def class_weights(
    settings: TrainingSettings, counts: Sequence[int], labels: Sequence[str]
) -> Float[Tensor, " classes"] | None:
    """Weight of each class in the loss, or None for equal weights.

    Args:
        settings: `class_weights` is "none", "balanced", "effective", or a weight per label (1 for
            the labels that it does not name).
        counts: training images of each class, in the order of `labels`; each at least 1.
        labels: the classes.

    Raises:
        ConfigError: the table names an unknown label.

    Source: "balanced": scikit-learn's `compute_class_weight`; "effective": Cui et al. 2019,
        "Class-Balanced Loss Based on Effective Number of Samples".
    """
    chosen = settings.class_weights
    if chosen == "none":
        return None
    count = np.asarray(counts, dtype=np.float64)
    if chosen == "balanced":
        # Each class contributes the same total, count * weight = n / classes, and the mean over
        # all n images is 1.
        weights = count.sum() / (len(count) * count)
    elif chosen == "effective":
        # Images of a class overlap: where it has N distinct ones, the next image is new with
        # probability 1 - seen / N. The expected number seen, E_1 = 1, E_n = 1 + (1 - 1/N) E_(n-1),
        # is (1 - beta^n) / (1 - beta) with beta = 1 - 1/N: n as long as n is small, at most N.
        # Weights are 1 / E_n, scaled to a mean of 1 over the classes.
        weights = (1.0 - EFFECTIVE_BETA) / (1.0 - EFFECTIVE_BETA**count)
        weights = weights / weights.mean()
    else:
        weights = _weights_of_table(chosen, labels)
    return torch.tensor(weights, dtype=torch.float32)


def _weights_of_table(
    table: Mapping[str, float], labels: Sequence[str]
) -> Float64[np.ndarray, " classes"]:
    unknown = sorted(set(table) - set(labels))
    if unknown:
        raise ConfigError(
            f"{len(unknown)} labels of training.class_weights are not in the catalog",
            details=unknown,
        )
    return np.array([table.get(label, 1.0) for label in labels], np.float64)


class ClassificationLoss(nn.Module):
    """Cross-entropy or focal loss with class weights and smoothing, or BCE for many labels.

    With logits z, p = softmax(z), target t (probabilities) and class weights w, an image's loss is

        cross-entropy   sum_c  w_c t_c (-log p_c)
        focal           sum_c  w_c t_c (1 - p_c)^gamma (-log p_c)

    and the batch's loss is the sum over its images divided by sum_(i,c) w_c t_ic, as in torch's
    weighted mean, so that the learning rate means the same with and without weights. The focal
    factor (1 - p_c)^gamma takes out what is already right: at gamma = 2 an image with p = 0.9
    counts a hundredth. Smoothing s replaces t by (1 - s) t + s / classes.

    BCE is the mean over images and labels of -w_c y log q - (1 - y) log(1 - q), q = sigmoid(z);
    smoothing replaces y by (1 - s) y + s / 2.

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
        """Mean loss of a batch.

        Args:
            logits: of any float type; the loss is computed in fp32.
            target: probabilities (rows sum to 1) or, for BCE, zeros and ones.
        """
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
