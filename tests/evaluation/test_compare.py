"""Finished runs beside each other: real runs, some of them with predictions made worse."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from shopsight.errors import CatalogError, CompareError, TrainingError, WeightsError
from shopsight.evaluation.compare import compare_runs, unbuildable
from shopsight.evaluation.compare_page import page_context, write_comparison
from shopsight.evaluation.comparison import Comparison
from shopsight.evaluation.predictions import Predictions
from shopsight.io.json_files import read_json
from shopsight.metrics.intervals import Interval
from shopsight.runs.run_folder import RunFolder


def run_with(run: Path, folder: Path, *, correct: bool) -> Path:
    """A copy of the run whose test predictions are all right, or all wrong."""
    copy = RunFolder(shutil.copytree(run, folder))
    test = Predictions.read(copy.predictions_file("test"))
    table = test.table.with_columns(correct=pl.lit(correct))
    replace(test, table=table).write(copy.predictions_file("test"))
    return copy.path


@pytest.fixture(scope="module")
def runs(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The tiny run with its predictions all right, and all wrong."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        run_with(tiny_run, folder / "good", correct=True),
        run_with(tiny_run, folder / "bad", correct=False),
    ]


@pytest.fixture(scope="module")
def comparison(runs: list[Path]) -> Comparison:
    return compare_runs(runs, device="cpu")


def test_runs_are_ordered_and_measured(comparison: Comparison, runs: list[Path]) -> None:
    good, bad = comparison.entries
    assert (good.name, bad.name) == ("good", "bad")
    assert good.score.value > bad.score.value
    assert good.difference is None
    assert bad.difference is not None
    assert bad.difference.value == pytest.approx(bad.score.value - good.score.value)
    assert bad.clearly_worse
    assert comparison.metric == "accuracy"
    assert comparison.images == len(RunFolder(runs[0]).catalog().rows_of("test"))
    seconds = RunFolder(runs[0]).seconds()
    assert good.training_s == pytest.approx(sum(stage["wall"] for stage in seconds.values()))
    assert good.training_cpu_s == pytest.approx(sum(stage["cpu"] for stage in seconds.values()))
    assert good.backbone == "shopsight:fashion_cnn"
    assert good.profile is not None
    assert good.profile.num_classes == 3
    assert good.profile.parameters == 142_474 - 33 * 7
    assert good.latency_ms is not None
    assert good.images_per_s is not None
    # The best run stands first, wherever it was named.
    reversed_runs = compare_runs(
        [entry.run for entry in reversed(comparison.entries)], measure=False
    )
    assert reversed_runs.best.name == "good"
    assert reversed_runs.best.score == good.score
    assert reversed_runs.entries[1].profile is None


def test_page_table_and_json(comparison: Comparison, tmp_path: Path) -> None:
    page = write_comparison(tmp_path / "out", comparison)
    html = page.read_text(encoding="utf-8")
    assert "<svg" in html
    assert "http" not in html.replace("http://www.w3.org", "")
    for head in ("vs best (points)", "latency (ms)", "throughput (images/s, batch 32)"):
        assert head in html
    table = pl.read_csv(tmp_path / "out" / "compare.csv")
    assert table["name"].to_list() == ["good", "bad"]
    assert table["gflops"].to_list() == [2 * value for value in table["gmacs"]]
    assert table["difference_value"].to_list()[0] == 0.0
    json = read_json(tmp_path / "out" / "compare.json")
    assert json["entries"][0]["macs"] * 2 == json["entries"][0]["flops"]
    assert json["images"] == comparison.images
    assert comparison.recall.columns == ["label", "images", "good", "bad"]


def test_the_page_says_which_differences_are_clear(comparison: Comparison) -> None:
    context = page_context(comparison)
    assert context["title"].startswith("2 models on ")
    assert context["lead"] == f"{comparison.images} test images, the same for every model."
    assert context["verdict"] == "good is better than the others by more than chance."
    assert context["clear"]
    assert context["about_choice"] == (
        "good was chosen on these images: as the best of 2 it looks better than it is, but little, "
        "as it is clear of the others."
    )
    best, worse = context["models"]
    assert (best.difference, best.verdict) == (None, ("good", "best"))
    assert worse.verdict == ("error", "worse")
    # All right against all wrong: 100 points.
    assert worse.difference[0] == "-100.0"
    assert best.backbone == "shopsight:fashion_cnn"
    assert best.parameters == pytest.approx((142_474 - 33 * 7) / 1e6)
    assert len(context["charts"]) == 3


def test_the_page_names_the_models_that_may_be_as_good(comparison: Comparison) -> None:
    first, second = comparison.entries
    unclear = replace(
        second,
        name=second.backbone,
        difference=Interval(-0.01, -0.03, 0.02),
        profile=None,
        training_s=None,
    )
    context = page_context(
        replace(
            comparison,
            entries=(first, unclear),
            synthetic=True,
            grouped=True,
            images=1234,
            optimism=0.015,
        )
    )
    assert context["lead"].startswith("1,234 test images")
    assert context["lead"].endswith("; the images are rendered, not photographed.")
    assert not context["clear"]
    assert context["verdict"] == (
        "These 1,234 test images cannot tell 2 models apart: good, shopsight:fashion_cnn."
    )
    assert "by 1.5 points on average if the 2 are equally good" in context["about_choice"]
    assert context["unit"] == "families"
    row = context["models"][1]
    assert row.verdict == ("note", "may be the best")
    assert row.difference == ("-1.0", "-3.0 to +2.0")
    assert row.backbone == ""
    assert row.parameters is None
    # One model alone has a cost: there is nothing to set against it.
    assert context["charts"] == []


def test_a_run_without_its_bundle_is_compared_without_its_cost(
    runs: list[Path], own_run: Path
) -> None:
    shutil.rmtree(RunFolder(own_run).model)
    found = compare_runs([runs[0], own_run], device="cpu")
    assert [entry.profile is None for entry in found.entries] == [False, True]


def test_images_of_another_content_are_refused(runs: list[Path], own_run: Path) -> None:
    run = RunFolder(own_run)
    audited = run.audited_catalog()
    replace(audited, sha256=audited.sha256.str.reverse()).write(run.catalog_file)
    with pytest.raises(CompareError, match="images have one content in good and another in run"):
        compare_runs([runs[0], own_run], measure=False)


def test_what_cannot_be_compared(runs: list[Path], own_run: Path, tmp_path: Path) -> None:
    good, _ = runs
    with pytest.raises(CompareError, match="one run alone"):
        compare_runs([good])
    assert len(compare_runs([good], alone=True, measure=False).entries) == 1
    with pytest.raises(CompareError, match="twice"):
        compare_runs([good, good])
    with pytest.raises(TrainingError, match="is not a run folder"):
        compare_runs([good, tmp_path / "absent"])
    shutil.rmtree(RunFolder(own_run).predictions)
    with pytest.raises(CatalogError, match="no such predictions"):
        compare_runs([good, own_run])


def test_k_fold_runs_are_compared_out_of_fold(tiny_folds_run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_folds_run, tmp_path / "other")
    found = compare_runs([tiny_folds_run, other], measure=False)
    run = RunFolder(tiny_folds_run)
    assert found.split == "out-of-fold"
    assert found.images == len(run.catalog())
    spent = [stage["wall"] for part in (run, *run.folds()) for stage in part.seconds().values()]
    assert found.best.training_s == pytest.approx(sum(spent))


@pytest.mark.parametrize("split", [None, "test", "out-of-fold"])
def test_a_k_fold_run_beside_another_is_refused(
    tiny_folds_run: Path, runs: list[Path], split: str | None
) -> None:
    with pytest.raises(CompareError, match="run is a K-fold run and good is not") as caught:
        compare_runs([runs[0], tiny_folds_run], split=split, measure=False)
    assert "train good again with --folds 2, or run without --folds" in str(caught.value)


def test_equal_folder_names_get_their_parents(tiny_run: Path, tmp_path: Path) -> None:
    runs = [shutil.copytree(tiny_run, tmp_path / which / "model-a") for which in ("x", "y")]
    names = {entry.name for entry in compare_runs(runs, measure=False).entries}
    assert names == {"x/model-a", "y/model-a"}


def test_at_least_two_backbones_must_be_left() -> None:
    def build(name: str) -> None:
        if name.startswith("far"):
            raise WeightsError(f"{name} has no weights here")

    assert unbuildable(["a", "b"], build) == {}
    assert unbuildable(["a", "far", "b"], build) == {"far": "far has no weights here"}
    with pytest.raises(CompareError, match="0 of 2"):
        unbuildable(["far", "far off"], build)
