from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.config.sections import EvaluationSettings
from shopsight.errors import CatalogError, CompareError
from shopsight.evaluation.compare import Comparison, compare_runs
from shopsight.evaluation.compare_page import write_comparison
from shopsight.evaluation.evaluate import evaluate, write_evaluation
from shopsight.evaluation.predictions import Predictions
from shopsight.files import read_json, write_json, write_text
from shopsight.inference.predictor import Predictor
from shopsight.inference.save import save_bundle
from shopsight.inference.torch_engine import TorchEngine

SETTINGS = EvaluationSettings(bootstrap_resamples=400)


def run_of(predictions: Predictions, folder: Path, *, seconds: float = 30.0) -> Path:
    predictions.write(folder / "predictions" / "test.parquet")
    write_text(folder / "recipe.toml", Recipe().to_toml())
    spent = {"prepare": {"wall": 1.0, "cpu": 2.0}, "finetune": {"wall": seconds, "cpu": 50.0}}
    write_json(folder / "run.json", {"stage": "bundled", "seconds": spent})
    return folder


def some_predictions(correct: list[bool], *, groups: list[str] | None = None) -> Predictions:
    count = len(correct)
    table = pl.DataFrame(
        {
            "row": range(count),
            "image": [f"{index}.jpg" for index in range(count)],
            "label": ["hat" if index % 2 else "shoe" for index in range(count)],
            "correct": correct,
        }
    )
    if groups:
        table = table.with_columns(pl.Series("group", groups))
    return Predictions(table, ("hat", "shoe"), False, "test", "shop")


@pytest.fixture(scope="module")
def real_runs(
    tmp_path_factory: pytest.TempPathFactory, predictor: Predictor, catalog: Catalog
) -> list[Path]:
    """The fitted model with its predictions all right, and all wrong, as runs with bundles.

    They differ in all of the nine products: fewer than six would make no clear difference.
    """
    folder = tmp_path_factory.mktemp("runs")
    found = evaluate(predictor, catalog, settings=SETTINGS).predictions
    runs = []
    for name, right in (("good", True), ("bad", False)):
        table = found.table.with_columns(correct=pl.lit(right))
        runs.append(run_of(replace(found, table=table), folder / name))
    for run in runs:
        write_evaluation(run, evaluate(predictor, catalog, split="val", settings=SETTINGS))
        assert isinstance(predictor.engine, TorchEngine)
        model = predictor.engine.model
        images = [Path(ref).read_bytes() for ref in catalog.refs()[:2]]
        save_bundle(run / "model", model, info=predictor.info, golden_images=images, metrics={})
    return runs


@pytest.fixture(scope="module")
def comparison(real_runs: list[Path]) -> Comparison:
    return compare_runs(real_runs, device="cpu", settings=SETTINGS)


def test_runs_are_ordered_and_measured(comparison: Comparison) -> None:
    good, bad = comparison.entries
    assert (good.name, bad.name) == ("good", "bad")
    assert good.score.value > bad.score.value
    assert good.difference is None
    assert bad.difference is not None
    assert bad.difference.value == pytest.approx(bad.score.value - good.score.value)
    assert bad.clearly_worse
    assert comparison.metric == "accuracy"
    assert comparison.grouped
    assert good.training_s == 31.0
    assert good.training_cpu_s == 52.0
    assert good.profile is not None
    assert good.profile.classes == 3
    assert good.profile.parameters == 142_474 - 33 * 7
    assert good.latency_ms is not None
    assert good.images_per_s is not None
    # The best run stands first, wherever it was named.
    reversed_runs = compare_runs(
        [entry.run for entry in reversed(comparison.entries)], measure=False, settings=SETTINGS
    )
    assert reversed_runs.best.name == "good"
    assert reversed_runs.best.score == good.score
    assert reversed_runs.entries[1].profile is None


