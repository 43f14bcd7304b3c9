"""Reports and comparisons of thousands of classes stay small, and show the classes that matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.evaluation import score as score_module
from shopsight.evaluation.compare_page import RECALL_FILE, page_context, write_comparison
from shopsight.evaluation.comparison import Comparison, Entry
from shopsight.evaluation.figures import confused_pairs, confusion_charts
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.report import write_evaluation_report
from shopsight.evaluation.report_classes import class_table
from shopsight.evaluation.score import Evaluation, score
from shopsight.metrics.intervals import Interval

CLASSES = 10_000
QUICK = EvaluationSettings()


@pytest.fixture(scope="module")
def long_tail() -> Evaluation:
    """3,000 images of a long tail. Class 7 is always taken for class 8, class 9 always right."""
    rng = np.random.default_rng(0)
    names = np.array([f"product {code:05d}" for code in range(CLASSES)])
    truth = np.append(rng.zipf(1.5, 2900) % CLASSES, [7] * 40 + [9] * 60)
    predicted = np.where(rng.random(3000) < 0.6, truth, rng.integers(0, CLASSES, 3000))
    predicted[truth == 7], predicted[truth == 9] = 8, 9
    correct = truth == predicted
    table = pl.DataFrame(
        {
            "row": np.arange(3000),
            "image": [f"{row}.jpg" for row in range(3000)],
            "label": names[truth].tolist(),
            "predicted": names[predicted].tolist(),
            "confidence": rng.random(3000).astype(np.float32),
            "correct": correct,
            "rank": np.where(correct, 1, 2).astype(np.int32),
            "loss": rng.random(3000).astype(np.float32),
        }
    )
    return score(Predictions(table, tuple(names.tolist()), False, "test", "tail"), QUICK)


def test_the_worst_and_the_most_frequent_classes_are_shown(long_tail: Evaluation) -> None:
    shown = class_table(long_tail)
    assert len(shown.rows) == 60
    assert "Of 10,000 classes, the 30 that are most surely bad" in shown.about
    assert all(row.has_images for row in shown.rows)
    labels = [row.label for row in shown.rows]
    assert "product 00007" in labels
    assert long_tail.per_class.sort("images")["label"][-1] in labels
    recalls = [row.recall for row in shown.rows]
    assert recalls == sorted(recalls)
    assert long_tail.per_class.height == CLASSES


def test_confusions_are_a_list(long_tail: Evaluation) -> None:
    (chart,) = confusion_charts(long_tail)
    assert chart[0] == "The 24 classes that are mixed up most"
    pairs = confused_pairs(long_tail)
    assert len(pairs) == 50
    assert (pairs[0].label, pairs[0].predicted) == ("product 00007", "product 00008")


def test_the_report_is_small_and_says_how_much_is_not_measured(
    long_tail: Evaluation, tmp_path: Path
) -> None:
    table = long_tail.predictions.table.select("image", "label").with_columns(split=pl.lit("test"))
    catalog = Catalog(table, "tail", root=str(tmp_path))
    page = write_evaluation_report(long_tail, catalog, tmp_path / "report.html")
    assert page.stat().st_size < 300_000
    missing = len(long_tail.not_measured)
    assert missing > 9000
    assert f"{missing:,} of 10,000 classes not measured" in page.read_text(encoding="utf-8")
    measured = long_tail.per_class.filter(pl.col("images") > 0)
    assert long_tail.metrics["macro_recall"] == pytest.approx(measured["recall"].mean())


def test_a_comparison_shows_the_labels_that_all_are_bad_at(
    long_tail: Evaluation, tmp_path: Path
) -> None:
    recall = long_tail.per_class.filter(pl.col("images") > 0).sort("images", descending=True)
    recall = recall.select("label", "images", good="recall", bad=pl.col("recall") / 2)
    found = Interval(0.6, 0.5, 0.7)
    entry = Entry("good", Path("good"), "x:y", "", found, None, None, None, None)
    other = replace(entry, name="bad", difference=Interval(-0.3, -0.4, -0.2))
    comparison = Comparison((entry, other), "accuracy", "tail", "test", 3000, False, False, recall)
    context = page_context(comparison)
    assert len(context["recall"]) == 60
    assert context["recall"][0]["label"] == "product 00007"
    assert context["about_recall"].endswith(f"all are in {RECALL_FILE}.")
    page = write_comparison(tmp_path, comparison)
    assert page.stat().st_size < 300_000
    assert pl.read_csv(tmp_path / RECALL_FILE).height == recall.height
    few = replace(comparison, recall=recall.head(3))
    assert len(page_context(few)["recall"]) == 3
    assert page_context(few)["about_recall"].endswith("classifies correctly.")


def test_the_json_holds_the_commonest_confusions_and_counts_the_others(
    long_tail: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = long_tail.to_json()
    assert whole["confusion_left_out"] == {"pairs": 0, "images": 0}
    monkeypatch.setattr(score_module, "MOST_CONFUSIONS", 5)
    found = long_tail.to_json()
    assert found["confusion"] == whole["confusion"][:5]
    left_out = found["confusion_left_out"]
    assert left_out["pairs"] == long_tail.confusion.height - 5
    assert left_out["images"] + sum(one["images"] for one in found["confusion"]) == 3000
