"""Augmentation on one core: one fused warp, against torchvision's transforms per sample.

    python bench/bench_augment.py

Rates are images per second of processor time, so that other work on the machine counts little.
"""

from __future__ import annotations

import os

# One core is the unit: no library may use a second one.
os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torchvision.transforms import InterpolationMode, v2

from shopsight.config.augment_settings import AugmentSettings
from shopsight.loading.augment import augment

COUNT = 128
WARP_ONLY = AugmentSettings(color_jitter_prob=0.0)
EVERYTHING = AugmentSettings(
    hue=0.1,
    noise_prob=0.67,
    blur_prob=0.75,
    blur_kinds=("box", "gaussian", "median"),
    random_erasing_prob=0.5,
)


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    images = photos(224)
    jitter = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)
    peers = {
        "torchvision v2 per sample: warp": torchvision_rate(images, [affine(), flip()]),
        "torchvision v2 per sample: warp, color": torchvision_rate(
            images, [affine(), flip(), v2.RandomApply([jitter], 0.8)]
        ),
    }
    warp_peer, color_peer = peers.values()
    for name, rate in peers.items():
        print(f"{name:44s} {rate:10,.0f} img/s")
    cases = {
        "ours: warp, 224 -> 224": (images, WARP_ONLY, 224, warp_peer),
        "ours: warp, 256 -> 224": (photos(256), WARP_ONLY, 224, warp_peer),
        "ours: warp, color (the default)": (images, AugmentSettings(), 224, color_peer),
        "ours: the default, 224 -> 160": (images, AugmentSettings(), 160, color_peer),
        "ours: the default, 224 -> 128": (images, AugmentSettings(), 128, color_peer),
        "ours: every change": (images, EVERYTHING, 224, color_peer),
        "ours: flip only": (
            images,
            AugmentSettings(affine_prob=0.0, color_jitter_prob=0.0),
            224,
            warp_peer,
        ),
        "ours: 28 px, warp, erase": (
            photos(28, 64 * COUNT),
            AugmentSettings(color_jitter_prob=0.0, random_erasing_prob=0.25),
            28,
            None,
        ),
    }
    for name, (source, settings, size_px, peer) in cases.items():
        rate = our_rate(source, settings, size_px)
        print(f"{name:44s} {rate:10,.0f} img/s" + (f" {rate / peer:8.1f}x" if peer else ""))


def photos(side: int, count: int = COUNT) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (min(count, COUNT), side, side, 3)).astype(np.uint8)
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in noise])
    return smooth.repeat(count // len(smooth), axis=0)


def our_rate(images: np.ndarray, settings: AugmentSettings, size_px: int) -> float:
    samples, epoch = np.arange(len(images)), iter(range(10**6))

    def run() -> None:
        for start in range(0, len(images), 32):
            part = slice(start, start + 32)
            augment(
                images[part],
                samples[part],
                settings=settings,
                seed=0,
                epoch=next(epoch),
                size_px=size_px,
            )

    return rate_of(run, len(images))


def torchvision_rate(images: np.ndarray, steps: list[torch.nn.Module]) -> float:
    transform = v2.Compose(steps)
    tensors = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]

    def run() -> None:
        for tensor in tensors:
            transform(tensor)

    return rate_of(run, len(images))


def affine() -> torch.nn.Module:
    return v2.RandomAffine(
        8,
        translate=(0.05, 0.05),
        scale=(1.0, 1.33),
        interpolation=InterpolationMode.BILINEAR,
        fill=255,
    )


def flip() -> torch.nn.Module:
    return v2.RandomHorizontalFlip()


def rate_of(run: Callable[[], None], count: int) -> float:
    run()
    rates = []
    for _ in range(7):
        started = time.process_time()
        run()
        rates.append(count / (time.process_time() - started))
    return statistics.median(rates)


if __name__ == "__main__":
    main()
