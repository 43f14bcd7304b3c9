"""What the sections of a report say, without the page around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split_report import check_leakage
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.evaluation import report_classes, report_data, report_score
from shopsight.evaluation.evaluate import evaluate
from shopsight.evaluation.examples import gallery
from shopsight.evaluation.fold_scores import FoldScore, FoldScores
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.report import report_context
from shopsight.evaluation.run_info import FindingCount, RunFacts, read_run
from shopsight.evaluation.score import Evaluation, score
from shopsight.evaluation.train_overlap import TrainOverlap
from shopsight.metrics.intervals import Interval
from shopsight.runs.run_folder import RunFolder

QUICK = EvaluationSettings()


@pytest.fixture(scope="session")
def facts(spoiled_run: Path) -> RunFacts:
    return read_run(RunFolder(spoiled_run))


@pytest.fixture(scope="session")
def found(spoiled_run: Path) -> Evaluation:
    """The scores on the run's test part, whose images are in groups."""
    return score(Predictions.read(RunFolder(spoiled_run).predictions_file("test")), QUICK)


@pytest.fixture(scope="session")
def several_found(several: Catalog, fitted_on: Any) -> Evaluation:
    """The scores of a model with several labels per image."""
    return evaluate(fitted_on(several), several, settings=QUICK)


@pytest.fixture
def leaking(facts: RunFacts) -> RunFacts:
    """Every image is in the same group, on all sides of the split."""
    table = facts.catalog.table.with_columns(group=pl.lit("P-1"))
    return replace(facts, split_report=check_leakage(facts.catalog.with_table(table)))


def with_split(found: Evaluation, split: str) -> Evaluation:
    return replace(found, predictions=replace(found.predictions, split=split))


def test_the_lead_says_how_new_the_images_are_to_the_model(
    found: Evaluation, facts: RunFacts, leaking: RunFacts
) -> None:
    assert facts.recipe is not None
    measured = f"Measured on {len(found.predictions)} test images of 3 classes"
    recipe = f"Recipe: {facts.recipe.about.title}."
    apart = f"{measured}; no training image shows up among them, nor a copy of one. {recipe}"
    assert report_score.lead(found, facts) == apart
    assert facts.split_report is not None
    uncopied = replace(facts, split_report=replace(facts.split_report, num_duplicate_groups=None))
    assert ", nor a copy" not in report_score.lead(found, uncopied)
    assert report_score.lead(found, leaking) == f"{measured}. {recipe}"
    assert "no training image" not in report_score.lead(with_split(found, "train"), facts)


def test_the_lead_of_other_data_says_whether_they_were_looked_up(found: Evaluation) -> None:
    other = RunFacts(name="other", catalog=Catalog(pl.DataFrame({"image": ["a.jpg"]}), "other"))
    new = replace(found, seen=TrainOverlap(20, 0, 0, 0.9))
    assert report_score.lead(new, other).endswith("; the model was trained on none of them.")
    for seen in (None, TrainOverlap(20, 5, 0, 0.9)):
        assert report_score.lead(replace(found, seen=seen), other).endswith("of 3 classes.")


def test_a_clean_score_has_no_banner(found: Evaluation, facts: RunFacts) -> None:
    assert not found.predictions.synthetic
    assert report_score.banners(found, facts) == []
    assert report_score.banners(replace(found, seen=TrainOverlap(20, 0, 0, 0.9)), facts) == []


def test_images_that_were_trained_on_are_warned_of(found: Evaluation, facts: RunFacts) -> None:
    (some,) = report_score.banners(replace(found, seen=TrainOverlap(2000, 500, 20, 0.9)), facts)
    assert (some.tone, some.headline) == (
        "warning",
        "The model was trained on some of these images.",
    )
    (every,) = report_score.banners(replace(found, seen=TrainOverlap(20, 20, 0, 0.9)), facts)
    assert (every.tone, every.headline) == (
        "error",
        "The model was trained on all of these images.",
    )
    assert every.text.startswith("All 20 images were among those")
    assert every.text.endswith("nothing about new ones.")


