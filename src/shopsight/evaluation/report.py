"""report.html: one file that says how good a model is, on what, and how to get there again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.evaluation import (
    figures,
    report_attributes,
    report_calibration,
    report_classes,
    report_data,
    report_products,
    report_score,
    report_unknown,
)
from shopsight.evaluation.evaluate import score_of_run, write_evaluation
from shopsight.evaluation.example_maps import Network, networks_of_run
from shopsight.evaluation.examples import gallery
from shopsight.evaluation.metric_names import title_of
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.run_info import RunFacts, info_of, read_run
from shopsight.evaluation.score import Evaluation
from shopsight.inference.predictor import Predictor
from shopsight.pages import write_page
from shopsight.runs.run_folder import OUT_OF_FOLD, RunFolder
from shopsight.text import command_line

# Anchor and title, in the order of the page.
SECTIONS = (
    ("score", "Score"),
    ("products", "By product"),
    ("attributes", "Attributes"),
    ("folds", "Folds"),
    ("training", "Training"),
    ("confusion", "Confusions"),
    ("classes", "Classes"),
    ("calibration", "Calibration"),
    ("unknown", "Unknown"),
    ("images", "Images"),
    ("data", "Data"),
    ("repeat", "How to repeat it"),
)
# The part that is quoted, in order of preference.
QUOTED = ("test", OUT_OF_FOLD, "all", "val", "train")


def write_run_evaluations(
    run: RunFolder,
    evaluations: Mapping[str, Evaluation],
    *,
    out: Path | str | None = None,
    device: str = "auto",
) -> Path:
    """Keep what was just evaluated in the run folder: predictions, scores and the report.

    Args:
        run: the run that was evaluated.
        evaluations: by part, see `shopsight.evaluation.evaluate.evaluate_run`.
        out: write the report alone, to this file, and leave the run as it is.
        device: where it is looked up where the networks looked, see `shopsight.devices`.

    Returns:
        The report's path.
    """
    if out is None:
        for evaluation in evaluations.values():
            write_evaluation(run, evaluation)
    return write_report(run, evaluations=evaluations, out=out, device=device)


def write_report(
    run: RunFolder,
    *,
    evaluations: Mapping[str, Evaluation] | None = None,
    out: Path | str | None = None,
    device: str = "auto",
) -> Path:
    """Write the report of a run folder from what lies in it.

    Args:
        run: the run to report on.
        evaluations: by part, those that were just made. Predictions of other parts that lie in
            the run folder are scored.
        out: the file; None is the run's own report.
        device: see `write_run_evaluations`.

    Returns:
        The report's path.

    Raises:
        TrainingError: the folder holds no run that this version reads.
        CatalogError: there are no predictions.
    """
    facts = read_run(run)
    found = dict(evaluations or {})
    for file in sorted(run.predictions.glob("*.parquet")):
        if file.stem not in found:
            predictions = Predictions.read(file, catalog_rows=len(facts.catalog))
            found[file.stem] = score_of_run(run, predictions)
    if not found:
        raise CatalogError(
            "there are no predictions to report on",
            where=str(run.path),
            fix=command_line(["shopsight", "evaluate", run.path]),
        )
    networks = networks_of_run(run, device=device)
    return _write(Path(out) if out else run.report_file, found, facts, networks)


def write_evaluation_report(
    evaluation: Evaluation,
    catalog: Catalog,
    out: Path | str,
    *,
    model: Path | str | None = None,
    predictor: Predictor | None = None,
) -> Path:
    """Write the report of a model on other data than its run's.

    Args:
        evaluation: the scores.
        catalog: the one that was evaluated.
        out: the HTML file to write.
        model: the bundle's folder.
        predictor: the same opened, to show where it looked; None shows no maps.
    """
    info = info_of(Path(model)) if model is not None else None
    facts = RunFacts(name=catalog.name, catalog=catalog, info=info)
    networks = () if predictor is None else (Network(lambda: predictor),)
    return _write(Path(out), {evaluation.split: evaluation}, facts, networks)


def _write(
    out: Path,
    evaluations: Mapping[str, Evaluation],
    facts: RunFacts,
    networks: Sequence[Network],
) -> Path:
    split = next((name for name in QUOTED if name in evaluations), next(iter(evaluations)))
    others = [evaluations[name] for name in QUOTED if name in evaluations and name != split]
    context = report_context(evaluations[split], others, facts, networks)
    return write_page(out, "report", context)


def report_context(
    main: Evaluation,
    others: Sequence[Evaluation],
    facts: RunFacts,
    networks: Sequence[Network] = (),
) -> dict[str, Any]:
    """What `templates/report.html` places.

    Args:
        main: the evaluation that the report is about.
        others: evaluations of other parts, whose headline is shown beside it.
        facts: the run.
        networks: that answered, see `shopsight.evaluation.examples.gallery`.

    Returns:
        Values by name. A section that the report goes without is None or empty.
    """
    context = {
        "title": report_score.title(facts, main.predictions),
        "lead": report_score.lead(main, facts),
        "banners": report_score.banners(main, facts),
        "headline": title_of(main.headline),
        "multilabel": main.predictions.multilabel,
        "hero": report_score.hero(main),
        "tiles": report_score.tiles(main, others),
        "products": report_products.product_section(main),
        "attributes": report_attributes.attribute_rows(main),
        "folds": report_score.folds_table(main.folds),
        "between": report_score.between_text,
        "history": report_score.history_charts(facts),
        "training_about": report_score.training_about(main, facts),
        "confusion": figures.confusion_charts(main),
        "pairs": figures.confused_pairs(main),
        "classes": report_classes.class_table(main),
        "means": report_classes.means(main),
        "not_measured": main.not_measured_note,
        "reliability": figures.reliability_chart(main),
        "calibration": report_calibration.calibration_words(main, facts),
        "unknown": report_unknown.unknown_section(main, facts.info),
        "gallery": gallery(main.predictions, facts.catalog, networks),
        "data": report_data.data_section(facts),
        "repeat": report_data.repeat_section(main, facts),
    }
    return context | {"links": _links(context)}


def _links(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchor and title of each section of the page."""
    optional = {
        "products": context["products"],
        "attributes": context["attributes"],
        "folds": context["folds"],
        "training": context["history"],
        "confusion": context["confusion"],
        "unknown": context["unknown"],
        "data": context["data"],
        "repeat": context["repeat"],
    }
    return [(anchor, words) for anchor, words in SECTIONS if optional.get(anchor, True)]
