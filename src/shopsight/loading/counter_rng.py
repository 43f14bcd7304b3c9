"""Random numbers that belong to a sample, not to a moment.

A usual generator has a state that each number advances: the numbers an image gets depend on how
many were taken before, and so on the order of the images, the threads, and where a run was
stopped. Here nothing advances. SplitMix64 gives as its k-th number mix(s + k g), with a seed s and
a constant g: the states are equally spaced, so that the k-th can be had without the ones before
it. That makes it a counter-based generator (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3"). With s a hash of (seed, epoch, purpose, sample), every number is a function of
(seed, epoch, purpose, sample, k) alone. The composition of batches, the number of threads, the
ranks of a distributed run and an interruption change no number.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from shopsight.splitmix import GOLDEN_GAMMA, MASK, mix64, mix64_int


class Purpose(IntEnum):
    """What a number is for: numbers of two purposes are independent of each other."""

    ORDER = 1
    AUGMENT = 2
    MIX = 3
    OFFLINE_CHOICE = 4
    OFFLINE_IMAGE = 5
    SAMPLING = 6


def uniforms(
    seed: int,
    epoch: int,
    samples: Int64[np.ndarray, "b"],
    count: int,
    *,
    purpose: Purpose = Purpose.AUGMENT,
) -> Float64[np.ndarray, "b {count}"]:
    """Return `count` uniform numbers in [0, 1) for each sample id.

    Source: SplitMix64 (Steele, Lea & Flood 2014) as a counter-based generator; see the module.
    """
    bits = _bits(seed, epoch, samples, count, purpose)
    # 53 bits are what a float64 holds: every value is exact, and 1.0 never comes out.
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, count: int) -> Int64[np.ndarray, "{count}"]:
    """Return the numbers 0..count-1 in a random order that belongs to this (seed, epoch).

    Each number gets 64 random bits, and the numbers are sorted by them. Two of n numbers have the
    same bits with probability n^2 / 2^65 at most, so that all orders are as good as equally likely.
    """
    ranks = _bits(seed, epoch, np.arange(count, dtype=np.int64), 1, Purpose.ORDER)
    return np.argsort(ranks[:, 0], kind="stable").astype(np.int64, copy=False)


def _bits(
    seed: int, epoch: int, samples: Int64[np.ndarray, "b"], count: int, purpose: Purpose
) -> UInt64[np.ndarray, "b {count}"]:
    # Mixed after each part: sums alone would make (seed 0, epoch 1) and (seed 1, epoch 0) equal.
    key = 0
    for part in (seed, epoch, purpose):
        key = mix64_int(key + part + GOLDEN_GAMMA)
    state = mix64(samples.astype(np.uint64) + np.array([key], dtype=np.uint64))
    steps = [((1 + step) * GOLDEN_GAMMA) & MASK for step in range(count)]
    return mix64(state[:, None] + np.array(steps, dtype=np.uint64)[None, :])
