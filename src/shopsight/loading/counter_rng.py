"""Random numbers that belong to a sample, not to a moment.

Every draw is a hash of (seed, epoch, sample, purpose, position). Nothing is shared and nothing
advances, so the composition of batches, the number of threads, the ranks of a distributed run and
an interruption change no draw.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from jaxtyping import Float64, Int64, UInt64

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Purpose(IntEnum):
    """What a draw is for: draws of two purposes are independent of each other."""

    ORDER = 1
    AUGMENT = 2
    MIX = 3
    OFFLINE_CHOICE = 4
    OFFLINE_IMAGE = 5


def uniforms(
    seed: int,
    epoch: int,
    samples: Int64[np.ndarray, "b"],
    count: int,
    *,
    purpose: Purpose = Purpose.AUGMENT,
) -> Float64[np.ndarray, "b {count}"]:
    """`count` uniform numbers in [0, 1) for each sample id.

    Source: the finaliser of SplitMix64, Steele, Lea and Flood 2014, "Fast splittable pseudorandom
    number generators", as a counter-based generator.
    """
    bits = _bits(seed, epoch, samples, count, purpose)
    # 53 bits are what a float64 holds: every value is exact, and 1.0 never comes out.
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, count: int) -> Int64[np.ndarray, "{count}"]:
    """The numbers 0..count-1 in an order drawn for this (seed, epoch)."""
    ranks = _bits(seed, epoch, np.arange(count, dtype=np.int64), 1, Purpose.ORDER)
    return np.argsort(ranks[:, 0], kind="stable").astype(np.int64, copy=False)


def _bits(
    seed: int, epoch: int, samples: Int64[np.ndarray, "b"], count: int, purpose: Purpose
) -> UInt64[np.ndarray, "b {count}"]:
    key = _mixed_int(_mixed_int(_mixed_int(seed) + epoch) + purpose)
    # 0-d arrays and scalars warn when uint64 wraps around, arrays do not: stay with arrays.
    state = _mixed(samples.astype(np.uint64) + np.array([key], dtype=np.uint64))
    steps = np.array([(_GOLDEN * (1 + step)) & _MASK for step in range(count)], dtype=np.uint64)
    return _mixed(state[:, None] + steps[None, :])


def _mixed(values: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: UInt64[np.ndarray, "*shape"] = values ^ (values >> np.uint64(31))
    return mixed


def _mixed_int(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