def test_a_few_products_make_no_clear_difference(tmp_path: Path) -> None:
    groups = [f"product {index // 3}" for index in range(60)]
    right = some_predictions([True] * 60, groups=groups)
    for products, clear in ((5, False), (6, True)):
        wrong = some_predictions(
            [False] * 3 * products + [True] * (60 - 3 * products), groups=groups
        )
        runs = [run_of(right, tmp_path / f"r{products}"), run_of(wrong, tmp_path / f"w{products}")]
        found = compare_runs(runs, measure=False, settings=SETTINGS)
        assert found.entries[1].clearly_worse is clear


def test_page_table_and_json(comparison: Comparison, tmp_path: Path) -> None:
    page = write_comparison(tmp_path / "out", comparison)
    html = page.read_text(encoding="utf-8")
    assert "<svg" in html
    assert "http" not in html.replace("http://www.w3.org", "")
    table = pl.read_csv(tmp_path / "out" / "compare.csv")
    assert table["name"].to_list() == ["good", "bad"]
    assert table["gflops"].to_list() == [2 * value for value in table["gmacs"]]
    assert table["difference_value"].to_list()[0] == 0.0
    json = read_json(tmp_path / "out" / "compare.json")
    assert json["entries"][0]["macs"] * 2 == json["entries"][0]["flops"]
    assert json["images"] == comparison.images
    assert comparison.recall.columns == ["label", "images", "good", "bad"]