def test_rendered_images_and_a_leak_have_a_banner_each(
    found: Evaluation, leaking: RunFacts
) -> None:
    rendered = replace(found, predictions=replace(found.predictions, synthetic=True))
    first, second = report_score.banners(rendered, leaking)
    assert (first.tone, second.tone) == ("warning", "error")
    assert "rendered by shopsight" in first.headline
    assert 'href="#data"' in second.text


def test_the_hero_counts_what_is_right(found: Evaluation, several_found: Evaluation) -> None:
    hero = report_score.hero(
        replace(found, counts=found.counts | {"images": 1234, "families": 1234})
    )
    assert hero.label == "Accuracy on test images"
    assert hero.percent == round(100 * found.score.value, 1)
    assert hero.note == (
        f"{found.counts['correct']} of 1,234 images are right. The interval (95 %) holds the "
        "plausible values of this model's score over all images like these: other samples of them, "
        "not another training, another shop or later photos."
    )
    assert f"it counts {found.counts['families']} families" in report_score.hero(found).note
    assert "images have exactly their labels." in report_score.hero(several_found).note


def test_tiles_are_the_other_metrics_and_the_other_parts(found: Evaluation) -> None:
    titles = [title for title, _, _ in report_score.tiles(found, [with_split(found, "val")])]
    assert "Accuracy" not in titles
    assert titles[-1] == "Accuracy, validation (origin not known)"
    assert len(titles) == len(found.intervals)


def folds(*values: float) -> FoldScores:
    return FoldScores(
        tuple(FoldScore(i, 10, Interval(v, v - 0.1, v + 0.1)) for i, v in enumerate(values))
    )


def test_the_mean_of_folds_has_a_range_unless_all_are_equal() -> None:
    assert report_score.folds_table(None) is None
    spread = report_score.folds_table(folds(0.5, 0.6, 0.7))
    assert spread is not None
    assert spread.mean == "60.0\N{NO-BREAK SPACE}%"
    assert spread.deviation == "10.0\N{NO-BREAK SPACE}%"
    assert " to " in spread.mean_range
    assert spread.note.startswith("The range of the mean is over 3 trainings")
    assert spread.note.endswith("somewhat too narrow.")
    equal = report_score.folds_table(folds(0.5, 0.5))
    assert equal is not None
    assert equal.mean_range == "\N{EN DASH}"
    assert equal.note.endswith("folds that all have the same score have none.")


def test_the_curves_are_explained(found: Evaluation, facts: RunFacts) -> None:
    about = report_score.training_about(found, facts)
    assert "the vertical line marks the weights" in about
    assert about.endswith("so it can lie below validation.")
    folded = replace(found, folds=folds(0.5, 0.6))
    assert "the means of 2 trainings" in report_score.training_about(folded, facts)
    blind = replace(facts, history=())
    assert "no validation images" in report_score.training_about(found, blind)


def test_classes_without_images_sort_last(several: Catalog, several_found: Evaluation) -> None:
    hats = several_found.predictions.table.filter(pl.col("label").list.len() == 1)
    only = score(replace(several_found.predictions, table=hats), QUICK)
    rows = {row.label: row for row in report_classes.class_table(only).rows}
    assert set(rows) == set(several.labels)
    assert rows["hat"].has_images
    assert rows["hat"].recall_key == rows["hat"].recall
    assert rows["hat"].average_precision_key == rows["hat"].average_precision
    assert not rows["shoe"].has_images
    assert (
        rows["shoe"].recall_key == rows["shoe"].average_precision_key == report_classes.SORTED_LAST
    )


