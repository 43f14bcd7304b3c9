"""A run is scored on its own images: each part is predicted once and scored once."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from shopsight import api
from shopsight.errors import CatalogError, TrainingError
from shopsight.evaluation import score as scoring
from shopsight.evaluation.evaluate import evaluate_run, out_of_fold_predictions
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.report import write_run_evaluations
from shopsight.inference.predictor import Predictor
from shopsight.runs.run_folder import RunFolder
from tests.helpers import read_only


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is computed while the test runs: "scorings" (parts) and "predicted" images."""
    counts: Counter[str] = Counter()
    recalls, predict_batches = scoring.share_intervals, Predictor.predict_batches

    def counted_recalls(*args: Any, **settings: Any) -> Any:
        counts["scorings"] += 1
        return recalls(*args, **settings)

    def counted_predict(self: Predictor, batches: Any) -> Any:
        for embeddings, logits in predict_batches(self, batches):
            counts["predicted"] += len(logits)
            yield embeddings, logits

    monkeypatch.setattr(scoring, "share_intervals", counted_recalls)
    monkeypatch.setattr(Predictor, "predict_batches", counted_predict)
    return counts


def part_size(run: RunFolder, *splits: str) -> int:
    return sum(len(run.catalog().rows_of(split)) for split in splits)


def test_after_training_each_part_is_scored_once_from_the_features_that_are_kept(
    own_run: Path, work: Counter[str]
) -> None:
    # Nothing is left to train: what follows training is done again.
    found = api.resume(own_run).evaluations
    assert set(found) == {"val", "test"}
    assert work == {"scorings": 2}


def test_evaluating_a_part_predicts_it_once_and_scores_each_part_once(
    own_run: Path, work: Counter[str]
) -> None:
    found = api.evaluate(own_run, split="test")
    # The report quotes the validation part too, whose predictions are there.
    assert work == {"scorings": 2, "predicted": part_size(RunFolder(own_run), "test")}
    assert found.split == "test"


def test_out_of_fold_scoring_predicts_each_image_once(
    tiny_folds_run: Path, tmp_path: Path, work: Counter[str]
) -> None:
    run = RunFolder(shutil.copytree(tiny_folds_run, tmp_path / "folds"))
    evaluation = api.evaluate(run.path)
    assert evaluation.split == "out-of-fold"
    assert work == {"scorings": 1, "predicted": len(run.catalog())}
    assert evaluation.counts["images"] == len(run.catalog())


def test_out_of_fold_predictions_are_those_of_each_folds_own_model(tiny_folds_run: Path) -> None:
    run = RunFolder(tiny_folds_run)
    whole = out_of_fold_predictions(run)
    assert whole.table.equals(out_of_fold_predictions(run, cached=True).table)
    assert whole.table["row"].to_list() == list(range(len(run.catalog())))
    for number, fold in enumerate(run.folds()):
        own = evaluate_run(fold, splits=("test",))["test"].predictions.table
        of_fold = whole.table.filter(fold=number)
        assert of_fold["image"].to_list() == own["image"].to_list()
        assert of_fold["confidence"].to_list() == own["confidence"].to_list()


def test_the_cache_and_the_files_give_the_same(tiny_run: Path) -> None:
    run = RunFolder(tiny_run)
    cached, decoded = evaluate_run(run, cached=True), evaluate_run(run)
    assert set(cached) == set(decoded) == {"val", "test"}
    for split, evaluation in cached.items():
        assert evaluation.predictions.table.equals(decoded[split].predictions.table)
        assert evaluation.to_json() == decoded[split].to_json()


def test_what_is_evaluated_is_kept(own_run: Path) -> None:
    run = RunFolder(own_run)
    shutil.rmtree(run.predictions)
    run.report_file.unlink()
    report = write_run_evaluations(run, evaluate_run(run, splits=("train",)))
    assert report == run.report_file
    assert report.is_file()
    kept = Predictions.read(run.predictions_file("train"))
    assert len(kept) == part_size(run, "train")


def test_what_cannot_be_evaluated_is_refused(own_run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a run folder"):
        evaluate_run(RunFolder(tmp_path))
    with pytest.raises(CatalogError, match="no out-of-fold images"):
        evaluate_run(RunFolder(own_run), splits=("out-of-fold",))


@pytest.mark.posix("folders that nobody may write in")
def test_a_run_on_a_share_that_is_read_only(own_run: Path, tmp_path: Path, said: list[str]) -> None:
    before = {path: path.read_bytes() for path in own_run.rglob("*") if path.is_file()}
    with read_only(own_run):
        if os.geteuid():
            (own_run / "predictions").chmod(0o555)
        evaluation = api.evaluate(own_run)
        assert evaluation.metrics["accuracy"] >= 0
        assert evaluation.report is None
        assert any(line.startswith("nothing was written: ") for line in said)
        elsewhere = api.evaluate(own_run, out=tmp_path / "report.html")
    assert elsewhere.report == tmp_path / "report.html"
    assert "<html" in elsewhere.report.read_text(encoding="utf-8")
    assert {path: path.read_bytes() for path in own_run.rglob("*") if path.is_file()} == before