def test_paired_difference_is_narrower_than_the_intervals(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.3
    a = run_of(some_predictions(list(~hard)), tmp_path / "a")
    b = run_of(some_predictions(list(~hard & (rng.random(400) > 0.03))), tmp_path / "b")
    found = compare_runs([a, b], measure=False, settings=SETTINGS)
    best, other = found.entries
    assert other.difference is not None
    assert other.clearly_worse
    assert best.score.low < other.score.high  # the two intervals overlap
    width = other.difference.high - other.difference.low
    assert width < 0.5 * (best.score.high - best.score.low)


def test_groups_widen_the_intervals(tmp_path: Path) -> None:
    correct = [index // 10 % 3 != 0 for index in range(300)]
    groups = [f"product-{index // 10}" for index in range(300)]
    runs = [
        run_of(some_predictions(correct), tmp_path / "a"),
        run_of(some_predictions(correct), tmp_path / "b"),
    ]
    alone = compare_runs(runs, measure=False, settings=SETTINGS).best.score
    for run in runs:
        run_of(some_predictions(correct, groups=groups), run)
    concat = compare_runs(runs, measure=False, settings=SETTINGS)
    assert concat.grouped
    assert concat.best.score.high - concat.best.score.low > 2 * (alone.high - alone.low)
    assert not concat.entries[1].clearly_worse


def test_rows_in_another_order_are_matched_by_image(tmp_path: Path) -> None:
    correct = [True] * 30 + [False] * 10
    first = some_predictions(correct)
    turned = first.table.reverse().with_columns(pl.Series("row", range(40)))
    runs = [
        run_of(first, tmp_path / "a"),
        run_of(replace(first, table=turned), tmp_path / "b"),
    ]
    found = compare_runs(runs, measure=False, settings=SETTINGS)
    assert found.entries[1].difference is not None
    assert found.entries[1].difference.value == 0.0
    # 40 images without a disagreement: none of about 3 in 40 has been seen.
    assert found.entries[1].difference.high == pytest.approx(1 - 0.05 ** (1 / 40))
    assert not found.entries[1].clearly_worse


def test_different_images_are_refused_by_name(tmp_path: Path) -> None:
    whole = some_predictions([True] * 10)
    part = replace(whole, table=whole.table.filter(pl.col("row") != 4))
    other = part.table.with_columns(pl.col("image").str.replace("^7.jpg", "new.jpg"))
    runs = [
        run_of(whole, tmp_path / "a"),
        run_of(replace(whole, table=other), tmp_path / "b"),
    ]
    with pytest.raises(CompareError) as caught:
        compare_runs(runs, measure=False)
    text = str(caught.value)
    assert "2 only in a, 1 only in b, 8 in both" in text
    assert "4.jpg: only a" in text
    assert "new.jpg: only b" in text


def test_other_labels_truths_and_contents_are_refused(tmp_path: Path) -> None:
    first = some_predictions([True] * 6)
    a = run_of(first, tmp_path / "a")
    b = run_of(replace(first, labels=("hat", "shoe", "sock")), tmp_path / "b")
    with pytest.raises(CompareError, match="sock: only b"):
        compare_runs([a, b], measure=False)
    relabeled = first.table.with_columns(label=pl.lit("hat"))
    run_of(replace(first, table=relabeled), b)
    with pytest.raises(CompareError, match=r"3 images have one label in a and another in b"):
        compare_runs([a, b], measure=False)
    run_of(first, b)
    for run in (a, b):
        pl.DataFrame({"sha256": ["0" * 64] * 5 + [run.name * 64]}).write_parquet(
            run / "catalog.parquet"
        )
    with pytest.raises(CompareError, match=r"1 images have one content in a"):
        compare_runs([a, b], measure=False)


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    a = run_of(some_predictions([True] * 6), tmp_path / "a")
    with pytest.raises(CompareError, match="one run alone"):
        compare_runs([a])
    with pytest.raises(CompareError, match="twice"):
        compare_runs([a, a])
    with pytest.raises(CatalogError, match="no such predictions"):
        compare_runs([a, tmp_path / "absent"])


def test_out_of_fold_predictions_are_taken_where_all_runs_have_them(tmp_path: Path) -> None:
    whole = replace(some_predictions([True] * 12), split="out-of-fold")
    runs = [tmp_path / "a", tmp_path / "b"]
    for run in runs:
        whole.write(run / "predictions" / "out-of-fold.parquet")
        seconds = {"finetune": {"wall": 5.0, "cpu": 7.0}}
        write_json(run / "folds" / "0" / "run.json", {"seconds": seconds})
        write_json(run / "folds" / "1" / "run.json", {"seconds": seconds})
        write_json(run / "run.json", {"seconds": {"prepare": {"wall": 1.0, "cpu": 1.0}}})
    found = compare_runs(runs, measure=False, settings=SETTINGS)
    assert found.split == "out-of-fold"
    assert found.images == 12
    assert found.best.training_s == 11.0


@pytest.mark.parametrize("split", [None, "test", "out-of-fold"])
def test_a_k_fold_run_beside_another_is_refused(tmp_path: Path, split: str | None) -> None:
    plain = run_of(some_predictions([True] * 12), tmp_path / "plain")
    whole = replace(some_predictions([True] * 12), split="out-of-fold")
    whole.write(tmp_path / "folds" / "predictions" / "out-of-fold.parquet")
    for fold in "012":
        write_json(tmp_path / "folds" / "folds" / fold / "run.json", {})
    with pytest.raises(CompareError, match="folds is a K-fold run and plain is not") as caught:
        compare_runs([plain, tmp_path / "folds"], split=split, measure=False, settings=SETTINGS)
    assert "train plain again with --folds 3, or folds without --folds" in str(caught.value)
    with pytest.raises(CatalogError, match="no such predictions"):
        compare_runs([tmp_path / "folds", tmp_path / "absent"], measure=False)


def test_equal_folder_names_are_told_apart(tmp_path: Path) -> None:
    runs = [
        run_of(some_predictions([True] * 6), tmp_path / which / "model-a") for which in ("x", "y")
    ]
    names = {entry.name for entry in compare_runs(runs, measure=False, settings=SETTINGS).entries}
    assert names == {"x/model-a", "y/model-a"}


def test_several_labels_are_compared_by_average_precision(
    tmp_path: Path, several: Catalog, fitted_on: object
) -> None:
    assert callable(fitted_on)
    predictions = evaluate(fitted_on(several), several, settings=SETTINGS).predictions
    truth = predictions.label_table("label").astype(np.float32)
    perfect = predictions.table.with_columns(pl.Series("scores", truth))
    runs = [
        run_of(replace(predictions, table=perfect), tmp_path / "a"),
        run_of(predictions, tmp_path / "b"),
    ]
    found = compare_runs(runs, measure=False, settings=SETTINGS)
    assert found.metric == "mean_average_precision"
    assert found.best.name == "a"
    assert found.best.score.value == 1.0
    assert found.recall.height == 0
    assert "<html" in write_comparison(tmp_path, found).read_text(encoding="utf-8")
