"""What a report says of confidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.evaluation import report_calibration
from shopsight.evaluation.figures import reliability_chart
from shopsight.evaluation.fold_scores import FoldScore, FoldScores
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.run_info import RunFacts, read_run
from shopsight.evaluation.score import Evaluation, score
from shopsight.metrics.intervals import Interval
from shopsight.pages import percent_text
from shopsight.runs.run_folder import RunFolder

SETTINGS = EvaluationSettings()


def evaluated(*, off: float = 0.0, num_labels: int = 3, n: int = 900) -> Evaluation:
    """Predictions of which the first label's are right less often than they say, by `off`."""
    rng = np.random.default_rng(4)
    labels = tuple(f"class {index}" for index in range(num_labels))
    best = np.arange(n) % num_labels
    confidence = rng.uniform(0.5, 0.98, n)
    right = rng.random(n) < confidence - off * (best == 0)
    truth = np.where(right, best, (best + 1) % num_labels)
    table = pl.DataFrame(
        {
            "row": np.arange(n),
            "image": [f"{index}.jpg" for index in range(n)],
            "label": [labels[at] for at in truth],
            "predicted": [labels[at] for at in best],
            "confidence": confidence,
            "correct": right,
            "loss": -np.log(np.where(right, confidence, 1 - confidence)),
            "rank": np.where(right, 1, 2),
        }
    )
    return score(Predictions(table, labels, False, "test", "shop"), SETTINGS)


@pytest.fixture(scope="session")
def facts(spoiled_run: Path) -> RunFacts:
    return read_run(RunFolder(spoiled_run))


def other() -> RunFacts:
    return RunFacts(name="other", catalog=Catalog(pl.DataFrame({"image": ["0.jpg"]}), "other"))


def test_the_error_stands_beside_chance_and_has_no_interval() -> None:
    found = evaluated()
    words = report_calibration.calibration_words(found, other())
    assert words.verdict == "Cannot be distinguished from calibrated."
    check = found.calibration
    assert f"The calibration error is {percent_text(check.error)}" in words.error
    assert "in 15 bins, weighted by images" in words.error
    assert f"it is {percent_text(check.by_chance)} in the mean" in words.error
    assert "calibration_error" not in found.intervals
    assert found.metrics["calibration_error"] == check.error
    gap = check.gap
    ends = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    assert words.gap == (
        f"Mean confidence less accuracy: {100 * gap.value:+.1f} points (95 % interval {ends})."
    )


def test_a_class_that_is_off_is_named_with_its_direction() -> None:
    words = report_calibration.calibration_words(evaluated(off=0.3), other())
    assert words.verdict.startswith("Over-confident by ")
    (one,) = words.classes
    assert (one.label, one.images, one.direction) == ("class 0", 300, "too sure")
    assert one.confidence - one.accuracy == pytest.approx(0.3, abs=0.08)
    assert words.classes_about == (
        "1 of 3 classes is off by more than chance (of the classes that are named, 5% at most are "
        "named wrongly in the mean)."
    )
    none = report_calibration.calibration_words(evaluated(), other())
    assert not none.classes
    assert none.classes_about.startswith("None of 3 classes is off by more than chance")


def test_classes_of_few_images_are_said_not_to_be_judged() -> None:
    few = report_calibration.calibration_words(evaluated(num_labels=100), other())
    assert few.classes_about.startswith("No class is judged: of each, fewer than 10 images")
    some = evaluated(num_labels=3, n=26)
    words = report_calibration.calibration_words(some, other())
    assert "No class" in words.classes_about


def test_the_temperature_has_its_interval(facts: RunFacts) -> None:
    assert facts.info is not None
    info = facts.info.model_copy(update={"temperature": 1.314})
    known = replace(
        facts, info=info, state={**facts.state, "temperature": {"low": 1.12, "high": 1.53}}
    )
    found = evaluated()
    text = report_calibration.temperature_words(found, known)
    assert text.startswith("Logits were divided by a temperature of 1.31 (1.12 to 1.53), fitted on")
    for state in ({}, {"temperature": None}, {"temperature": {"low": "1", "high": 2.0}}):
        former = replace(facts, info=info, state=state)
        assert "a temperature of 1.314, fitted" in report_calibration.temperature_words(
            found, former
        )
    unfitted = replace(facts, info=info.model_copy(update={"temperature": 1.0}))
    assert report_calibration.temperature_words(found, unfitted) == ""
    assert report_calibration.temperature_words(found, other()) == ""


def test_a_run_notes_its_temperature(facts: RunFacts) -> None:
    noted = facts.state["temperature"]
    assert facts.info is not None
    assert noted["value"] == pytest.approx(facts.info.temperature)
    assert noted["low"] < noted["value"] < noted["high"]


def test_the_folds_predictions_are_not_those_of_the_bundle(facts: RunFacts) -> None:
    assert facts.info is not None
    one = FoldScore(0, 450, Interval(0.8, 0.7, 0.9))
    folds = replace(evaluated(), folds=FoldScores((one, replace(one, fold=1))))
    info = facts.info.model_copy(update={"temperature": 0.91})
    known = replace(
        facts, info=info, state={**facts.state, "temperature": {"low": 0.85, "high": 0.97}}
    )
    text = report_calibration.temperature_words(folds, known)
    assert text.startswith("Each of these predictions is by the network of a fold")
    assert "at a temperature of 0.91 (0.85 to 0.97): this section is not about" in text


def test_the_diagram_has_what_chance_gives() -> None:
    chart = reliability_chart(evaluated())
    assert chart.count("; by chance ") == len(evaluated().calibration.wide_bins.count)
