"""report.html: one file that says how good a model is, on what, and how to get there again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from shopsight.bundle.format import BundleInfo
from shopsight.catalog.catalog import Catalog
from shopsight.charts.bars import interval_strip
from shopsight.config.sections import EvaluationSettings
from shopsight.errors import CatalogError
from shopsight.evaluation import figures
from shopsight.evaluation.evaluate import write_evaluation
from shopsight.evaluation.examples import low_confidence_correct, mistakes
from shopsight.evaluation.metric_names import range_text, split_title, title_of, value_text
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.run_info import RunFacts, info_of, read_run
from shopsight.evaluation.score import Evaluation, score
from shopsight.pages import write_page
from shopsight.runs.run_folder import OUT_OF_FOLD, RunFolder
from shopsight.text import count_text

MEANS = {
    "macro": "mean of classes",
    "micro": "all decisions together",
    "weighted": "mean weighted by images",
}
# The part that is quoted, in order of preference.
QUOTED = ("test", OUT_OF_FOLD, "all", "val", "train")


def write_run_evaluations(run: RunFolder, evaluations: Mapping[str, Evaluation]) -> Path:
    """Keep what was just evaluated in the run folder: predictions, scores and the report.

    Args:
        run: the run that was evaluated.
        evaluations: by part, see `shopsight.evaluation.evaluate.evaluate_run`.

    Returns:
        The report's path.
    """
    for evaluation in evaluations.values():
        write_evaluation(run, evaluation)
    return write_report(run, evaluations=evaluations)


def write_report(
    run: RunFolder,
    *,
    evaluations: Mapping[str, Evaluation] | None = None,
    out: Path | str | None = None,
) -> Path:
    """Write the report of a run folder from what lies in it.

    Args:
        run: the run to report on.
        evaluations: by part, those that were just made. Predictions of other parts that lie in
            the run folder are scored.
        out: the file; None is the run's own report.

    Returns:
        The report's path.

    Raises:
        TrainingError: the folder holds no run that this version reads.
        CatalogError: there are no predictions.
    """
    facts = read_run(run)
    settings = facts.recipe.evaluation if facts.recipe else EvaluationSettings()
    found = dict(evaluations or {})
    for file in sorted(run.predictions.glob("*.parquet")):
        if file.stem not in found:
            found[file.stem] = score(Predictions.read(file), settings)
    if not found:
        raise CatalogError(
            "there are no predictions to report on",
            where=str(run.path),
            fix=f"shopsight evaluate {run.path}",
        )
    return _write(Path(out) if out else run.report_file, found, facts)


def write_evaluation_report(
    evaluation: Evaluation, catalog: Catalog, out: Path | str, *, model: Path | str | None = None
) -> Path:
    """Write the report of a model on other data than its run's.

    Args:
        evaluation: the scores.
        catalog: the one that was evaluated.
        out: the HTML file to write.
        model: the bundle's folder.
    """
    info = info_of(Path(model)) if model is not None else None
    facts = RunFacts(name=catalog.name, catalog=catalog, info=info)
    return _write(Path(out), {evaluation.split: evaluation}, facts)


def _write(out: Path, evaluations: Mapping[str, Evaluation], facts: RunFacts) -> Path:
    split = next((name for name in QUOTED if name in evaluations), next(iter(evaluations)))
    main = evaluations[split]
    others = [evaluations[name] for name in QUOTED if name in evaluations and name != split]
    predictions = main.predictions
    context = {
        "facts": facts,
        "main": main,
        "part": split_title(split),
        "title": _title(facts, predictions),
        "headline": title_of(main.headline),
        "strip": interval_strip(main.score.value, main.score.low, main.score.high),
        "tiles": [*_tiles(main), *(_other(evaluation) for evaluation in others)],
        "means": _means(main),
        "history": _history_charts(facts),
        "validated": any(row.validated for row in facts.history),
        "confusion": figures.confusion_charts(main),
        "pairs": figures.confused_pairs(main),
        "reliability": figures.reliability_chart(main),
        "classes": main.per_class.sort("recall", "label").to_dicts(),
        "mistakes": mistakes(predictions, facts.catalog),
        "hits": low_confidence_correct(predictions, facts.catalog),
        "left_out": _left_out(facts.left_out),
        "model_facts": _model_facts(facts.info),
        "run_facts": _run_facts(facts),
    }
    return write_page(out, "report", context)


def _history_charts(facts: RunFacts) -> list[tuple[str, Markup]]:
    checkpoint = facts.recipe.training.checkpoint if facts.recipe else "best"
    return figures.history_charts(facts.history, checkpoint, trainings=facts.trainings)


def _title(facts: RunFacts, predictions: Predictions) -> str:
    if facts.info is None:
        return predictions.data
    return f"{predictions.data}, {facts.info.backbone.partition(':')[2]}"


def _tiles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Every metric with an interval, but the headline: title, value, interval."""
    return [
        (title_of(name), value_text(name, interval.value), range_text(name, interval))
        for name, interval in evaluation.intervals.items()
        if name != evaluation.headline
    ]


def _other(evaluation: Evaluation) -> tuple[str, str, str]:
    name = evaluation.headline
    return (
        f"{title_of(name)}, {split_title(evaluation.split)}",
        value_text(name, evaluation.score.value),
        range_text(name, evaluation.score),
    )


def _means(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Recall, precision and F1 over all classes, for the foot of the class table."""
    rows = []
    for kind in ("macro", "micro", "weighted"):
        names = [f"{kind}_{name}" for name in ("recall", "precision", "f1")]
        if all(name in evaluation.metrics for name in names):
            values = [value_text(name, evaluation.metrics[name]) for name in names]
            rows.append((MEANS[kind], values))
    return rows


def _left_out(table: pl.DataFrame) -> list[tuple[str, int]]:
    """Reasons with their counts, commonest first."""
    if table.is_empty():
        return []
    counted = table.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return list(counted.iter_rows())


def _model_facts(info: BundleInfo | None) -> list[tuple[str, str]]:
    if info is None:
        return []
    shape = info.preprocess
    pairs = [
        ("Backbone", info.backbone),
        ("Started from", info.weights),
        ("Head", info.head.kind),
        ("Input", f"{shape.size_px} x {shape.size_px} px, {shape.resize}, {shape.interpolation}"),
        ("Temperature", f"{info.temperature:.3f}"),
        ("Thresholds", _thresholds_text(info.thresholds)),
        ("Mirror image averaged in", "yes" if info.tta_hflip else "no"),
        ("Made", info.created),
        ("Weights, sha256", info.weights_sha256[:16]),
        ("Catalog, sha256", info.catalog_fingerprint[:16]),
    ]
    return [(name, value) for name, value in pairs if value]


def _thresholds_text(thresholds: Mapping[str, float]) -> str:
    if not thresholds:
        return ""
    lowest, highest = min(thresholds.values()), max(thresholds.values())
    return f"one per label, {lowest:.2f} to {highest:.2f}"


def _run_facts(facts: RunFacts) -> list[tuple[str, str]]:
    versions: dict[str, Any] = facts.state.get("versions", {})
    pairs = [("Recipe", facts.recipe.about.title if facts.recipe else "")]
    if facts.recipe:
        pairs.append(("Seed", str(facts.recipe.seed)))
    pairs.append(("Images", count_text(len(facts.catalog))))
    pairs.append(("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    return [(name, value) for name, value in pairs if value]
