"""The report of a run folder: whole, self-contained, and with the run's own numbers."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from markupsafe import Markup

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.errors import CatalogError, DamagedFileError, TrainingError
from shopsight.evaluation.evaluate import evaluate, evaluate_run
from shopsight.evaluation.examples import SIDE_PX, low_confidence_correct, mistakes
from shopsight.evaluation.figures import (
    confused_pairs,
    confusion_charts,
    history_charts,
)
from shopsight.evaluation.metric_names import title_of
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.report import (
    write_evaluation_report,
    write_report,
    write_run_evaluations,
)
from shopsight.evaluation.run_info import read_run
from shopsight.evaluation.score import score
from shopsight.inference.predictor import Predictor
from shopsight.pages import percent_text
from shopsight.runs.history import EpochRow, read_history
from shopsight.runs.run_folder import RunFolder
from tests.helpers import ProductPhotos, edit_json, train_small

QUICK = EvaluationSettings()
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


NAN = float("nan")
EPOCH = EpochRow("finetune", 1, 28, 0.1, 1.0, 0.5, 1.0, 0.6, 1.0)
EPOCHS = [
    replace(EPOCH, epoch=number, train_loss=1 / number, val_accuracy=accuracy)
    for number, accuracy in ((1, 0.6), (2, 0.8), (3, 0.7))
]
PROBE_ROW = replace(EPOCH, stage="probe", epoch=0)


@pytest.fixture
def run(spoiled_run: Path, tmp_path: Path) -> RunFolder:
    """A copy of a real run with a probe, three epochs, groups and audit findings."""
    run = RunFolder(shutil.copytree(spoiled_run, tmp_path / "first-run"))
    run.update_state(command="shopsight train products.csv --out <first-run>")
    return run


def plain_words(page: Page) -> str:
    return page.words.replace("\N{NO-BREAK SPACE}", " ")


def test_the_report_holds_the_runs_numbers(run: RunFolder) -> None:
    page = Page(write_report(run))
    test = Predictions.read(run.predictions_file("test")).table
    accuracy = test["correct"].mean()
    assert isinstance(accuracy, float)
    assert page.sections == [
        "score",
        "products",
        "training",
        "confusion",
        "classes",
        "calibration",
        "images",
        "data",
        "repeat",
    ]
    words = plain_words(page)
    for expected in (
        f"{100 * accuracy:.1f}%",
        "Accuracy on test images",
        f"{test['correct'].sum()} of {test.height} images are right",
        f"it counts {test['group'].n_unique()} families",
        "Accuracy, validation",
        "no leak",
        "no training image shows up among them, nor a copy of one",
        "near duplicate1",
        "label conflict1",
        "Left out by name: 2 unreadable",
        "Accepted by the user: label-conflict",
        "shopsight train products.csv --out <first-run>",
        "shopsight evaluate first-run --split test",
        'mode = "probe-then-finetune"',
        "shopsight:fashion_cnn",
    ):
        assert expected in words, expected


def test_synthetic_images_are_named_as_such(run: RunFolder) -> None:
    audited = run.audited_catalog()
    audited.with_catalog(replace(audited.catalog, synthetic=True)).write(run.catalog_file)
    found = {
        split: replace(one, predictions=replace(one.predictions, synthetic=True))
        for split, one in evaluate_run(run, splits=("test",)).items()
    }
    page = Page(write_report(run, evaluations=found))
    assert "rendered by shopsight, not photographed" in page.words


def test_the_report_loads_nothing(run: RunFolder) -> None:
    page = Page(write_report(run))
    assert page.loads
    assert all(load.startswith(("data:", "#")) for load in page.loads)
    source = run.report_file.read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(|https?://", source)
    assert str(run.path) not in source


def test_the_report_of_evaluations_is_that_of_their_files(run: RunFolder) -> None:
    made = evaluate_run(run, splits=("val", "test"))
    first = write_run_evaluations(run, made)
    again = write_report(run, out=run.path / "again.html")
    strip = re.compile(r"Written by.*")
    texts = [strip.sub("", path.read_text(encoding="utf-8")) for path in (again, first)]
    assert texts[0] == texts[1]


def test_a_leak_is_named_beside_the_score(run: RunFolder) -> None:
    audited = run.audited_catalog()
    leaking = audited.catalog.table.with_columns(group=pl.lit("P-1"))
    audited.with_catalog(audited.catalog.with_table(leaking)).write(run.catalog_file)
    page = Page(write_report(run))
    assert "The parts of this split share images or groups." in page.words


def test_a_duplicate_on_both_sides_is_named_beside_the_score(run: RunFolder) -> None:
    audited = run.audited_catalog()
    replace(audited, duplicate_group=np.zeros(len(audited), np.int64)).write(run.catalog_file)
    page = Page(write_report(run))
    assert "The parts of this split share images or groups." in page.words


def test_folds_have_their_table(tiny_folds_run: Path, tmp_path: Path) -> None:
    run = RunFolder(tiny_folds_run)
    (found,) = evaluate_run(run).values()
    assert found.folds is not None
    page = Page(write_report(run, out=tmp_path / "folds.html"))
    assert page.sections[:2] == ["score", "folds"]
    assert "mean of 2 trainings" in page.words
    assert percent_text(found.folds.mean) in page.words
    assert percent_text(found.folds.deviation) in page.words


def test_folds_of_the_same_score_have_no_range(run: RunFolder) -> None:
    first = Predictions.read(run.predictions_file("test"))
    others = pl.Series(run.catalog().rows_of("train")[: len(first)])
    second = replace(first, table=first.table.with_columns(row=others), by_product=None)
    found = score(Predictions.concat([first, second]), QUICK)
    shutil.rmtree(run.predictions)
    page = Page(write_report(run, evaluations={"out-of-fold": found}, out=run.path / "folds.html"))
    assert "all have the same score" in page.words


def test_a_run_without_its_extras_still_has_a_report(run: RunFolder) -> None:
    shutil.rmtree(run.model)
    shutil.rmtree(run.audit)
    run.metrics_file.unlink()
    page = Page(write_report(run))
    assert "training" not in page.sections
    assert "near duplicate" not in page.words
    assert "Backbone" not in page.words


def test_images_that_are_gone_are_left_blank(run: RunFolder, tmp_path: Path) -> None:
    audited = run.audited_catalog()
    moved = replace(audited.catalog, root=str(tmp_path / "gone"))
    audited.with_catalog(moved).write(run.catalog_file)
    # The old root is where the photos still lie: only the new one counts.
    page = Page(write_report(run))
    assert "no image" in page.words
    assert row_thumbnail(run.catalog(), 0, side_px=SIDE_PX) == ""


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


def test_other_data_than_the_runs(
    catalog: Catalog, predictor: Predictor, tiny_run: Path, tmp_path: Path
) -> None:
    found = evaluate(predictor, catalog, split="all", settings=QUICK)
    page = Page(
        write_evaluation_report(found, catalog, tmp_path / "new.html", model=tiny_run / "model")
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
    assert wrong[0].prediction.endswith(f"{100 * worst:.0f}\N{NO-BREAK SPACE}%")  # type: ignore[operator]
    assert right[0].prediction.endswith(f"{100 * narrowest:.0f}\N{NO-BREAK SPACE}%")  # type: ignore[operator]
    assert all(shot.image.startswith("data:image/webp") for shot in wrong + right)


def test_a_box_shows_its_part_only(catalog: Catalog) -> None:
    boxed = catalog.with_table(
        catalog.table.with_columns(
            box_x=pl.lit(10.0), box_y=pl.lit(10.0), box_w=pl.lit(40.0), box_h=pl.lit(20.0)
        )
    )
    assert row_thumbnail(boxed, 0, side_px=SIDE_PX) != row_thumbnail(catalog, 0, side_px=SIDE_PX)


def test_curves_mark_the_weights_that_were_kept() -> None:
    charts = dict(history_charts([PROBE_ROW, *EPOCHS], "best"))
    assert set(charts) == {"Loss", "Accuracy"}
    assert ">kept<" in charts["Accuracy"]
    assert ">probe<" in charts["Accuracy"]
    assert "validation 2: 80" in charts["Accuracy"]
    assert ">probe<" not in dict(history_charts(EPOCHS, "best"))["Loss"]
    assert history_charts([], "best") == []
    assert history_charts(EPOCHS[:1], "best") == []


def mark_px(charts: list[tuple[str, Markup]]) -> float:
    """Where the line of the kept epoch is."""
    svg = ET.fromstring(str(dict(charts)["Loss"]))
    (line,) = [one for one in svg.iter("line") if one.attrib["class"] == "reference"]
    return float(line.attrib["x1"])


def test_the_mark_is_at_the_epoch_that_training_keeps() -> None:
    best, last = (mark_px(history_charts(EPOCHS, rule)) for rule in ("best", "last"))  # type: ignore[arg-type]
    blind = [replace(row, val_loss=NAN, val_accuracy=NAN) for row in EPOCHS]
    assert best < last == mark_px(history_charts(blind, "best"))
    # An accuracy of nothing is an accuracy: of equals the first is kept.
    zero = [replace(row, val_accuracy=0.0) for row in EPOCHS]
    assert mark_px(history_charts(zero, "best")) < best


def test_the_curves_of_folds_are_their_means(tiny_folds_run: Path) -> None:
    run = RunFolder(tiny_folds_run)
    facts = read_run(run)
    assert facts.trainings == 2
    losses = [read_history(fold.metrics_file)[0].train_loss for fold in run.folds()]
    assert facts.history[0].train_loss == pytest.approx(sum(losses) / 2)
    charts = dict(history_charts(EPOCHS, "best", trainings=facts.trainings))
    assert ">kept<" not in charts["Loss"]


def test_a_run_without_validation_images_reports_it(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    path = train_small(product_photos.folder, tmp_path / "run", "data.val=0", "training.epochs=2")
    run = RunFolder(path)
    page = Page(run.report_file)
    assert "There were no validation images" in page.words
    assert "fitted on the validation images" not in page.words
    source = run.report_file.read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", source, re.IGNORECASE)
    assert ">kept<" in source


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
    position = pl.int_range(pl.len())
    shifted = (position + (position % 3 == 0).cast(pl.Int64)) % 60
    names = pl.Series(labels)
    table = found.table.with_columns(
        label=position.replace_strict(range(60), names),
        predicted=shifted.replace_strict(range(60), names),
    ).with_columns(correct=pl.col("label") == pl.col("predicted"))
    evaluation = score(Predictions(table, labels, False, "all", "many"), QUICK)
    titles = [title for title, _ in confusion_charts(evaluation)]
    assert titles == ["", "The 24 classes that are mixed up most"]
    assert [pair.images for pair in confused_pairs(evaluation)] == [1] * 10
    assert confused_pairs(evaluation)[0].share == 1.0


def test_what_cannot_be_reported_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not a run folder"):
        write_report(RunFolder(tmp_path))
    shutil.rmtree(run.predictions)
    with pytest.raises(CatalogError, match="no predictions"):
        write_report(run)


def test_metrics_have_titles() -> None:
    assert title_of("top_5_accuracy") == "Top-5 accuracy"
    assert title_of("macro_f1") == "F1, macro"


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "kind\nx\n"])
def test_findings_of_others_are_named_as_damaged(text: str, own_run: Path) -> None:
    findings = RunFolder(own_run).audit / "findings.csv"
    findings.write_text(text, encoding="utf-8")
    with pytest.raises(DamagedFileError, match=r"findings\.csv"):
        read_run(RunFolder(own_run))


@pytest.mark.parametrize("seconds", ["x", ["x"], {"probe": 1}, {"probe": {"wall": "x", "cpu": 1}}])
def test_seconds_of_others_are_named_as_damaged(seconds: object, own_run: Path) -> None:
    edit_json(RunFolder(own_run).state_file, seconds=seconds)
    with pytest.raises(DamagedFileError, match=r"run\.json"):
        read_run(RunFolder(own_run))
