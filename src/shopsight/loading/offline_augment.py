"""Offline augmentation: extra training samples, made once and the same in every epoch.

A sample is a catalog row together with a kind: kind 0 is the image as it is, kind k its
k-th variant. Nothing is written to disk; the variant is made from the cached image when it is
read, always with the same random numbers.

Source: the six kinds and the fraction of 24.5 % each are those of the Product-650 work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from shopsight.loading.counter_rng import Purpose, uniforms
from shopsight.loading.geometric import fill_colors, flip_into, warp, warp_matrices
from shopsight.loading.photometric import NOISE_OFFSETS, add_noise, erase
from shopsight.preprocess import Color, PadColor

OfflineKind = Literal["hflip", "vflip", "rotate", "crop", "noise", "box"]
AS_IS = 0
# The index in this tuple is part of every sample's id: append only.
KINDS: tuple[OfflineKind, ...] = ("hflip", "vflip", "rotate", "crop", "noise", "box")

ROTATE_DEG = 30.0
CROP_SIDE = 0.8
NOISE_STD = 25.0
BOX_AREA = 0.1

_KIND_BITS = 48
_COPY_BITS = 32
_MOST_COPIES = 1 << (_KIND_BITS - _COPY_BITS)


@dataclass(frozen=True)
class Samples:
    """What an epoch consists of.

    Attributes:
        rows: Catalog rows.
        kinds: 0 for the image as it is, else 1 + the index in `KINDS`.
        copies: 0, or for a sample that the epoch has several times its number among them: each is
            augmented in its own way.
    """

    rows: Int64[np.ndarray, "n"]
    kinds: Int64[np.ndarray, "n"]
    copies: Int64[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Int64[np.ndarray, "m"]) -> Samples:
        """Return the samples at these indices."""
        return Samples(self.rows[index], self.kinds[index], self.copies[index])

    def repeated(self, copies: Int64[np.ndarray, "n"]) -> Samples:
        """Return the same samples with these numbers of copies."""
        return replace(self, copies=copies)

    @property
    def variant_ids(self) -> Int64[np.ndarray, "n"]:
        """One number for each (row, kind); the row itself for kind 0."""
        ids: Int64[np.ndarray, "n"] = self.rows + (self.kinds << _KIND_BITS)
        return ids

    @property
    def ids(self) -> Int64[np.ndarray, "n"]:
        """One number for each (row, kind, copy), copies beyond 65,536 as the first ones."""
        ids: Int64[np.ndarray, "n"] = self.variant_ids + (
            (self.copies % _MOST_COPIES) << _COPY_BITS
        )
        return ids


def identity(rows: Int64[np.ndarray, "n"]) -> Samples:
    """Return the images of these rows, each once, as they are."""
    rows = np.asarray(rows, np.int64)
    return Samples(rows, np.full(len(rows), AS_IS, np.int64), np.zeros(len(rows), np.int64))


def offline_samples(
    rows: Int64[np.ndarray, "n"], *, kinds: Sequence[OfflineKind], fraction: float, seed: int
) -> Samples:
    """Return the extra samples: for each kind a fraction of the rows, chosen anew for each kind.

    Args:
        rows: Catalog rows.
        kinds: What is made of them.
        fraction: Fraction of the rows for each kind; the number is exact (rounded).
        seed: With the row alone it decides which rows are chosen; their order does not matter.
    """
    rows = np.sort(np.asarray(rows, np.int64))
    extra = identity(rows[:0])
    for kind in kinds:
        index = KINDS.index(kind)
        chosen = identity(_chosen(rows, index, fraction, seed))
        extra = concat(extra, replace(chosen, kinds=np.full(len(chosen), 1 + index, np.int64)))
    return extra


def concat(*several: Samples) -> Samples:
    """Return all samples, one after another."""
    return Samples(
        np.concatenate([samples.rows for samples in several]),
        np.concatenate([samples.kinds for samples in several]),
        np.concatenate([samples.copies for samples in several]),
    )


def apply_offline(
    images: UInt8[np.ndarray, "b s s 3"], samples: Samples, *, seed: int, fill: PadColor
) -> UInt8[np.ndarray, "b s s 3"]:
    """Return each sample's variant; images of kind 0 stay the same bytes.

    "hflip" and "vflip" mirror; "rotate" turns by 30 degrees, left or right; "crop" keeps a window
    of 80 % of the side, anywhere; "noise" adds a standard deviation of 25 of 255; "box" covers a
    tenth of the image with a random color.

    Args:
        images: Images of the samples' rows.
        samples: The samples, with their kinds.
        seed: Seed of the run, not of the epoch: a variant is the same in all epochs.
        fill: The color outside the image of "rotate".
    """
    changed = np.flatnonzero(samples.kinds != AS_IS)
    if not len(changed):
        return images
    out = images.copy()
    rand = uniforms(seed, 0, samples.variant_ids[changed], 8, purpose=Purpose.OFFLINE_IMAGE)
    fills = fill_colors(images[changed], fill)
    for numbers, color, i in zip(rand, fills, changed.tolist(), strict=True):
        _make(KINDS[int(samples.kinds[i]) - 1], images[i], out[i], numbers=numbers, fill=color)
    return out


def _chosen(
    rows: Int64[np.ndarray, "n"], kind: int, fraction: float, seed: int
) -> Int64[np.ndarray, "m"]:
    rand = uniforms(seed, 0, rows, len(KINDS), purpose=Purpose.OFFLINE_CHOICE)[:, kind]
    return np.sort(rows[np.argsort(rand, kind="stable")[: round(fraction * len(rows))]])


def _make(
    kind: OfflineKind,
    image: UInt8[np.ndarray, "s s 3"],
    out: UInt8[np.ndarray, "s s 3"],
    *,
    numbers: Float64[np.ndarray, "8"],
    fill: Color,
) -> None:
    first, second, third, fourth, fifth = numbers[:5].tolist()
    match kind:
        case "hflip" | "vflip":
            flip_into(image, out=out, hflip=kind == "hflip", vflip=kind == "vflip")
        case "rotate":
            turn = ROTATE_DEG if first < 0.5 else -ROTATE_DEG
            _window(image, out, scale=1.0, rotate_deg=turn, x=0.0, y=0.0, fill=fill)
        case "crop":
            x, y = ((2 * value - 1) * (1 - CROP_SIDE) / 2 for value in (first, second))
            _window(image, out, scale=CROP_SIDE, rotate_deg=0.0, x=x, y=y, fill=fill)
        case "noise":
            x_px, y_px = int(first * NOISE_OFFSETS), int(second * NOISE_OFFSETS)
            add_noise(out, std=NOISE_STD, x=x_px, y=y_px, negative=third < 0.5)
        case "box":
            red, green, blue = (int(256 * value) for value in (first, second, third))
            erase(out, area=BOX_AREA, aspect=1.0, x=fourth, y=fifth, color=(red, green, blue))


def _window(
    image: UInt8[np.ndarray, "s s 3"],
    out: UInt8[np.ndarray, "s s 3"],
    *,
    scale: float,
    rotate_deg: float,
    x: float,
    y: float,
    fill: Color,
) -> None:
    side, off = len(image), np.array([False])
    matrix = warp_matrices(
        source_px=side,
        target_px=side,
        hflip=off,
        vflip=off,
        scale=np.array([scale]),
        rotate_rad=np.deg2rad([rotate_deg]),
        stretch=np.ones(1),
        shift=np.array([[x, y]]),
    )
    warp(image, matrix[0], out=out, fill=fill, reduction=scale)
