"""Which backbone to take: the most accurate probe among those that are fast enough here.

The validation images choose, and the test images report: they chose neither a probe's penalty nor
the probe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shopsight.errors import CompareError, ExtraMissingError, WeightsError
from shopsight.evaluation.compare import choosing_parts, compare_runs
from shopsight.evaluation.comparison import Comparison, Entry
from shopsight.profiling.profile import (
    LATENCY_BATCH,
    THROUGHPUT_BATCH,
    Profile,
    backbone_with_classifier,
)
from shopsight.profiling.speed import profile_and_time
from shopsight.runs.run_folder import RunFolder

# From small to large; those whose weights or libraries are missing here are left out by name.
CANDIDATES = (
    "embedded:tf_efficientnet_lite0",
    "embedded:tf_efficientnet_lite1",
    "embedded:tf_efficientnet_lite2",
    "timm:mobilenetv3_large_100.ra_in1k",
    "timm:resnet18.a1_in1k",
    "timm:efficientnet_b0.ra_in1k",
    "timm:resnet50.a1_in1k",
    "timm:convnext_tiny.in12k_ft_in1k",
    "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
    "open_clip:ViT-B-32/laion2b_s34b_b79k",
)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A backbone that was considered.

    Attributes:
        backbone: its name.
        profile: its cost and speed, at the size that its probe sees where it was probed, else at
            its own; None where it could not be built.
        left_out: why it was not probed; empty when it was.
    """

    backbone: str
    profile: Profile | None
    left_out: str = ""

    @property
    def latency_ms(self) -> float | None:
        """Median milliseconds for one image."""
        return None if self.profile is None else self.profile.latency_ms


@dataclass(frozen=True, eq=False)
class Recommendation:
    """Which backbone to take, and what was considered.

    Attributes:
        budget_ms: the most milliseconds for one image, on this machine.
        candidates: every backbone that was considered, in the order in which it was named.
        comparison: of the probes within the budget; None when there is none.
    """

    budget_ms: float
    candidates: tuple[Candidate, ...]
    comparison: Comparison | None

    @property
    def chosen(self) -> Entry | None:
        """The most accurate within the budget, by the images that choose."""
        return self.comparison.best if self.comparison else None

    @property
    def faster_alternative(self) -> Entry | None:
        """The fastest that cannot be distinguished from the chosen one; None if that is it."""
        cheapest = None if self.comparison is None else self.comparison.cheapest
        return None if cheapest is self.chosen else cheapest

    def to_json(self) -> dict[str, Any]:
        found = self.comparison
        return {
            "budget_ms": self.budget_ms,
            "chosen": self.chosen and self.chosen.backbone,
            "has_clear_winner": bool(found and found.has_clear_winner),
            "may_be_best": [entry.backbone for entry in found.may_be_best] if found else [],
            "leaner": self.faster_alternative and self.faster_alternative.backbone,
            "candidates": [
                {
                    "backbone": candidate.backbone,
                    "latency_ms": candidate.latency_ms,
                    "size_px": candidate.profile and candidate.profile.size_px,
                    "left_out": candidate.left_out,
                }
                for candidate in self.candidates
            ],
            "comparison": found and found.to_json(),
        }


