"""Logits become numbers between 0 and 1: softmax and sigmoid, in NumPy alone.

What serves a bundle computes them for each answer, and is installed without SciPy.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64


def softmax(logits: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, "n c"]:
    """exp(logit), with each row scaled to sum 1.

    A row's largest logit is taken away first, which changes nothing of the quotient
    exp(x - m) / sum exp(x - m) and lets no power overflow.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    probabilities: Float64[np.ndarray, "n c"] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def sigmoid(logits: Float[np.ndarray, "n c"]) -> Float64[np.ndarray, "n c"]:
    """1 / (1 + exp(-logit)).

    With e = exp(-|x|), which is at most 1, it is 1 / (1 + e) of positive and e / (1 + e) of
    negative logits: nothing overflows, and small probabilities keep all their digits.
    """
    power = np.exp(-np.abs(logits.astype(np.float64)))
    probabilities: Float64[np.ndarray, "n c"] = np.where(logits >= 0, 1.0, power) / (1.0 + power)
    return probabilities
