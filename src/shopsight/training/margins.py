r"""Classification with a margin: an image must lie nearer to its class than an answer would need.

A cosine head has logits z_c = s cos(t_c), t_c the angle between an embedding and the direction of
class c. Cross-entropy is content as soon as t_y of the right class y is a little smaller than the
others: classes touch. Here the logit of the right class is lowered in training,

    CosFace    z_y = s (cos(t_y) - m)
    ArcFace    z_y = s cos(t_y + m)

so that the right class must win by m, in cosines or in radians. What is near in angle is then of
one class, also of classes that no training saw, which is what a search needs. No margin is left in
the bundle: its logits are s cos(t_c).

**Without the angle.** With c = cos(t), cos(t + m) = c cos(m) - sqrt(1 - c^2) sin(m). The derivative
of the root, -c / sqrt(1 - c^2), is infinite at c = 1, as that of the arc cosine is, and rounding
puts c there (in bf16 from .998 on). So 1 - c^2 is clamped from below at 1e-6, an angle of 0.06
degrees: the slope is at most 1,000, and 0 where the clamp holds. That large slope does no harm: c
itself changes by sin(t) per radian, and (1 / sin(t)) sin(t) = 1.

**Beyond pi - m**, cos(t + m) would rise again, and reward an image for being on the far side. Where
c < cos(pi - m) = -cos(m), c - m sin(m) takes its place, which falls with t everywhere.

**How large m can be.** The right class has more than half of the probability if

    exp(z_y) > sum over the others of exp(z_c).

In many dimensions the others are about at right angles, z_c = 0, and the sum is N - 1. Even an
image on its class, t_y = 0, reaches that only if s cos(m) > ln(N - 1), or s (1 - m) > ln(N - 1):

    ArcFace    m < arccos(ln(N - 1) / s)          CosFace    m < 1 - ln(N - 1) / s

With N = 10,300 and s = 30 that is m < 1.26; at m = .8 an image must come within .46 rad = 26
degrees. A network that begins at 70 degrees finds no way there: the margin begins small and grows
with the epochs. A schedule that would pass the limit is refused before training.

Sources: Deng et al. 2019, "ArcFace"; Wang et al. 2018, "CosFace".
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from shopsight.config.loss_settings import MARGIN_LOSSES, MetricSettings
from shopsight.config.recipe import Recipe
from shopsight.config.training_settings import TrainingSettings
from shopsight.errors import ConfigError
from shopsight.models.heads import CosineHead, full_precision
from shopsight.training.losses import ClassificationLoss
from shopsight.training.objective import Objective

OWN_MARGINS = {"arcface": 0.3, "cosface": 0.2}
"""Where `metric.margin` is unset."""
LEAST_SQUARED_SINE = 1e-6


def arcface_cosine(cosine: Float[Tensor, "*b"], margin: float) -> Float[Tensor, "*b"]:
    """cos(t + margin) of cos(t), or below its lowest point the line that goes on falling.

    Args:
        cosine: of the angle, in fp32.
        margin: in radians, from 0 to pi / 2.
    """
    sine = (1.0 - cosine * cosine).clamp_min(LEAST_SQUARED_SINE).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), turned, cosine - margin * math.sin(margin))


def margin_of(loss: str, settings: MetricSettings, epoch: int) -> float:
    """The margin in an epoch, counted from 0."""
    first = OWN_MARGINS[loss] if settings.margin is None else settings.margin
    return max(first, min(settings.margin_most, first + settings.margin_step * epoch))


def largest_margin(loss: str, *, scale: float, num_classes: int) -> float:
    """The margin at which an image on its class has half of the probability; 0 where none has.

    Args:
        loss: "arcface" or "cosface".
        scale: of the head.
        num_classes: number of classes, at least 2.
    """
    share = math.log(num_classes - 1) / scale
    if share >= 1.0:
        return 0.0
    return math.acos(share) if loss == "arcface" else 1.0 - share


def check_margin(recipe: Recipe, *, num_classes: int) -> None:
    """Refuse a margin that grows past what its loss allows.

    Args:
        recipe: `training.loss`, `training.epochs`, `metric` and `model.head.scale` count.
        num_classes: number of classes.

    Raises:
        ConfigError: it does, in an epoch that the error names.
    """
    loss, scale = recipe.training.loss, recipe.model.head.scale
    if loss not in MARGIN_LOSSES:
        return
    limit = largest_margin(loss, scale=scale, num_classes=num_classes)
    epochs = recipe.training.epochs
    if margin_of(loss, recipe.metric, epochs - 1) < limit:
        return
    # Margins only grow.
    first = next(n for n in range(epochs) if margin_of(loss, recipe.metric, n) >= limit)
    margin = margin_of(loss, recipe.metric, first)
    larger = max(math.ceil(2.0 * math.log(num_classes - 1)), math.ceil(scale) + 1)
    fixes = [f"--set model.head.scale={larger}   (a larger scale)"]
    if limit:
        where = "margin_most" if first else "margin"
        fixes.insert(0, f"--set metric.{where}={math.floor(90.0 * limit) / 100.0:g}")
    raise ConfigError(
        f"the margin of {loss} is {margin:.3g} in epoch {first + 1}, but {num_classes:,} classes "
        f"at scale {scale:g} allow less than {limit:.3g}: above, not even an image that lies on "
        "its class has half of the probability",
        where="metric.margin_most" if first else "metric.margin",
        fix="\n".join(f"{number}. {fix}" for number, fix in enumerate(fixes, start=1)),
    )


class MarginObjective(Objective):
    """ArcFace or CosFace on the logits of a cosine head, with a margin that grows by epochs.

    Args:
        settings: of the loss; smoothing and class weights work as for cross-entropy.
        metric: the margin and its schedule.
        head: whose logits are given; its scale is what they are divided by.
        weights: of each class, or None.

    Attributes:
        margin: of the present epoch.
    """

    figures = ("margin", "target_angle_deg")

    def __init__(
        self,
        settings: TrainingSettings,
        metric: MetricSettings,
        head: CosineHead,
        weights: Float[Tensor, " classes"] | None,
    ) -> None:
        super().__init__()
        self._kind, self._metric = settings.loss, metric
        plain = settings.model_copy(update={"loss": "cross-entropy"})
        self.loss = ClassificationLoss(plain, weights)
        # In a tuple: as an attribute it would be a part of this module, too.
        self._heads = (head,)
        self.margin = margin_of(self._kind, metric, 0)

    def begin_epoch(self, epoch: int) -> None:
        self.margin = margin_of(self._kind, self._metric, epoch)

    def forward(self, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        with full_precision(logits.device):
            scale = self._heads[0].scale()
            true, cosine = self._true_cosines(logits, target)
            if self._kind == "arcface":
                moved = arcface_cosine(cosine, self.margin)
            else:
                moved = cosine - self.margin
            loss: Tensor = self.loss(logits.float().scatter(1, true, scale * moved), target)
            return loss

    def measure(self, embedding: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        _, cosine = self._true_cosines(logits, target)
        angle = torch.rad2deg(cosine.clamp(-1.0, 1.0).acos()).mean()
        return torch.stack([torch.full_like(angle, self.margin), angle])

    def _true_cosines(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The right class of each image and the cosine to it, each "b 1"."""
        true = target.argmax(1, keepdim=True)
        return true, logits.float().gather(1, true) / self._heads[0].scale()
