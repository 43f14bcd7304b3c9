"""Calibrate: when a model answers "unknown", and what that promises."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shopsight.bundle.read import bundle_folder, read_bundle, read_info
from shopsight.bundle.unknown_info import Measured
from shopsight.bundle.write import rewrite_unknown
from shopsight.catalog.catalog import Catalog
from shopsight.commands.calibrate_images import (
    ThreeParts,
    images_of_data,
    images_of_others,
    images_of_run,
)
from shopsight.commands.early_checks import check_model
from shopsight.commands.predict import open_predictor
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError
from shopsight.evaluation.run_images import check_run_images
from shopsight.inference.predictor import Predictor
from shopsight.io.hub import names_hub
from shopsight.output_locks import only_writer_of_file
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.runs.discover import run_of
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.text import command_line, counted, listed, percent_with_ends
from shopsight.training.run_network import RunNetwork
from shopsight.training.unknown_judge import (
    Judged,
    judge_by_held_out_classes,
    judge_by_negatives,
)
from shopsight.training.unknown_promise import FEWEST_VAL, UnknownReport, Wish, promise_unknown
from shopsight.training.unknown_scores import EmbeddedImages, fit_scores

OPTIMISTIC = (
    "the backbone was trained on the classes that stand for strangers: it knows them; fewer real "
    "strangers are recognized. --negatives FOLDER measures it on images of others"
)
NOT_JUDGED = (
    "too few classes to take some away: nothing says how many strangers are accepted. --negatives "
    "FOLDER does"
)
MOST_FINETUNED = 2_000
"""Training images whose embeddings a fine-tuning computes for this: seconds, not minutes."""


@dataclass(frozen=True, eq=False)
class CalibrateResult:
    """What a model promises from now on.

    Attributes:
        model: the bundle that was written.
        report: the score, its threshold, the scores that were compared, and the curve.
        notes: what weakens the figures.
    """

    model: Path
    report: UnknownReport
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"model": str(self.model), **self.report.to_json(), "notes": list(self.notes)}

    def lines(self) -> list[str]:
        """What people are to know, a line each."""
        info = self.report.part.info
        lines = [f"score: {info.score}, answered from {info.threshold:.4g} on"]
        if info.coverage is not None:
            accuracy = "none" if info.accuracy is None else _text(info.accuracy)
            images = counted(info.coverage.num_images, "test image")
            lines.append(
                f"answers {_text(info.coverage)} of {images}, and is right on {accuracy} of these"
            )
        if info.accepted is not None:
            lines.append(
                f"accepts {100 * info.accepted:.1f} % of strangers ({info.strangers})"
                f"{': optimistic' if info.is_optimistic else ''}"
            )
        if info.sets is not None:
            lines += self._about_sets()
        return lines + [f"note: {note}" for note in self.notes]

    def _about_sets(self) -> list[str]:
        sets = self.report.part.info.sets
        assert sets is not None
        if sets.reached is None:
            return [f"sets: hold the right label in {100 * sets.level:g} % of images"]
        lines = [
            f"sets of {100 * sets.level:g} %: hold the right label of {_text(sets.reached)} of "
            f"{counted(sets.reached.num_images, 'test image')}, {sets.mean_size:.2f} labels each"
        ]
        few = [one.label for one in self.report.by_class if not one.is_promised]
        if few:
            lines.append(
                f"sets promise nothing for a class by itself, and too little is known of "
                f"{listed(few)}: too few validation images"
            )
        return lines


def calibrate(
    model: str | Path,
    data: str | Path | Catalog | None = None,
    *,
    read: ReadOptions | None = None,
    negatives: str | Path | Catalog | None = None,
    accuracy: float | None = None,
    coverage: float | None = None,
    sets: float | None = None,
    accept: Collection[str] = (),
    device: str = "auto",
) -> CalibrateResult:
    """Choose when a model answers "unknown", and write that into its bundle.

    Args:
        model: a run, or a bundle.
        data: labeled images that the model did not learn from, or a run; None: the model's own run
            with its validation and test part.
        read: how DATA is read.
        negatives: images of no class of the model, by which scores are judged.
        accuracy: how many of the answers are to be right.
        coverage: how many known images are to be answered; 0.95 where neither is given.
        sets: how often sets of labels are to hold the right one; None: no sets.
        accept: "changed-file" goes on although images of the run changed since the training.
        device: see `shopsight.devices`.

    Raises:
        ConfigError: a figure is out of range; the model has several labels for each image; there
            are too few images; or negatives are images of the run.
        BundleError: the model cannot be opened.
        CatalogError: DATA cannot be read, or has none of the model's labels.
    """
    wish = _wish(accuracy, coverage, sets)
    if names_hub(model):
        raise ConfigError(
            "a bundle of the Hub stays as it was published",
            where=str(model),
            fix="copy its folder out of the cache, and calibrate the copy",
        )
    check_model(model)
    own = run_of(bundle_folder(model))
    run = _run_of_data(data) or (own if data is None else None)
    if run is None and data is None:
        raise ConfigError(
            "a bundle without its run has no images to choose a threshold on",
            where=str(model),
            fix=command_line(["shopsight", "calibrate", model, "DATA"]),
        )
    with use_run_access(RunAccess.by_flags(read or ReadOptions())):
        if run is not None:
            check_run_images(run, command=["shopsight", "calibrate", model], accept=accept)
        predictor = open_predictor(model, device)
        _check_labels(predictor, model)
        if run is not None:
            _check_own(run, own)
            parts = images_of_run(RunNetwork.of(run, device))
        else:
            assert data is not None
            parts = images_of_data(predictor, open_catalog(data, read), own)
        strangers = (
            None if negatives is None else images_of_others(predictor, negatives, run or own)
        )
        report, notes = _report(parts, predictor, strangers, wish)
    for note in notes:
        notify(note)
    return CalibrateResult(_written(bundle_folder(model), report), report, notes)


def calibrate_trained(run: RunFolder) -> CalibrateResult | None:
    """What a training promises by itself: the usual coverage, by what it has computed.

    The embeddings of its training images are there after a probe; after fine-tuning those of some
    are computed.

    Args:
        run: a run whose bundle is written, and was read by nobody yet.

    Returns:
        None where nothing can be promised: images may have several labels, or hardly any validate.
    """
    info = read_info(run.model)
    if run.is_folds_run() or info.multilabel or info.unknown is not None:
        return None
    catalog = run.catalog()
    if not catalog.has("split") or len(catalog.rows_of("val")) < FEWEST_VAL:
        return None
    clock = Clock()
    network = RunNetwork.of(run, "auto")
    most = MOST_FINETUNED if run.recipe().training.finetunes else None
    parts = images_of_run(network, most_train=most)
    report, notes = _report(parts, network.predictor, None, Wish())
    run.add_seconds("unknown", clock)
    return CalibrateResult(_written(run.model, report), report, notes)


def _written(folder: Path, report: UnknownReport) -> Path:
    """Write what is promised into a bundle."""
    # Its lock lies beside it: the folder itself is replaced.
    with only_writer_of_file(folder):
        bundle = read_bundle(folder)
        metrics = {**bundle.metrics, "unknown": report.to_json()}
        rewrite_unknown(bundle, report.part, metrics=metrics)
    return folder


def _wish(accuracy: float | None, coverage: float | None, sets: float | None) -> Wish:
    if accuracy is not None and coverage is not None:
        raise ConfigError(
            "one threshold has either an accuracy or a coverage",
            where="--accuracy, --coverage",
            fix="leave one out",
        )
    for flag, value in (("--accuracy", accuracy), ("--coverage", coverage), ("--sets", sets)):
        if value is not None and not 0 < value < 1:
            raise ConfigError(f"{value:g} is not between 0 and 1", where=flag, fix=f"{flag} 0.9")
    if accuracy is not None:
        return Wish("accuracy", accuracy, sets)
    return Wish(sets=sets) if coverage is None else Wish("coverage", coverage, sets)


def _run_of_data(data: object) -> RunFolder | None:
    if not isinstance(data, str | Path):
        return None
    run = RunFolder(Path(data))
    return run if run.exists() else None


def _check_labels(predictor: Predictor, model: str | Path) -> None:
    if predictor.info.multilabel:
        raise ConfigError(
            'images may have several labels, also none: "unknown" is an answer of one label each',
            where=str(model),
            fix="its thresholds say which labels are given: shopsight evaluate MODEL",
        )


def _check_own(run: RunFolder, own: RunFolder | None) -> None:
    if own is None or run.path.resolve() != own.path.resolve():
        raise ConfigError(
            "is the run of another model",
            where=str(run.path),
            fix="name the model's own run, or images that it did not learn from",
        )


def _report(
    parts: ThreeParts, predictor: Predictor, negatives: EmbeddedImages | None, wish: Wish
) -> tuple[UnknownReport, tuple[str, ...]]:
    temperature = predictor.info.temperature
    if not len(parts.val):
        raise ConfigError("has no validation images to choose a threshold on", fix="name more DATA")
    fitted = fit_scores(parts.train, parts.val, temperature=temperature, seed=parts.how.seed)
    judged: list[Judged]
    if negatives is not None:
        judged = judge_by_negatives(fitted, parts.val, negatives)
    else:
        import torch

        judged = judge_by_held_out_classes(
            parts.train,
            parts.val,
            how=parts.how,
            temperature=temperature,
            device=torch.device("cpu"),
        )
    report = promise_unknown(
        fitted,
        judged,
        val=parts.val,
        test=parts.test,
        families=parts.families,
        readout=predictor.readout,
        labels=predictor.labels,
        wish=wish,
    )
    is_optimistic = bool(judged) and negatives is None and parts.is_optimistic
    kind = "negatives" if negatives is not None else "held-out classes" if judged else "none"
    changed = {"strangers": kind, "is_optimistic": is_optimistic}
    part = replace(report.part, info=report.part.info.model_copy(update=changed))
    notes = [OPTIMISTIC] if is_optimistic else []
    if not judged:
        notes.append(NOT_JUDGED)
    if not len(parts.test):
        notes.append("no test images: what is promised was not measured")
    return replace(report, part=part), tuple(notes)


def _text(found: Measured) -> str:
    return percent_with_ends(found.value, found.low, found.high)
