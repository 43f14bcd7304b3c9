"""Whether runs may be averaged: they must have begun as one network, on one split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import read_info
from shopsight.errors import SoupError
from shopsight.runs.run_folder import RunFolder
from shopsight.text import listed

_SPLIT_FIX = (
    "a seed decides the split too: shopsight split DATA --out images.csv, then train on "
    "images.csv with each seed"
)


def check_run(run: RunFolder) -> BundleInfo:
    """Refuse a run whose weights say nothing about averaging; give its bundle's description.

    Raises:
        SoupError: it is unfinished, of K folds, nothing but a probe, or has no validation images.
        TrainingError: the folder holds no run.
    """
    where = str(run.path)
    if run.is_folds_run():
        raise SoupError(
            "is a run of K folds, whose networks were trained on each other's test images",
            where=where,
            fix="shopsight train DATA --out RUN   (without --folds)",
        )
    if not run.has_model():
        raise SoupError(
            "is not finished: it has no bundle",
            where=where,
            fix=f"shopsight train --resume {run.path}",
        )
    if not run.final_weights_file.is_file():
        raise SoupError(
            f"trained no backbone (training.mode = {run.recipe().training.mode!r}, or no epoch fit "
            "in its time limit): its backbone is the one that it began with",
            where=where,
            fix="shopsight train DATA --recipe balanced --out RUN   (fine-tunes)",
        )
    if not len(run.catalog().rows_of("val")):
        raise SoupError(
            "has no validation images, on which averages are chosen and calibrated",
            where=where,
            fix="--set data.val=0.1, or rows of the split 'val'",
        )
    return read_info(run.model)


def check_shared_start(runs: Sequence[RunFolder]) -> None:
    """Refuse runs that did not begin as one network, or were not trained on one split.

    Raises:
        SoupError: they were not; what differs is named.
    """
    first, others = runs[0], runs[1:]
    for run in others:
        found = list(_differences(first, run))
        if found:
            split = any(line.startswith("split") for line in found)
            raise SoupError(
                f"does not share a start with {first.path}: what lies between the two is no "
                "network of either kind",
                where=str(run.path),
                details=found,
                fix=_SPLIT_FIX
                if split
                else "runs of one recipe on one split, of other seeds, "
                "learning rates or augmentation",
            )


def _differences(first: RunFolder, other: RunFolder) -> Iterator[str]:
    infos = [read_info(run.model) for run in (first, other)]
    yield from _different_fields(*infos)
    starts = [_new_layers(run, info) for run, info in zip((first, other), infos, strict=True)]
    if starts[0] != starts[1]:
        yield f"new layers at the start: {starts[0]}, here {starts[1]}"
    seeds = [run.recipe().seed for run in (first, other)]
    if is_random_start(first) and is_random_start(other) and seeds[0] != seeds[1]:
        yield f"weights at the start: random by seed {seeds[0]}, here by seed {seeds[1]}"
    yield from _different_images(first, other)


def _different_fields(first: BundleInfo, other: BundleInfo) -> Iterator[str]:
    if first.labels != other.labels:
        lost = sorted(set(first.labels) - set(other.labels))
        more = sorted(set(other.labels) - set(first.labels))
        sides = [f"lacking here {listed(lost)}"] * bool(lost)
        sides += [f"only here {listed(more)}"] * bool(more)
        yield f"labels: {'; '.join(sides) or 'the same in another order'}"
    for name in ("backbone", "weights", "multilabel", "tta_hflip", "members"):
        values = getattr(first, name), getattr(other, name)
        if values[0] != values[1]:
            yield f"{name}: {values[0]}, here {values[1]}"
    for name in ("head", "neck", "preprocess"):
        before: dict[str, Any] = getattr(first, name).model_dump()
        after: dict[str, Any] = getattr(other, name).model_dump()
        for key, value in before.items():
            if value != after.get(key):
                yield f"{name}.{key}: {value}, here {after.get(key)}"


def _new_layers(run: RunFolder, info: BundleInfo) -> str:
    """What head and neck began as."""
    if has_fitted_head(run) and info.neck.is_none:
        return "a head that was fitted before fine-tuning"
    return f"random by seed {run.recipe().seed}"


def has_fitted_head(run: RunFolder) -> bool:
    """Whether the head was a probe, or a text encoder's classes, before fine-tuning."""
    return run.probe_file.is_file()


def is_random_start(run: RunFolder) -> bool:
    """Whether the backbone was random before training."""
    return run.recipe().model.weights == "random"


def _different_images(first: RunFolder, other: RunFolder) -> Iterator[str]:
    """Which images differ, or are in another part: to be validated by one and trained by another.

    Images are known by their content: they may lie elsewhere.
    """
    parts = [_parts(run) for run in (first, other)]
    joined = parts[0].join(parts[1], on="sha256", how="full", coalesce=True, suffix="_here")
    lost = joined.filter(pl.col("split_here").is_null()).height
    more = joined.filter(pl.col("split").is_null()).height
    if lost or more:
        yield f"images: {lost:,} are lacking here, {more:,} are only here"
    moved = joined.filter(pl.col("split") != pl.col("split_here")).height
    if moved:
        yield f"split: {moved:,} of {joined.height:,} images are in another part"


def _parts(run: RunFolder) -> pl.DataFrame:
    audited = run.audited_catalog()
    table = pl.DataFrame({"sha256": audited.sha256, "split": audited.catalog.table["split"]})
    return table.unique("sha256", keep="first", maintain_order=True)