def test_a_class_that_is_never_predicted_has_no_precision(found: Evaluation) -> None:
    silent = found.per_class.with_columns(predicted=pl.lit(0))
    rows = report_classes.class_table(replace(found, per_class=silent)).rows
    assert {row.precision_text for row in rows} == {"\N{EN DASH}"}
    assert {row.average_precision for row in rows} == {None}
    recalls = [row.recall for row in rows]
    assert recalls == sorted(recalls)


def test_the_gallery_says_how_mistakes_are_sorted(
    found: Evaluation, several: Catalog, several_found: Evaluation, facts: RunFacts
) -> None:
    table = found.predictions.table
    wrong = replace(found.predictions, table=table.with_columns(correct=pl.lit(False)))
    assert gallery(wrong, facts.catalog).about.startswith("Mistakes of the highest confidence.")
    assert not gallery(wrong, facts.catalog).hits
    right = replace(found.predictions, table=table.with_columns(correct=pl.lit(True)))
    assert gallery(right, facts.catalog).about == "It made no mistake on these images."
    predictions = several_found.predictions
    wrong = replace(predictions, table=predictions.table.with_columns(correct=pl.lit(False)))
    own = RunFacts(name="several", catalog=several)
    assert gallery(wrong, own.catalog).about.startswith("Mistakes with the highest loss.")


def test_the_data_section_lists_what_was_found(facts: RunFacts, leaking: RunFacts) -> None:
    data = report_data.data_section(facts)
    assert data is not None
    assert data.split_badge == ("good", "no leak")
    assert FindingCount("label conflict", "error", 1) in data.findings
    left_out, accepted = data.audit_lines
    assert left_out.startswith("Left out by name: 2 unreadable")
    assert left_out.endswith("(audit/left_out.csv).")
    assert accepted == "Accepted by the user: label-conflict."
    shared = report_data.data_section(leaking)
    assert shared is not None
    assert shared.split_badge == ("error", "leaks")


def test_a_run_without_an_audit_has_only_its_split(facts: RunFacts) -> None:
    bare = replace(facts, findings=None, left_out=pl.DataFrame(), state={})
    data = report_data.data_section(bare)
    assert data is not None
    assert not data.audited
    assert not data.audit_lines
    assert report_data.data_section(replace(bare, split_report=None)) is None
    clean = report_data.data_section(replace(bare, split_report=None, findings=()))
    assert clean is not None
    assert clean.audited
    assert clean.split_badge is None


def test_the_commands_are_those_of_the_run(found: Evaluation, facts: RunFacts) -> None:
    state = dict(facts.state) | {"command": "shopsight train products.csv --out runs/first"}
    known = report_data.repeat_section(found, replace(facts, state=state))
    assert known is not None
    lines = [line for line in known.commands.splitlines() if not line.startswith("#")]
    assert lines == [
        "shopsight train products.csv --out runs/first",
        f"shopsight train DATA --recipe {facts.name}/recipe.toml --out ANOTHER",
        f"shopsight evaluate {facts.name} --split test",
    ]
    unknown = replace(facts, state={})
    made_in_python = report_data.repeat_section(found, unknown)
    assert made_in_python is not None
    assert made_in_python.commands == ""
    assert report_data.repeat_section(found, replace(unknown, recipe=None, info=None)) is None


def test_only_sections_that_are_there_have_a_link(found: Evaluation, facts: RunFacts) -> None:
    anchors = [anchor for anchor, _ in report_context(found, [], facts)["links"]]
    expected = [
        "score",
        "products",
        "training",
        "confusion",
        "classes",
        "calibration",
        "images",
        "data",
    ]
    assert anchors == [*expected, "repeat"]
    bare = RunFacts(name="bare", catalog=facts.catalog)
    folded = replace(found, folds=folds(0.5, 0.6))
    anchors = [anchor for anchor, _ in report_context(folded, [], bare)["links"]]
    assert anchors == [
        "score",
        "products",
        "folds",
        "confusion",
        "classes",
        "calibration",
        "images",
    ]
