"""Evaluation against a plain loop over `predict`, one image at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score

from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.errors import CatalogError, CompareError, ImageError, MetricError
from shopsight.evaluation.evaluate import evaluate, write_evaluation
from shopsight.evaluation.predict_catalog import predict_catalog
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.score import score
from shopsight.inference.predictor import Predictor
from shopsight.loading.cache import open_cache
from shopsight.metrics.calibration import expected_calibration_error
from shopsight.runs.run_folder import RunFolder

QUICK = EvaluationSettings()


def test_predictions_are_those_of_predict(catalog: Catalog, predictor: Predictor) -> None:
    found = predict_catalog(predictor, catalog, split="test")
    test = catalog.take(catalog.rows_of("test"))
    assert found.table["image"].to_list() == test.table["image"].to_list()
    for row, said in zip(
        found.table.to_dicts(), predictor.predict(test.refs(), top=3), strict=True
    ):
        assert row["predicted"] == said.labels[0]
        assert row["top_labels"] == list(said.labels)
        assert row["top_probabilities"] == pytest.approx(said.probabilities, abs=1e-5)
        assert row["confidence"] == pytest.approx(said.probabilities[0], abs=1e-5)
        assert row["correct"] == (said.labels[0] == row["label"])
        assert row["rank"] == said.labels.index(row["label"]) + 1
        given = said.probabilities[row["rank"] - 1]
        assert row["loss"] == pytest.approx(-np.log(given), rel=1e-3, abs=1e-4)


def test_scores_are_those_of_a_count(catalog: Catalog, predictor: Predictor) -> None:
    found = evaluate(predictor, catalog, settings=QUICK)
    rows = found.predictions.table.to_dicts()
    hits = [row["label"] == row["predicted"] for row in rows]
    assert found.headline == "accuracy"
    assert found.score.value == pytest.approx(sum(hits) / len(hits))
    assert found.score.low <= found.score.value <= found.score.high
    assert found.counts == {
        "images": len(catalog.rows_of("test")),
        "correct": sum(hits),
        "labels": 3,
        "families": 9,
    }
    for row in found.per_class.to_dicts():
        own = [r for r in rows if r["label"] == row["label"]]
        assert row["images"] == len(own)
        assert row["recall"] == pytest.approx(sum(r["correct"] for r in own) / len(own))
        assert np.isnan([row["recall_low"], row["recall_high"]]).all(), "three families"
    assert found.confusion["images"].sum() == len(rows)
    assert found.calibration.bins.count.sum() == len(rows)
    assert found.metrics["top_2_accuracy"] >= found.metrics["accuracy"]


def test_the_epoch_cache_and_the_files_give_the_same(
    catalog: Catalog, predictor: Predictor, tmp_path: Path
) -> None:
    with use_cache_dir(tmp_path):
        source = open_cache(catalog, predictor.preprocess, settings=CacheSettings(mode="raw"))
    cached = predict_catalog(predictor, catalog, split="val", source=source, batch_size=7)
    decoded = predict_catalog(predictor, catalog, split="val", batch_size=7)
    assert cached.table.equals(decoded.table)


def test_every_row_is_used_once(catalog: Catalog, predictor: Predictor) -> None:
    found = predict_catalog(predictor, catalog, split="all", batch_size=13)
    assert found.table["row"].to_list() == list(range(len(catalog)))


def test_groups_widen_the_interval(catalog: Catalog, predictor: Predictor) -> None:
    found = predict_catalog(predictor, catalog, split="all")
    # Two images of a product that always share their fate: half as many observations.
    fate = pl.col("correct").first().over("group")
    shared = Predictions(
        found.table.with_columns(fate), found.labels, found.multilabel, "all", found.data
    )
    alone = Predictions(
        shared.table.drop("group"), found.labels, found.multilabel, "all", found.data
    )
    assert alone.families().are_images
    wide, narrow = score(shared).score, score(alone).score
    assert wide.high - wide.low > 1.15 * (narrow.high - narrow.low)


def test_all_right_is_no_certainty(catalog: Catalog, predictor: Predictor) -> None:
    found = predict_catalog(predictor, catalog, split="test")
    perfect = found.table.with_columns(
        predicted=pl.col("label"), correct=pl.lit(True), rank=pl.lit(1, pl.Int32)
    ).drop("group")
    scored = score(Predictions(perfect, found.labels, False, "test", found.data), QUICK)
    low = len(perfect) / (len(perfect) + 1.959964**2)
    for name in ("accuracy", "top_2_accuracy", "balanced_accuracy", "macro_f1"):
        assert scored.intervals[name].value == scored.intervals[name].high == 1.0
        assert scored.intervals[name].low == pytest.approx(low)


def test_images_without_a_group_stand_alone(catalog: Catalog, predictor: Predictor) -> None:
    group = pl.when(pl.int_range(pl.len()) < 4).then(pl.lit("one")).otherwise(None)
    some = catalog.with_table(catalog.table.with_columns(group.alias("group")))
    families = predict_catalog(predictor, some, split="all").families()
    assert families.count == len(catalog) - 3
    assert len(set(families.of_image[:4].tolist())) == 1


def test_a_copy_joins_the_groups_of_both(catalog: Catalog, predictor: Predictor) -> None:
    rows = np.arange(len(catalog))
    paired = catalog.with_table(
        catalog.table.with_columns(pl.Series("group", [f"g{row // 2}" for row in rows]))
    )
    copies = rows.copy()
    copies[3] = copies[4]
    found = predict_catalog(predictor, paired, split="all").with_duplicate_groups(copies)
    families = found.families().of_image
    assert families[:8].tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert found.families().count == -(-len(catalog) // 2) - 1


def test_a_file_that_cannot_be_decoded_is_named(
    damaged_folder: Catalog, predictor: Predictor
) -> None:
    victim = damaged_folder.take(damaged_folder.rows_of("test")).refs()[3]
    with pytest.raises(ImageError, match=Path(victim).name):
        evaluate(predictor, damaged_folder, settings=QUICK)


def test_unknown_labels_and_empty_parts_are_refused(catalog: Catalog, predictor: Predictor) -> None:
    renamed = pl.col("label").replace({"hat": "helmet"})
    with pytest.raises(CatalogError, match="helmet"):
        evaluate(predictor, catalog.with_table(catalog.table.with_columns(renamed)))
    nothing = catalog.take(catalog.rows_of("train"))
    with pytest.raises(CatalogError, match="no test images"):
        evaluate(predictor, nothing)
    with pytest.raises(CatalogError, match="is not split"):
        evaluate(predictor, catalog.with_table(catalog.table.drop("split")))


def test_several_labels(several: Catalog, fitted_on: object) -> None:
    predictor = fitted_on(several)  # type: ignore[operator]
    found = evaluate(predictor, several, settings=QUICK)
    test = several.take(several.rows_of("test"))
    targets = test.targets(predictor.labels).toarray()
    assert found.headline == "mean_average_precision"
    expected = average_precision_score(targets, found.predictions.score_table(), average="macro")
    assert found.score.value == pytest.approx(expected)
    assert found.score.low <= expected <= found.score.high
    for row, said in zip(
        found.predictions.table.to_dicts(), predictor.predict(test.refs()), strict=True
    ):
        assert set(row["predicted"]) == set(said.predicted_labels)
        assert row["correct"] == (set(said.predicted_labels) == set(row["label"]))
    assert "average_precision" in found.per_class.columns
    assert found.confusion.is_empty()
    scores = found.predictions.score_table().ravel()
    error = expected_calibration_error(scores, targets.ravel() > 0, bins=15)
    assert found.metrics["calibration_error"] == pytest.approx(error)
    json.dumps(found.to_json(), allow_nan=False)


def test_one_label_per_image_is_scored_by_a_model_for_several(
    several: Catalog, catalog: Catalog, fitted_on: object
) -> None:
    predictor = fitted_on(several)  # type: ignore[operator]
    found = predict_catalog(predictor, catalog, split="test")
    assert found.table["label"].list.len().unique().to_list() == [1]


def test_a_model_for_one_label_refuses_lists(catalog: Catalog, predictor: Predictor) -> None:
    lists = catalog.with_table(catalog.table.with_columns(pl.concat_list("label")))
    with pytest.raises(CatalogError, match="several labels each"):
        predict_catalog(predictor, lists, split="test")


@pytest.mark.parametrize("kind", ["one", "several"])
def test_predictions_survive_the_file(
    kind: str, catalog: Catalog, several: Catalog, fitted_on: object, tmp_path: Path
) -> None:
    data = catalog if kind == "one" else several
    found = predict_catalog(fitted_on(data), data, split="val")  # type: ignore[operator]
    found.write(tmp_path / "val.parquet")
    back = Predictions.read(tmp_path / "val.parquet")
    assert back.table.equals(found.table)
    assert (back.labels, back.split, back.data, back.synthetic) == (
        found.labels,
        "val",
        "rendered products",
        True,
    )
    assert score(back, QUICK).to_json() == score(found, QUICK).to_json()


def test_a_run_keeps_predictions_and_metrics(
    catalog: Catalog, predictor: Predictor, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    for split in ("val", "test"):
        write_evaluation(run, evaluate(predictor, catalog, split=split, settings=QUICK))
    metrics = json.loads(run.scores_file.read_text(encoding="utf-8"))
    assert set(metrics) == {"val", "test"}
    test = Predictions.read(run.predictions_file("test"))
    shown = metrics["test"]["metrics"]["accuracy"]
    assert shown["value"] == test.table["correct"].mean()
    assert shown["low"] <= shown["value"] <= shown["high"]


def test_folds_are_put_together(catalog: Catalog, predictor: Predictor) -> None:
    parts = [predict_catalog(predictor, catalog, split=s) for s in ("test", "train", "val")]
    whole = Predictions.concat(parts)
    assert whole.split == "out-of-fold"
    assert whole.table["row"].to_list() == list(range(len(catalog)))
    total = sum(int(part.table["correct"].sum()) for part in parts)
    assert score(whole, QUICK).counts["correct"] == total
    with pytest.raises(CompareError, match=f"{len(parts[1])} images are in two folds"):
        Predictions.concat([parts[1], parts[1]])


def test_each_fold_has_its_score(catalog: Catalog, predictor: Predictor, tmp_path: Path) -> None:
    parts = [predict_catalog(predictor, catalog, split=s) for s in ("test", "train", "val")]
    run = RunFolder(tmp_path)
    write_evaluation(run, score(Predictions.concat(parts), QUICK))
    # From the file, as the report is written.
    found = score(Predictions.read(run.predictions_file("out-of-fold")), QUICK).folds
    assert found is not None
    for number, (one, part) in enumerate(zip(found.folds, parts, strict=True)):
        assert (one.fold, one.images) == (number, len(part))
        assert one.score == score(part, QUICK).score
    shares = [float(part.table["correct"].to_numpy().mean()) for part in parts]
    assert found.mean == pytest.approx(np.mean(shares))
    assert found.deviation == pytest.approx(np.std(shares, ddof=1))
    written = json.loads(run.scores_file.read_text(encoding="utf-8"))["out-of-fold"]["folds"]
    assert written["trainings"] == 3
    assert written["mean"] == found.mean
    assert [one["value"] for one in written["scores"]] == pytest.approx(shares)
    assert written["low"] <= written["mean"] <= written["high"]
    assert score(parts[0], QUICK).to_json()["folds"] is None


def test_other_files_are_no_predictions(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="no such predictions"):
        Predictions.read(tmp_path / "none.parquet")
    catalog.write(tmp_path / "catalog.parquet")
    with pytest.raises(CatalogError, match="not predictions"):
        Predictions.read(tmp_path / "catalog.parquet")


def test_nothing_has_no_score(catalog: Catalog, predictor: Predictor) -> None:
    found = predict_catalog(predictor, catalog, split="test")
    empty = Predictions(found.table.clear(), found.labels, found.multilabel, "test", "none")
    with pytest.raises(MetricError, match="no images"):
        score(empty, QUICK)
