"""Several runs on the very same test images: which is better, by how much, and at what cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float64

from shopsight import progress
from shopsight.bundle.format import INFO_FILE
from shopsight.bundle.read import read_bundle
from shopsight.config.recipe import parse_recipe
from shopsight.config.sections import EvaluationSettings
from shopsight.errors import CompareError, ExtraMissingError, WeightsError
from shopsight.evaluation.alignment import align_predictions
from shopsight.evaluation.evaluate import predictions_path
from shopsight.evaluation.predictions import Predictions
from shopsight.files import read_json
from shopsight.metrics import weighted
from shopsight.metrics.intervals import (
    Interval,
    Statistic,
    bootstrap,
    paired_difference,
    widened_by_signs,
)
from shopsight.models.build import build_model
from shopsight.profiling.profile import Profile
from shopsight.profiling.speed import profile_and_time
from shopsight.progress import task

LATENCY_BATCH, THROUGHPUT_BATCH = 1, 32


@dataclass(frozen=True, eq=False)
class Entry:
    """One run of a comparison.

    Attributes:
        score: the headline metric with its 95 % interval.
        difference: to the best run's score, below zero, paired over the same images; None for
            the best itself.
        profile: cost, measured here and now; None where it was not asked for.
        training_s, training_cpu_s: wall and CPU seconds of the run, decoding and audit included;
            None where the run does not tell.
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

    @property
    def clearly_worse(self) -> bool:
        """Whether the difference to the best is beyond chance (its interval excludes zero)."""
        return self.difference is not None and self.difference.high < 0

    @property
    def latency_ms(self) -> float | None:
        """Median milliseconds for one image."""
        speed = self.profile and self.profile.speed(LATENCY_BATCH)
        return speed.latency_ms if speed else None

    @property
    def images_per_s(self) -> float | None:
        """Throughput in batches of 32."""
        speed = self.profile and self.profile.speed(THROUGHPUT_BATCH)
        return speed.images_per_s if speed else None

    def to_json(self) -> dict[str, Any]:
        profile = self.profile
        return {
            "name": self.name,
            "run": str(self.run),
            "backbone": self.backbone,
            "recipe": self.recipe,
            "score": self.score.to_json(),
            "difference": self.difference and self.difference.to_json(),
            "clearly_worse": self.clearly_worse,
            "size_px": profile and profile.size_px,
            "parameters": profile and profile.parameters,
            "macs": profile and profile.macs,
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
        grouped: whole groups were drawn for the intervals.
        recall: per label and run, where an image has one label: columns label, images, and a
            column per run.
        left_out: backbones that could not be built, with the reason.
    """

    entries: tuple[Entry, ...]
    metric: str
    data: str
    split: str
    images: int
    grouped: bool
    synthetic: bool
    recall: pl.DataFrame
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Entry:
        return self.entries[0]

    def to_json(self) -> dict[str, Any]:
        """Everything but the recall per label."""
        shared = ("metric", "data", "split", "images", "grouped", "synthetic")
        return {name: getattr(self, name) for name in shared} | {
            "entries": [entry.to_json() for entry in self.entries],
            "left_out": dict(self.left_out),
        }

    def table(self) -> pl.DataFrame:
        """One row per run, best first, for CSV."""
        return pl.DataFrame([_flat(entry, self.metric) for entry in self.entries], strict=False)


def left_out_of(backbones: Sequence[str], build: Callable[[str], object]) -> dict[str, str]:
    """Those that cannot be built here, with the reason: before hours go into the others.

    Args:
        build: builds one with its weights. A `WeightsError` or `ExtraMissingError` leaves it out;
            any other error is a mistake to mend, and is let through.

    Raises:
        CompareError: fewer than two would be left.
    """
    left_out = {}
    for backbone in backbones:
        try:
            build(backbone)
        except (WeightsError, ExtraMissingError) as error:
            ways_on = "; ".join((error.fix or "").splitlines())
            left_out[backbone] = error.what + (f" ({ways_on})" if ways_on else "")
            progress.notify(f"{backbone}: left out, {error.what}")
    left = len(backbones) - len(left_out)
    if left < 2:
        raise CompareError(
            f"{left} of {len(backbones)} backbones can be built here; comparing takes two",
            details=[f"{backbone}: {reason}" for backbone, reason in left_out.items()],
            fix="name another, as embedded:tf_efficientnet_lite0, whose weights come with pip",
        )
    return left_out


def compare_runs(
    runs: Sequence[Path | str],
    *,
    split: str | None = None,
    names: Sequence[str] = (),
    measure: bool = True,
    alone: bool = False,
    device: str = "auto",
    settings: EvaluationSettings | None = None,
) -> Comparison:
    """Put finished runs beside each other.

    Args:
        split: whose predictions are compared: "test", "val", "out-of-fold"; None takes "test",
            or "out-of-fold" where the runs are K-fold trainings.
        names: shown instead of the folders' names.
        measure: profile each model and time it on `device`, one after the other.
        alone: one run is enough.

    Raises:
        CompareError: fewer than two runs, they were not tested on the same images, or only some
            of them are K-fold runs.
        CatalogError: a run has no such predictions.
        BundleError: a model cannot be read.
    """
    folders = [Path(run) for run in runs]
    if len(folders) < (1 if alone else 2):
        raise CompareError("one run alone cannot be compared", fix="name two runs or more")
    settings = settings or EvaluationSettings()
    titles = list(names) or _distinct_names(folders)
    _check_kinds(folders, titles, split)
    split = split or _quoted_split(folders)
    predictions = align_predictions([_predictions(folder, split) for folder in folders], titles)
    metric, statistics = _statistics(predictions)
    groups = predictions[0].groups()
    count = len(predictions[0])
    scores = [
        bootstrap(
            statistic, count, groups=groups, proportion=True, resamples=settings.bootstrap_resamples
        )
        for statistic in statistics
    ]
    best = max(range(len(folders)), key=lambda index: scores[index].value)
    entries = []
    with task("Measuring models", total=len(folders), unit="models") as advance:
        for index, folder in enumerate(folders):
            difference = None
            if index != best:
                difference = _difference(predictions[index], predictions[best], settings)
            entry = _entry(folder, titles[index], scores[index], difference)
            entries.append(_measured(entry, device) if measure else entry)
            advance(1)
    entries.insert(0, entries.pop(best))
    first = predictions[0]
    return Comparison(
        entries=(entries[0], *sorted(entries[1:], key=lambda entry: -entry.score.value)),
        metric=metric,
        data=first.data,
        split=split,
        images=count,
        grouped=groups is not None,
        synthetic=first.synthetic,
        recall=_recall(predictions, titles),
    )


def _quoted_split(folders: Sequence[Path]) -> str:
    return "out-of-fold" if all(_is_folded(folder) for folder in folders) else "test"


def _is_folded(folder: Path) -> bool:
    return predictions_path(folder, "out-of-fold").is_file()


def _check_kinds(folders: Sequence[Path], names: Sequence[str], split: str | None) -> None:
    """Refuse K-fold runs beside others, unless all have the predictions that are asked for."""
    if split is not None and all(predictions_path(run, split).is_file() for run in folders):
        return
    named = dict(zip(names, folders, strict=True))
    folded = [name for name, run in named.items() if _is_folded(run)]
    plain = [name for name in named if name not in folded]
    # A folder without any predictions is no such run; that is said when they are read.
    plain = [name for name in plain if predictions_path(named[name], "test").is_file()]
    if not folded or not plain:
        return
    count = len(list(named[folded[0]].glob("folds/*/run.json")))
    raise CompareError(
        f"{folded[0]} is a K-fold run and {plain[0]} is not: one is scored on all images, out of "
        "fold, the other on its test images",
        details=[f"{name}: {'K-fold' if name in folded else 'one split'}" for name in named],
        fix=f"train {plain[0]} again with --folds {count or 'K'}, or {folded[0]} without --folds",
    )


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """Folder names, with as many parents as it takes to tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise CompareError(
        "the same run is named twice",
        details=[str(folder) for folder in folders],
        fix="shopsight compare RUN OTHER_RUN",
    )


def _predictions(folder: Path, split: str) -> Predictions:
    """With the files' hashes where the run has them: names alone do not make images the same."""
    predictions = Predictions.read(predictions_path(folder, split))
    catalog = folder / "catalog.parquet"
    if not catalog.is_file() or "sha256" not in pl.read_parquet_schema(catalog):
        return predictions
    hashes = pl.read_parquet(catalog, columns=["sha256"])["sha256"]
    table = predictions.table.with_columns(hashes.gather(predictions.table["row"]))
    return replace(predictions, table=table)


def _statistics(predictions: Sequence[Predictions]) -> tuple[str, list[Statistic]]:
    if predictions[0].multilabel:
        return "mean_average_precision", [
            weighted.mean_average_precision(p.label_table("label"), p.scores()) for p in predictions
        ]
    return "accuracy", [weighted.mean(p.table["correct"].to_numpy()) for p in predictions]


def _difference(own: Predictions, best: Predictions, settings: EvaluationSettings) -> Interval:
    """To the best run, paired over the same images; of accuracies never surer than the signs."""
    metric, (mine, theirs) = _statistics([own, best])
    groups = own.groups()
    difference = paired_difference(
        mine, theirs, len(own), groups=groups, resamples=settings.bootstrap_resamples
    )
    if metric == "accuracy":
        return widened_by_signs(difference, _gains(own, best), groups=groups)
    return difference


def _gains(first: Predictions, second: Predictions) -> Float64[np.ndarray, "n"]:
    """1 where only the first is right, -1 where only the second is."""
    right = [p.table["correct"].to_numpy().astype(np.float64) for p in (first, second)]
    return right[0] - right[1]


def _entry(folder: Path, name: str, score: Interval, difference: Interval | None) -> Entry:
    recipe_file = folder / "recipe.toml"
    recipe = None
    if recipe_file.is_file():
        recipe = parse_recipe(recipe_file.read_text(encoding="utf-8"), where=str(recipe_file))
    spent = _stages(folder)
    return Entry(
        name=name,
        run=folder,
        backbone=recipe.model.backbone if recipe else "",
        recipe=recipe.about.title if recipe else "",
        score=score,
        difference=difference,
        profile=None,
        training_s=sum(stage["wall"] for stage in spent) if spent else None,
        training_cpu_s=sum(stage["cpu"] for stage in spent) if spent else None,
    )


def _stages(folder: Path) -> list[dict[str, float]]:
    """Wall and CPU seconds of every stage of a run, of its folds and refit too."""
    states = [folder / "run.json", folder / "refit" / "run.json"]
    states += sorted(folder.glob("folds/*/run.json"))
    return [
        stage
        for state in states
        if state.is_file()
        for stage in read_json(state).get("seconds", {}).values()
    ]


def _measured(entry: Entry, device: str) -> Entry:
    folder = entry.run / "model"
    if not (folder / INFO_FILE).is_file():
        return entry
    bundle = read_bundle(folder)
    profile = profile_and_time(
        build_model(bundle),
        name=bundle.info.backbone,
        num_classes=len(bundle.info.labels),
        batches=(LATENCY_BATCH, THROUGHPUT_BATCH),
        device=device,
    )
    return replace(entry, profile=profile)


def _recall(predictions: Sequence[Predictions], names: Sequence[str]) -> pl.DataFrame:
    first = predictions[0]
    if first.multilabel:
        return pl.DataFrame(schema={"label": pl.String, "images": pl.Int64})
    table = first.table.group_by("label").agg(pl.len().cast(pl.Int64).alias("images"))
    for part, name in zip(predictions, names, strict=True):
        found = part.table.group_by("label").agg(pl.col("correct").mean().alias(name))
        table = table.join(found, on="label")
    return table.sort("images", "label", descending=[True, False])


def _flat(entry: Entry, metric: str) -> dict[str, Any]:
    """The entry with units in the names and no nesting."""
    profile, difference = entry.profile, entry.difference or Interval(0.0, 0.0, 0.0)
    return {
        "name": entry.name,
        "backbone": entry.backbone,
        "recipe": entry.recipe,
        metric: entry.score.value,
        f"{metric}_low": entry.score.low,
        f"{metric}_high": entry.score.high,
        **{f"difference_{end}": value for end, value in asdict(difference).items()},
        "clearly_worse": entry.clearly_worse,
        "parameters": profile and profile.parameters,
        "gmacs": profile and profile.macs / 1e9,
        "gflops": profile and profile.flops / 1e9,
        "latency_ms": entry.latency_ms,
        "images_per_s": entry.images_per_s,
        "training_s": entry.training_s,
        "training_cpu_s": entry.training_cpu_s,
        "run": str(entry.run),
    }
