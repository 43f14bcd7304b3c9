"""The temperature of a network, fitted on validation images, and how well they determine it.

The negative log likelihood of the true classes y, a mean over n images, is with b = 1/T

    L(b) = mean of [ln sum_k exp(b z_k) - b z_y].

Alone it has no minimum where all images are right, however few they are: T goes to 0 and every
confidence to 1. So u = ln T has a prior, a normal distribution around 0 with standard deviation
s = `LOG_TEMPERATURE_SIGMA`, and what is minimized is the negative log posterior over n,

    L(1/T) + u^2 / (2 s^2 n),

in which the prior counts for less the more images there are. Images of a family are fewer than they
are many: n is divided by the design effect D below, that of the first fit, for a second one.

**Its error.** With p = softmax(b z), image i adds to the slope and to the expected curvature of the
log likelihood over u

    g_i = b (sum_k p_k z_k - z_y),        I_i = b^2 Var_p(z) = E[g_i^2],

the second where the classes are drawn from p. Of independent images I = sum_i I_i is what the
likelihood knows of u, and the posterior has the standard deviation (I + 1 / s^2)^-1/2. Photos of
one product are not independent: with G families, whose m_f slopes sum to g_f, the variance of the
sum of all slopes is

    J = G / (G - 1) sum_f (g_f - m_f mean(g))^2,

and the likelihood knows I / D alone, with the design effect D = max(1, J / I) (Godambe's
information, I^2 / J). It is never taken to know more than of independent images: where none is
wrong, slopes hardly differ, and J is small because nothing was learned. Of fewer than
`FEW_FAMILIES` families, which may all be right, J says too little: D is at least sum m_f^2 / n,
Kish's design effect of families that agree in full. J itself is an estimate from G families: its
square root is widened by Student's t over the normal quantile, with Kish's effective number of
families less one as degrees of freedom. So

    error of ln T = (I / (D (t / 1.96)^2) + 1 / s^2)^-1/2,

and the interval is T exp(+- 1.96 times that). Without images it is the prior's.

With c labels that may hold together L is a mean over labels too, g_i and I_i are, and independent
labels would make J as small as I / c: that is the least there.

Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2; Platt 1999,
"Probabilistic outputs for support vector machines", for the binary case; Godambe 1960, "An optimum
property of regular maximum likelihood estimation"; Ribatet et al. 2012, "Bayesian inference from
composite likelihoods", for its use with a prior.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.special import expit

from shopsight.errors import MetricError
from shopsight.metrics.classification import check_numbers, check_scores
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Z, student_widening
from shopsight.targets import SparseRows, Targets

TEMPERATURE_SPAN = (0.05, 20.0)
LOG_TEMPERATURE_SIGMA = 0.5
"""Standard deviation of ln T before any image is seen: networks need a T between 0.4 and 2.7."""

FEW_FAMILIES = 50
"""Of fewer, images of a family are taken to agree in full."""

CELLS_AT_ONCE = 1 << 22
"""Logits that are computed with in fp64 at once."""

_Loss = Callable[[float], float]


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes:
        value: Logits are divided by it.
        log_error: Standard error of its logarithm.
        families: How many families of images it was fitted on; 0: on none.
    """

    value: float = 1.0
    log_error: float = LOG_TEMPERATURE_SIGMA
    families: int = 0

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value * float(np.exp(-Z * self.log_error))

    @property
    def high(self) -> float:
        """Upper end."""
        return self.value * float(np.exp(Z * self.log_error))

    def to_json(self) -> dict[str, float | int]:
        """Value, ends of the interval and number of families."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "families": self.families,
        }

    def metrics(self) -> dict[str, float | int]:
        """Ends of the interval and number of families, for the metrics of a bundle."""
        return {
            "temperature_low": self.low,
            "temperature_high": self.high,
            "temperature_families": self.families,
        }


def fit_temperature(
    logits: Float[np.ndarray, "n c"], targets: Targets, families: Families | None = None
) -> Temperature:
    """Return the likeliest T in 0.05..20 of `softmax(logits / T)`, given the n images.

    The search runs over ln T, with steps in proportion to T, and uses no random numbers.

    Args:
        logits: Logits of validation images.
        targets: Of these images, see `shopsight.targets`. With several labels per image it is
            `sigmoid` and the binary log loss, whose terms ln(1 + exp(b z)) - y b z are convex too.
        families: Of these images; None: each is one of its own.

    Raises:
        MetricError: No images, shapes that differ, a class out of range, logits that are NaN.
    """
    families = families or Families.alone(len(logits))
    if isinstance(targets, SparseRows):
        if len(logits) == 0 or targets.shape != logits.shape:
            raise MetricError(f"targets of shape {targets.shape} do not go with {logits.shape}")
        check_numbers(logits)
        loss = _sigmoid_loss(logits, targets)
    else:
        check_scores(targets, logits)
        loss = _softmax_loss(logits, targets)
    value = _likeliest(loss, float(len(logits)))
    known = _known(logits, targets, families, 1.0 / value)
    if known.design > 1:
        value = _likeliest(loss, len(logits) / known.design)
        known = _known(logits, targets, families, 1.0 / value)
    return Temperature(value, known.log_error(families), families.count)


def _likeliest(loss: _Loss, num_images: float) -> float:
    """T at the highest posterior."""
    low, high = np.log(TEMPERATURE_SPAN)
    weight = 1.0 / (2.0 * LOG_TEMPERATURE_SIGMA**2 * num_images)
    found = minimize_scalar(
        lambda log_t: loss(np.exp(-log_t)) + weight * log_t**2,
        bounds=(low, high),
        method="bounded",
    )
    return float(np.exp(found.x))


@dataclass(frozen=True)
class _Known:
    """What the likelihood knows of ln T: the information I, and the design effect D."""

    information: float
    design: float

    def log_error(self, families: Families) -> float:
        """The standard error of ln T, as derived above."""
        prior = 1.0 / LOG_TEMPERATURE_SIGMA**2
        if families.count < 2:
            return float(prior**-0.5)
        design = self.design * student_widening(families) ** 2
        return float((self.information / design + prior) ** -0.5)


def _known(
    logits: Float[np.ndarray, "n c"], targets: Targets, families: Families, scale: float
) -> _Known:
    """What is known at b = `scale`."""
    several = isinstance(targets, SparseRows)
    slopes, information = np.empty(len(logits)), np.empty(len(logits))
    for rows in _pieces(*logits.shape):
        z = logits[rows].astype(np.float64)
        if isinstance(targets, SparseRows):
            p = expit(scale * z)
            own = np.asarray(targets[rows].multiply(z).sum(axis=1)).ravel()
            slopes[rows] = ((p * z).sum(axis=1) - own) / z.shape[1]
            information[rows] = (z * z * p * (1.0 - p)).sum(axis=1) / z.shape[1]
        else:
            p = np.exp(scale * (z - z.max(axis=1, keepdims=True)))
            p /= p.sum(axis=1, keepdims=True)
            mean = (p * z).sum(axis=1)
            slopes[rows] = mean - z[np.arange(len(z)), targets[rows]]
            information[rows] = (p * (z - mean[:, None]) ** 2).sum(axis=1)
    known = float(scale**2 * information.sum())
    least = 1.0 / logits.shape[1] if several else 1.0
    if families.count < 2 or not known > 0:
        return _Known(max(known, 0.0), least)
    of_family = families.sums(scale * slopes)
    of_family = of_family - scale * slopes.mean() * families.sizes
    count = families.count
    variance = count / (count - 1) * float((of_family**2).sum())
    if count < FEW_FAMILIES:
        least = max(least, families.num_images / families.effective_count)
    return _Known(known, max(least, variance / known))


def doubt_after(num_images: int) -> float:
    """Return the probability of a mistake that so few validation images cannot rule out.

    Of n images without a mistake, the expected rate of mistakes under a uniform prior is
    1 / (n + 2), by Laplace's rule of succession: seven images that are all right leave one in nine.
    A model that was measured on them must not claim more than that, whatever its logits are. So
    its probabilities p become

        (1 - d) p + d / c,    d = 1 / (n + 2),

    over c labels (with several labels per image, over yes and no), which keeps their order and sum.
    With a thousand images the largest confidence is 99.9 %.

    Args:
        num_images: validation images, of which the temperature may be fitted on a sample; none: 0
            is returned, since probabilities that nothing was fitted for promise nothing.
    """
    return 1.0 / (num_images + 2) if num_images else 0.0


def _softmax_loss(logits: Float[np.ndarray, "n c"], targets: Int[np.ndarray, "n"]) -> _Loss:
    def loss(scale: float) -> float:
        total = 0.0
        for rows in _pieces(*logits.shape):
            scaled = logits[rows].astype(np.float64)
            scaled *= scale
            scaled -= scaled.max(axis=1, keepdims=True)
            truth = scaled[np.arange(len(scaled)), targets[rows]]
            total += float((np.log(np.exp(scaled, out=scaled).sum(axis=1)) - truth).sum())
        return total / len(targets)

    return loss


def _sigmoid_loss(logits: Float[np.ndarray, "n c"], targets: csr_array) -> _Loss:
    # -[y ln s(z) + (1 - y) ln(1 - s(z))] = ln(1 + e^z) - y z, and ln(1 + e^z) without overflow is
    # max(z, 0) + ln(1 + e^-|z|). The second term is left where y = 1 alone.
    rows, labels = targets.nonzero()
    wanted = float(logits[rows, labels].sum(dtype=np.float64))

    def loss(scale: float) -> float:
        total = 0.0
        for piece in _pieces(*logits.shape):
            scaled = logits[piece].astype(np.float64)
            scaled *= scale
            total += float(np.maximum(scaled, 0.0).sum())
            np.negative(np.abs(scaled, out=scaled), out=scaled)
            total += float(np.log1p(np.exp(scaled, out=scaled), out=scaled).sum())
        return (total - scale * wanted) / logits.size

    return loss


def _pieces(rows: int, columns: int) -> Iterator[slice]:
    """Rows of at most `CELLS_AT_ONCE` cells together."""
    step = max(1, CELLS_AT_ONCE // max(1, columns))
    return (slice(first, first + step) for first in range(0, rows, step))