def recommend(
    backbones: Sequence[str],
    *,
    latency_ms: float,
    train: Callable[[str, float], Path],
    classes: int,
    device: str = "auto",
    sizes_px: Callable[[int], Sequence[int]] = lambda own_px: (),
) -> Recommendation:
    """Time each backbone, probe those within the budget, and compare the probes.

    A probe may see images larger than the backbone's own size, as far as the time allows: the size
    is timed before the probe is made. They are compared on their validation images and reported on
    their test images; on the test images alone where there are no validation images.

    Args:
        backbones: the candidates.
        latency_ms: for one image on this machine.
        train: makes a run with test predictions for a backbone whose images may cost the network
            so many times what those of its own size do; called for those within budget.
        classes: outputs of the head that is timed.
        device: where models are timed.
        sizes_px: of a backbone's own size, those that a probe may choose among.

    Raises:
        CompareError: no backbone could be built at all.
    """
    candidates: list[Candidate] = []
    runs: dict[str, Path] = {}
    for backbone in backbones:
        candidate = _within(latency_ms, backbone, classes, device)
        if not candidate.left_out:
            cost = _most_cost(candidate, latency_ms, classes, device, sizes_px)
            try:
                run = train(backbone, cost)
            except WeightsError as error:
                candidate = replace(candidate, left_out=error.what)
            else:
                candidate = _as_probed(candidate, run, cost, classes, device)
                if not candidate.left_out:
                    runs[backbone] = run
        candidates.append(candidate)
    if all(candidate.profile is None for candidate in candidates):
        raise CompareError(
            "none of the backbones could be built",
            details=[f"{candidate.backbone}: {candidate.left_out}" for candidate in candidates],
        )
    if not runs:
        return Recommendation(latency_ms, tuple(candidates), None)
    folders = list(runs.values())
    split, report_on = choosing_parts(folders)
    comparison = compare_runs(
        folders, names=list(runs), split=split, report_on=report_on, measure=False, alone=True
    )
    profiles = {candidate.backbone: candidate.profile for candidate in candidates}
    entries = tuple(replace(entry, profile=profiles[entry.name]) for entry in comparison.entries)
    return Recommendation(latency_ms, tuple(candidates), replace(comparison, entries=entries))


def _within(budget_ms: float, backbone: str, classes: int, device: str) -> Candidate:
    """The backbone timed on one image, left out if it takes longer than that."""
    try:
        profile = _profile(backbone, classes, device, (LATENCY_BATCH,))
    except ExtraMissingError as error:
        return Candidate(backbone, None, f"{error.what} ({error.fix})")
    candidate = Candidate(backbone, profile)
    assert candidate.latency_ms is not None
    if candidate.latency_ms > budget_ms:
        slow = f"{candidate.latency_ms:.1f} ms for one image"
        return replace(candidate, left_out=slow)
    return candidate


def _most_cost(
    candidate: Candidate,
    budget_ms: float,
    classes: int,
    device: str,
    sizes_px: Callable[[int], Sequence[int]],
) -> float:
    """How many times what an image of its own size costs one may cost the backbone.

    Time grows with the number of pixels, or a little less: of the sizes that the budget allows by
    that, the largest is timed, and the next smaller one where it takes too long.
    """
    own = candidate.profile
    assert own is not None
    assert own.latency_ms is not None
    most = budget_ms / own.latency_ms
    costs = {size: (size / own.size_px) ** 2 for size in sizes_px(own.size_px)}
    for size in sorted(costs, reverse=True):
        if not 1.0 < costs[size] <= most:
            continue
        timed = _profile(candidate.backbone, classes, device, (LATENCY_BATCH,), size)
        if timed.latency_ms is not None and timed.latency_ms <= budget_ms:
            return costs[size]
    return 1.0


def _as_probed(
    candidate: Candidate, run: Path, cost: float, classes: int, device: str
) -> Candidate:
    """The candidate with its cost and speed at the size that its probe sees.

    It is left out where that costs more than it may: the run is from before, for another budget.
    """
    own = candidate.profile
    assert own is not None
    size = RunFolder(run).recipe().preprocess.size_px
    assert size != "auto"
    if size > own.size_px and (size / own.size_px) ** 2 > cost * (1 + 1e-9):
        why = f"its run sees {size} px, made for more time; --out FOLDER makes another"
        return replace(candidate, left_out=why)
    batches = (LATENCY_BATCH, THROUGHPUT_BATCH)
    profile = _profile(candidate.backbone, classes, device, batches, size)
    return replace(candidate, profile=profile)


def _profile(
    backbone: str,
    classes: int,
    device: str,
    batches: tuple[int, ...],
    size_px: int | None = None,
) -> Profile:
    model, num_classes = backbone_with_classifier(backbone, size_px=size_px, num_classes=classes)
    return profile_and_time(
        model, name=backbone, num_classes=num_classes, batches=batches, device=device
    )
