"""The mixing function of SplitMix64: 64 bits in, 64 bits out, each depending on all.

It is the finalizer of Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators",
with the constants that Stafford found by search (his variant 13). Shifting right and adding
without carry, and multiplying by an odd number modulo 2^64, can each be undone: the function is a
bijection, so that different inputs never collide.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt64

# 2^64 divided by the golden ratio, made odd: the step between the states of SplitMix64.
GOLDEN_GAMMA = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
_FIRST_FACTOR, _SECOND_FACTOR = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mix64(values: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Return each value mixed. Arrays only: NumPy's scalars warn where uint64 wraps around."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST_FACTOR)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND_FACTOR)
    mixed: UInt64[np.ndarray, "*shape"] = values ^ (values >> np.uint64(31))
    return mixed


def mix64_int(value: int) -> int:
    """Return one value mixed, as `mix64`; any integer is taken modulo 2^64."""
    value &= MASK
    value = ((value ^ (value >> 30)) * _FIRST_FACTOR) & MASK
    value = ((value ^ (value >> 27)) * _SECOND_FACTOR) & MASK
    return value ^ (value >> 31)
