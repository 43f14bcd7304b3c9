"""What a comparison finds: runs on the same images, best first, and which may be the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.metrics.best_of import is_clearly_worse
from shopsight.metrics.intervals import Interval
from shopsight.profiling.profile import Profile


@dataclass(frozen=True, eq=False)
class Entry:
    """One run of a comparison.

    Attributes:
        name: to show; the folder's name, as a rule.
        run: the run folder.
        backbone: see `shopsight.backbones.create`.
        recipe: the recipe's title.
        score: the headline metric with its 95 % interval; that of the best allows for its being
            chosen on these very images.
        difference: to the best run's score, below zero, paired over the same images; the
            intervals of all runs hold together. None for the best itself.
        profile: cost, measured here and now; None where it was not asked for.
        training_s: wall seconds of the run, decoding and audit included; None where the run
            has not noted them.
        training_cpu_s: CPU seconds, likewise.
        reported: the metric on images that chose none of the runs, see `Comparison.reported_on`.
    """

    name: str
    run: Path
    backbone: str
    recipe: str
    score: Interval
    difference: Interval | None
    profile: Profile | None
    training_s: float | None
    training_cpu_s: float | None
    reported: Interval | None = None

    @property
    def clearly_worse(self) -> bool:
        """Whether the difference to the best is beyond chance (its interval excludes zero)."""
        return self.difference is not None and is_clearly_worse(self.difference)

    @property
    def latency_ms(self) -> float | None:
        """Median milliseconds for one image."""
        return None if self.profile is None else self.profile.latency_ms

    @property
    def images_per_s(self) -> float | None:
        """Throughput in batches of 32."""
        return None if self.profile is None else self.profile.images_per_s

    @property
    def macs(self) -> int | None:
        """Multiply-adds for one image."""
        return None if self.profile is None else self.profile.macs

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        profile = self.profile
        return {
            "name": self.name,
            "run": self.run.as_posix(),
            "backbone": self.backbone,
            "recipe": self.recipe,
            "score": self.score.to_json(),
            "difference": self.difference and self.difference.to_json(),
            "clearly_worse": self.clearly_worse,
            "reported": self.reported and self.reported.to_json(),
            "size_px": profile and profile.size_px,
            "parameters": profile and profile.parameters,
            "macs": self.macs,
            "flops": profile and profile.flops,
            "latency_ms": self.latency_ms,
            "images_per_s": self.images_per_s,
            "measured_on": profile and profile.measured_on,
            "training_s": self.training_s,
            "training_cpu_s": self.training_cpu_s,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs on the same images, best first.

    Attributes:
        metric: "accuracy", or "mean_average_precision" with several labels per image.
        data: the name of the catalog.
        split: the part of it that chose the best.
        images: how many there are.
        grouped: whole groups, and copies of one image, vary together in the intervals.
        synthetic: the images were rendered by shopsight, not photographed.
        recall: per label and run, where an image has one label: columns label, images, and a
            column per run; of `reported_on` where there is such a part.
        optimism: by how much the score of the best is too high on average if all of
            `may_be_best` are equally good; 0 where it is alone.
        left_out: backbones that could not be built, with the reason.
        reported_on: a part that chose none of the runs, on which each has a score as well;
            empty without one.
        reported_images: how many images that part has.
    """

    entries: tuple[Entry, ...]
    metric: str
    data: str
    split: str
    images: int
    grouped: bool
    synthetic: bool
    recall: pl.DataFrame
    optimism: float = 0.0
    left_out: Mapping[str, str] = field(default_factory=dict)
    reported_on: str = ""
    reported_images: int = 0

    @property
    def best(self) -> Entry:
        """The run with the highest score."""
        return self.entries[0]

    @property
    def may_be_best(self) -> tuple[Entry, ...]:
        """The best and all that the images cannot tell from it, best first."""
        return tuple(entry for entry in self.entries if not entry.clearly_worse)

    @property
    def has_clear_winner(self) -> bool:
        """Whether the best is better than all others by more than chance."""
        return len(self.entries) > 1 and len(self.may_be_best) == 1

    @property
    def cheapest(self) -> Entry | None:
        """Of several that may be the best the fastest, or the one of the fewest multiply-adds.

        None where one is the best alone, or the costs are not known.
        """
        tied = self.may_be_best
        for costs_of_all in (
            [entry.latency_ms for entry in tied],
            [entry.macs for entry in tied],
        ):
            costs = [cost for cost in costs_of_all if cost is not None]
            if 2 <= len(tied) == len(costs):
                return tied[costs.index(min(costs))]
        return None

    def to_json(self) -> dict[str, Any]:
        """Everything but the recall per label."""
        shared = ("metric", "data", "split", "images", "grouped", "synthetic", "optimism")
        return {name: getattr(self, name) for name in shared} | {
            "has_clear_winner": self.has_clear_winner,
            "may_be_best": [entry.name for entry in self.may_be_best],
            "cheapest": self.cheapest and self.cheapest.name,
            "reported_on": self.reported_on or None,
            "reported_images": self.reported_images,
            "entries": [entry.to_json() for entry in self.entries],
            "left_out": dict(self.left_out),
        }

    def table(self) -> pl.DataFrame:
        """One row per run, best first, for CSV."""
        return pl.DataFrame([_flat(entry, self.metric) for entry in self.entries], strict=False)


def _flat(entry: Entry, metric: str) -> dict[str, Any]:
    """The entry with units in the names and no nesting."""
    profile, difference = entry.profile, entry.difference or Interval(0.0, 0.0, 0.0)
    reported = entry.reported
    return {
        "name": entry.name,
        "backbone": entry.backbone,
        "recipe": entry.recipe,
        metric: entry.score.value,
        f"{metric}_low": entry.score.low,
        f"{metric}_high": entry.score.high,
        **{f"difference_{end}": getattr(difference, end) for end in ("value", "low", "high")},
        "clearly_worse": entry.clearly_worse,
        "may_be_best": not entry.clearly_worse,
        "reported": reported and reported.value,
        "reported_low": reported and reported.low,
        "reported_high": reported and reported.high,
        "parameters": profile and profile.parameters,
        "gmacs": profile and profile.macs / 1e9,
        "gflops": profile and profile.flops / 1e9,
        "latency_ms": entry.latency_ms,
        "images_per_s": entry.images_per_s,
        "training_s": entry.training_s,
        "training_cpu_s": entry.training_cpu_s,
        "run": entry.run.as_posix(),
    }
