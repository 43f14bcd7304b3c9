"""The report of a run folder: whole, self-contained, and with the run's own numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import load_recipe
from shopsight.config.sections import EvaluationSettings
from shopsight.errors import CatalogError
from shopsight.evaluation.evaluate import evaluate, write_evaluation
from shopsight.evaluation.examples import low_confidence_correct, mistakes, row_thumbnail
from shopsight.evaluation.figures import (
    confused_pairs,
    confusion_charts,
    history_charts,
    validated,
)
from shopsight.evaluation.metric_names import title_of
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.report import write_evaluation_report, write_report
from shopsight.evaluation.run_info import read_run
from shopsight.evaluation.score import score
from shopsight.files import write_json, write_text
from shopsight.inference.predictor import Predictor
from shopsight.pages import percent_text

QUICK = EvaluationSettings(bootstrap_resamples=200)
VOID = {"meta", "link", "img", "br", "line", "rect", "circle", "path", "image"}


class Page(HTMLParser):
    """Checks nesting, and collects words, sections and whatever would be loaded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.sections: list[str] = []
        self.words = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        named = dict(attrs)
        self.loads += [str(named[name]) for name in ("src", "href") if name in named]
        if tag == "section":
            self.sections.append(str(named["id"]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.words += data


def _history(path: Path, *, probe: bool = True) -> None:
    rows = [
        {
            "stage": "finetune",
            "epoch": e,
            "size_px": 28,
            "lr": 0.1,
            "train_loss": 1 / (e + 1),
            "train_accuracy": 0.5 + e / 10,
            "val_loss": 1.0,
            "val_accuracy": [0.6, 0.8, 0.7][e],
            "seconds": 1.0,
        }
        for e in range(3)
    ]
    if probe:
        rows.insert(0, {**rows[0], "stage": "probe"})
    pl.DataFrame(rows).write_csv(path)


@pytest.fixture
def run(tmp_path: Path, catalog: Catalog, predictor: Predictor) -> Path:
    """A run folder as training and evaluation leave it."""
    run = tmp_path / "first-run"
    for split in ("val", "test"):
        write_evaluation(run, evaluate(predictor, catalog, split=split, settings=QUICK))
    catalog.write(run / "catalog.parquet")
    write_text(
        run / "recipe.toml",
        load_recipe("balanced").replace(evaluation={"bootstrap_resamples": 200}).to_toml(),
    )
    _history(run / "metrics.csv")
    write_text(run / "model" / "model.json", predictor.info.model_dump_json())
    kinds = [
        ("near-duplicate", "warning"),
        ("label-conflict", "error"),
        ("near-duplicate", "warning"),
    ]
    (run / "audit").mkdir()
    pl.DataFrame(
        [{"kind": k, "severity": s, "image": "a", "other": "", "detail": ""} for k, s in kinds]
    ).write_csv(run / "audit" / "findings.csv")
    pl.DataFrame({"image": ["a", "b"], "reason": ["truncated", "truncated"]}).write_csv(
        run / "audit" / "left_out.csv"
    )
    write_json(
        run / "run.json",
        {
            "stage": "bundled",
            "command": "shopsight train products --out <first-run>",
            "seconds": {"probe": {"wall": 75.0, "cpu": 100.0}},
            "versions": {"torch": "2.9"},
            "accepted": ["label-conflict"],
            "notes": ["label is the folder's name"],
        },
    )
    return run


def test_the_report_holds_the_runs_numbers(run: Path) -> None:
    page = Page(write_report(run))
    test = Predictions.read(run / "predictions" / "test.parquet")
    accuracy = test.table["correct"].mean()
    assert isinstance(accuracy, float)
    assert page.sections == [
        "score",
        "training",
        "confusion",
        "classes",
        "calibration",
        "images",
        "data",
        "repeat",
    ]
    words = page.words.replace("\N{NO-BREAK SPACE}", " ")
    for expected in (
        f"{100 * accuracy:.1f}%",
        "Accuracy on test images",
        f"{test.table['correct'].sum()} of 18 images are right",
        "Accuracy, validation",
        "no leak",
        "near duplicate2",
        "Left out by name: 2 truncated",
        "Accepted by the user: label-conflict",
        "label is the folder's name",
        "shopsight train products --out <first-run>",
        "shopsight evaluate first-run --split test",
        "1 min 15 s",
        'mode = "probe-then-finetune"',
        "shopsight:fashion_cnn",
        "drawn by shopsight, not photographed",
    ):
        assert expected in words, expected


def test_the_report_loads_nothing(run: Path) -> None:
    page = Page(write_report(run))
    assert page.loads
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    source = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(|https?://", source)
    assert str(run) not in source


def test_evaluations_just_made_need_no_second_scoring(
    run: Path, catalog: Catalog, predictor: Predictor
) -> None:
    again = write_report(run, out=run / "again.html")
    settings = EvaluationSettings(bootstrap_resamples=200)
    made = {s: evaluate(predictor, catalog, split=s, settings=settings) for s in ("val", "test")}
    first = write_report(run, evaluations=made)
    strip = re.compile(r"Written by.*")
    texts = [strip.sub("", path.read_text(encoding="utf-8")) for path in (again, first)]
    assert texts[0] == texts[1]


def test_a_leak_is_told_beside_the_score(run: Path, catalog: Catalog) -> None:
    leaking = pl.when(pl.int_range(pl.len()) < 12).then(pl.lit("P-1")).otherwise(pl.col("group"))
    changed = catalog.with_table(catalog.table.with_columns(leaking.alias("group")))
    changed.write(run / "catalog.parquet")
    page = Page(write_report(run))
    assert "The parts of this split share images or groups." in page.words


def test_folds_have_their_table(run: Path, catalog: Catalog, predictor: Predictor) -> None:
    parts = [
        evaluate(predictor, catalog, split=s, settings=QUICK).predictions
        for s in ("test", "train", "val")
    ]
    found = score(Predictions.concat(parts), QUICK)
    assert found.folds is not None
    page = Page(write_report(run, evaluations={"out-of-fold": found}))
    assert page.sections[:3] == ["score", "folds", "training"]
    assert "mean of 3 trainings" in page.words
    assert percent_text(found.folds.mean) in page.words
    assert percent_text(found.folds.deviation) in page.words
    rows = parts[1].table["row"].head(len(parts[0]))
    same = replace(parts[0], table=parts[0].table.with_columns(rows))
    is_near_duplicate = score(Predictions.concat([parts[0], same]), QUICK)
    page = Page(write_report(run, evaluations={"out-of-fold": is_near_duplicate}))
    assert "all have the same score" in page.words


def test_a_run_without_its_extras_still_has_a_report(run: Path) -> None:
    for name in (
        "recipe.toml",
        "metrics.csv",
        "run.json",
        "model/model.json",
        "audit/findings.csv",
        "audit/left_out.csv",
    ):
        (run / name).unlink()
    page = Page(write_report(run))
    assert "training" not in page.sections
    assert "repeat" not in page.sections


def test_images_that_are_gone_are_left_blank(run: Path, catalog: Catalog, tmp_path: Path) -> None:
    Catalog(catalog.table, name="moved", root=str(tmp_path / "gone")).write(run / "catalog.parquet")
    page = Page(write_report(run))
    assert "no image" in page.words
    assert row_thumbnail(Catalog.read(run / "catalog.parquet"), 0) == ""


def test_several_labels_have_their_own_report(
    several: Catalog, fitted_on: object, tmp_path: Path
) -> None:
    predictor = fitted_on(several)  # type: ignore[operator]
    found = evaluate(predictor, several, settings=QUICK)
    page = Page(write_evaluation_report(found, several, tmp_path / "several.html"))
    assert "Mean average precision on test images" in page.words
    assert "F1, micro" in page.words
    assert "Average precision" in page.words
    assert page.sections == ["score", "classes", "calibration", "images"]


def test_other_data_than_the_runs(catalog: Catalog, predictor: Predictor, tmp_path: Path) -> None:
    found = evaluate(predictor, catalog, split="all", settings=QUICK)
    write_text(tmp_path / "model" / "model.json", predictor.info.model_dump_json())
    page = Page(
        write_evaluation_report(found, catalog, tmp_path / "new.html", model=tmp_path / "model")
    )
    assert "Accuracy on all images" in page.words
    assert page.sections[-1] == "repeat"


def test_the_images_are_the_extremes(catalog: Catalog, predictor: Predictor) -> None:
    found = evaluate(predictor, catalog, split="all", settings=QUICK).predictions
    table = found.table.with_columns(correct=pl.int_range(pl.len()) % 2 == 0)
    found = Predictions(table, found.labels, False, "all", found.data)
    wrong, right = mistakes(found, catalog), low_confidence_correct(found, catalog)
    worst = table.filter(~pl.col("correct"))["confidence"].max()
    narrowest = table.filter("correct")["confidence"].min()
    assert wrong[0].said.endswith(f"{100 * worst:.0f}\N{NO-BREAK SPACE}%")  # type: ignore[operator]
    assert right[0].said.endswith(f"{100 * narrowest:.0f}\N{NO-BREAK SPACE}%")  # type: ignore[operator]
    assert all(shot.image.startswith("data:image/webp") for shot in wrong + right)


def test_a_box_shows_its_part_only(catalog: Catalog) -> None:
    boxed = catalog.with_table(
        catalog.table.with_columns(
            box_x=pl.lit(10.0), box_y=pl.lit(10.0), box_w=pl.lit(40.0), box_h=pl.lit(20.0)
        )
    )
    assert row_thumbnail(boxed, 0) != row_thumbnail(catalog, 0)


def test_curves_mark_the_weights_that_were_kept(tmp_path: Path) -> None:
    _history(tmp_path / "with.csv")
    history = pl.read_csv(tmp_path / "with.csv")
    recipe = load_recipe("balanced")
    charts = dict(history_charts(history, recipe))
    assert set(charts) == {"Loss", "Accuracy"}
    assert ">kept<" in charts["Accuracy"]
    assert ">probe<" in charts["Accuracy"]
    assert "validation 2: 80" in charts["Accuracy"]
    _history(tmp_path / "without.csv", probe=False)
    plain = history_charts(pl.read_csv(tmp_path / "without.csv"), recipe)
    assert ">probe<" not in dict(plain)["Loss"]
    assert history_charts(pl.DataFrame(), None) == []


def test_the_curves_of_folds_are_their_means(run: Path, tmp_path: Path) -> None:
    whole = pl.read_csv(run / "metrics.csv")
    (run / "metrics.csv").unlink()
    for fold, (lift, epochs) in enumerate([(0.0, len(whole)), (0.1, len(whole) - 1)]):
        folder = run / "folds" / str(fold)
        folder.mkdir(parents=True)
        lifted = whole.head(epochs).with_columns(pl.col("train_loss") + lift)
        lifted.write_csv(folder / "metrics.csv")
    facts = read_run(run)
    assert facts.trainings == 2
    expected = [loss + 0.05 for loss in whole["train_loss"].to_list()]
    expected[-1] -= 0.05  # the second fold did not come so far
    assert facts.history["train_loss"].to_list() == pytest.approx(expected)
    charts = dict(history_charts(facts.history, facts.recipe, trainings=facts.trainings))
    assert ">kept<" not in charts["Loss"]


def test_a_run_without_validation_images_says_so(
    run: Path, catalog: Catalog, predictor: Predictor
) -> None:
    history = pl.read_csv(run / "metrics.csv").with_columns(
        val_loss=pl.lit(float("nan")), val_accuracy=pl.lit(float("nan"))
    )
    history.write_csv(run / "metrics.csv")
    (run / "predictions" / "val.parquet").unlink()
    path = write_report(run)
    page = Page(path)
    assert "There were no validation images" in page.words
    assert "fitted on the validation images" not in page.words
    assert not re.search(r"\bnan\b", path.read_text(encoding="utf-8"), re.IGNORECASE)
    # The last epoch's weights became the model.
    assert ">kept<" in dict(history_charts(history, load_recipe("balanced")))["Loss"]


def test_an_accuracy_of_nothing_is_an_accuracy(run: Path) -> None:
    history = pl.read_csv(run / "metrics.csv").with_columns(val_accuracy=pl.lit(0.0))
    assert validated(history)
    assert ">kept<" in dict(history_charts(history, None))["Loss"]


def test_labels_without_images_show_no_nan(
    several: Catalog, fitted_on: object, tmp_path: Path
) -> None:
    predictor = fitted_on(several)  # type: ignore[operator]
    hats = several.take(several.rows_of("test"))
    hats = hats.take((hats.table["label"].list.len() == 1).arg_true().to_list())
    found = evaluate(predictor, hats, split="test", settings=QUICK)
    path = write_evaluation_report(found, hats, tmp_path / "hats.html")
    assert not re.search(r"\bnan\b", path.read_text(encoding="utf-8"), re.IGNORECASE)


def test_many_classes_have_a_second_matrix(catalog: Catalog, predictor: Predictor) -> None:
    found = evaluate(predictor, catalog, split="all", settings=QUICK).predictions
    labels = tuple(f"class {k:02d}" for k in range(60))
    place = pl.int_range(pl.len())
    shifted = (place + (place % 3 == 0).cast(pl.Int64)) % 60
    names = pl.Series(labels)
    table = found.table.with_columns(
        label=place.replace_strict(range(60), names),
        predicted=shifted.replace_strict(range(60), names),
    ).with_columns(correct=pl.col("label") == pl.col("predicted"))
    evaluation = score(Predictions(table, labels, False, "all", "many"), QUICK)
    titles = [title for title, _ in confusion_charts(evaluation)]
    assert titles == ["", "The 24 classes that are mixed up most"]
    assert [pair.images for pair in confused_pairs(evaluation)] == [1] * 10
    assert confused_pairs(evaluation)[0].share == 1.0


def test_what_cannot_be_reported_is_said(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="not a run folder"):
        write_report(tmp_path)
    catalog.write(tmp_path / "catalog.parquet")
    with pytest.raises(CatalogError, match="no predictions"):
        write_report(tmp_path)


def test_metrics_have_titles() -> None:
    assert title_of("top_5_accuracy") == "Top-5 accuracy"
    assert title_of("macro_f1") == "F1, macro"
