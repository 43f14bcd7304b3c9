"""Which rows a merged catalog has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from shopsight.errors import ConfigError

OnDuplicate = Literal["error", "drop", "keep"]


@dataclass(frozen=True, kw_only=True)
class MergeRules:
    """Which rows a merged catalog has.

    Attributes:
        max_per_class: training images of a class; of more, a seeded sample.
        min_per_class: classes of fewer images are left out.
        resample: training images of smaller classes are repeated up to so many; 0 repeats none.
        on_duplicate: what to do with images that several parts have and that would corrupt a score
            (in training and in a test, or with two labels): "error" writes nothing, "drop" keeps
            every image that parts share in one of them, "keep" keeps all.
        same_labels: labels of one name are one class, whichever DATA they are of.
        seed: of the samples.

    Raises:
        ConfigError: the numbers contradict each other, or a choice does not exist.
    """

    max_per_class: int = 100
    min_per_class: int = 2
    resample: int = 0
    on_duplicate: OnDuplicate = "error"
    same_labels: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_per_class < 1 or self.max_per_class < 1 or self.resample < 0:
            raise ConfigError(
                "numbers of images are 1 or more, and 0 resamples none", where="merge"
            )
        if self.min_per_class > self.max_per_class:
            raise ConfigError(
                f"no class has {self.min_per_class:,} images where each has at most "
                f"{self.max_per_class:,}",
                where="--min-per-class",
            )
        if self.resample > self.max_per_class:
            raise ConfigError(
                f"classes of at most {self.max_per_class:,} images are not repeated up to "
                f"{self.resample:,}",
                where="--resample",
                fix=f"--max-per-class {self.resample}",
            )
        if self.on_duplicate not in get_args(OnDuplicate):
            raise ConfigError(
                f"{self.on_duplicate!r} is not a choice",
                where="--on-duplicate",
                fix=" or ".join(get_args(OnDuplicate)),
            )
