"""Profile: what a backbone costs, and how much of the image it sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shopsight.profiling.profile import Profile, backbone_with_classifier
from shopsight.profiling.speed import profile_and_time


def profile(
    backbone: str,
    *,
    size_px: int | None = None,
    classes: int | None = None,
    batches: Sequence[int] = (1, 32),
    device: str = "auto",
    precision: Literal["auto", "32", "bf16"] = "auto",
) -> Profile:
    """Measure what a backbone costs and how much of the image each stage sees.

    Args:
        backbone: LIBRARY:NAME.
        size_px: side of the image; None keeps the backbone's own.
        classes: counted for the classifier; None is 1000, or 10 for the `shopsight:` nets.
        batches: batch sizes to time; empty times nothing.
        device: "auto" takes CUDA when it is there, else the CPU.
        precision: the number format to time; "auto" is bf16 where the machine multiplies in it.

    Raises:
        ConfigError: no such backbone, or not at this size.
    """
    model, num_classes = backbone_with_classifier(backbone, size_px=size_px, num_classes=classes)
    return profile_and_time(
        model,
        name=backbone,
        num_classes=num_classes,
        batches=batches,
        device=device,
        precision=precision,
    )
