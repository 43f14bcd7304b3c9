"""Validation images choose a backbone, and test images report it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from shopsight.config.framing_settings import FramingSettings
from shopsight.errors import WeightsError
from shopsight.evaluation import recommend as module
from shopsight.evaluation.compare import choosing_parts, compare_runs
from shopsight.evaluation.compare_words import (
    about_cheapest,
    about_choice,
    about_report,
    verdict,
)
from shopsight.evaluation.comparison import Comparison, Entry
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.recommend import recommend
from shopsight.metrics.intervals import Interval
from shopsight.profiling.profile import Profile, Speed
from shopsight.runs.run_folder import RunFolder

SLOW, FAST = "timm:slow", "timm:fast"


def run_that_is(run: Path, folder: Path, right: Mapping[str, bool]) -> Path:
    """A copy of the run whose predictions of a part are all right, or all wrong."""
    copy = RunFolder(shutil.copytree(run, folder))
    for part, correct in right.items():
        file = copy.predictions_file(part)
        found = Predictions.read(file)
        replace(found, table=found.table.with_columns(correct=pl.lit(correct))).write(file)
    return copy.path


@pytest.fixture
def runs(tiny_run: Path, tmp_path: Path) -> dict[str, Path]:
    """One is right on validation images, the other on test images."""
    return {
        SLOW: run_that_is(tiny_run, tmp_path / "slow", {"val": True, "test": False}),
        FAST: run_that_is(tiny_run, tmp_path / "fast", {"val": False, "test": True}),
    }


def profile_of(backbone: str, *_: object) -> Profile:
    if backbone == "timm:absent":
        raise WeightsError("no weights here")
    speed = Speed(1, 20.0 if backbone == SLOW else 5.0, 50.0, 3)
    return Profile(backbone, 224, 3, 10, 10, 10, (), (), (), (speed,))


def test_validation_chooses_and_test_reports(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_profile", profile_of)
    found = recommend([FAST, SLOW], latency_ms=50, train=lambda name, _cost: runs[name], classes=3)
    assert found.chosen is not None
    assert found.chosen.backbone == RunFolder(runs[SLOW]).recipe().model.backbone
    assert found.chosen.name == SLOW
    assert found.chosen.score.value == 1
    assert found.chosen.reported is not None
    assert found.chosen.reported.value == 0
    comparison = found.comparison
    assert comparison is not None
    assert (comparison.split, comparison.reported_on) == ("val", "test")
    catalog = RunFolder(runs[SLOW]).catalog()
    assert comparison.images == len(catalog.rows_of("val"))
    assert comparison.reported_images == len(catalog.rows_of("test"))
    assert "which chose none of the models, timm:slow has 0.0 %" in about_report(comparison)
    # Recall is of the images that are reported.
    assert comparison.recall[FAST].to_list() == [1.0] * comparison.recall.height
    json = found.to_json()
    assert json["chosen"] == found.chosen.backbone
    assert json["has_clear_winner"] is comparison.has_clear_winner
    assert json["comparison"]["reported_on"] == "test"
    assert json["comparison"]["entries"][0]["reported"]["value"] == 0


def test_without_validation_images_the_test_images_choose(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in runs.values():
        RunFolder(run).predictions_file("val").unlink()
    monkeypatch.setattr(module, "_profile", profile_of)
    found = recommend([SLOW, FAST], latency_ms=50, train=lambda name, _cost: runs[name], classes=3)
    assert found.comparison is not None
    assert (found.comparison.split, found.comparison.reported_on) == ("test", "")
    assert found.comparison.best.name == FAST
    assert found.comparison.best.reported is None
    assert "FAST was chosen on these images".replace("FAST", FAST) in about_choice(found.comparison)
    assert about_report(found.comparison) == ""


def timed(per_pixel_ms: float) -> Callable[..., Profile]:
    """Profiles whose time grows with the pixels, and is 10 ms at 224."""

    def of(backbone: str, _classes: int, _device: str, _batches: object, size: int = 0) -> Profile:
        side = size or 224
        ms = 10.0 + per_pixel_ms * (side**2 - 224**2)
        return replace(profile_of(backbone), size_px=side, speeds=(Speed(1, ms, 1.0, 3),))

    return of


@pytest.mark.parametrize(
    ("budget_ms", "per_pixel_ms", "expected"),
    [
        (10.0, 10 / 224**2, 1.0),  # No time is left for more than its own size.
        (13.5, 10 / 224**2, (256 / 224) ** 2),
        (30.0, 10 / 224**2, (320 / 224) ** 2),
        (13.5, 20 / 224**2, 1.0),  # Larger images take more than their share.
        (16.5, 20 / 224**2, (256 / 224) ** 2),
    ],
)
def test_the_time_for_an_image_bounds_the_size_that_a_probe_may_see(
    runs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    budget_ms: float,
    per_pixel_ms: float,
    expected: float,
) -> None:
    monkeypatch.setattr(module, "_profile", timed(per_pixel_ms))
    asked = []

    def train(name: str, cost: float) -> Path:
        asked.append(cost)
        return runs[name]

    sizes = FramingSettings().sizes_px
    assert sizes(224) == (192, 224, 256, 288, 320)
    recommend([FAST], latency_ms=budget_ms, train=train, classes=3, sizes_px=sizes)
    assert asked == [pytest.approx(expected)]


def test_a_run_that_was_made_for_more_time_is_left_out(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_profile", timed(10 / 224**2))
    folder = RunFolder(runs[FAST])
    folder.write_recipe(folder.recipe().replace(preprocess={"size_px": 288}))
    found = recommend([FAST], latency_ms=12, train=lambda name, _cost: runs[name], classes=3)
    assert found.chosen is None
    assert "its run sees 288 px" in found.candidates[0].left_out


def test_k_fold_runs_choose_and_report_out_of_fold(tiny_folds_run: Path) -> None:
    assert choosing_parts([tiny_folds_run]) == (None, None)


def test_compare_reports_only_where_it_is_asked_to(runs: dict[str, Path]) -> None:
    found = compare_runs(list(runs.values()), measure=False)
    assert (found.split, found.reported_on, found.reported_images) == ("test", "", 0)
    assert found.table()["reported"].null_count() == 2


def entry_of(name: str, value: float, difference: Interval | None, latency_ms: float) -> Entry:
    profile = replace(profile_of(name), speeds=(Speed(1, latency_ms, 1.0, 3),))
    score = Interval(value, value - 0.05, value + 0.03)
    return Entry(name, Path(name), name, "fast", score, difference, profile, None, None)


def comparison_of(*entries: Entry) -> Comparison:
    recall = pl.DataFrame({"label": ["hat"], "images": [500]})
    return Comparison(entries, "accuracy", "shop", "val", 500, False, False, recall, 0.012)


def test_what_cannot_be_distinguished_is_the_result() -> None:
    found = comparison_of(
        entry_of("large", 0.84, None, 30.0),
        entry_of("small", 0.83, Interval(-0.01, -0.041, 0.006), 3.2),
        entry_of("middle", 0.82, Interval(-0.02, -0.05, 0.01), 9.0),
        entry_of("tiny", 0.6, Interval(-0.24, -0.3, -0.18), 1.0),
    )
    assert [entry.name for entry in found.may_be_best] == ["large", "small", "middle"]
    assert not found.has_clear_winner
    assert found.cheapest is not None
    assert found.cheapest.name == "small"
    assert verdict(found) == (
        "These 500 validation images cannot tell 3 models apart: large, small, middle."
    )
    assert about_cheapest(found) == (
        "The cheapest of them is small: 3.2 ms for one image, between 4.1 points worse and 0.6 "
        "points better than large."
    )
    assert about_choice(found) == (
        "large was chosen on these images: as the best of 4 it looks better than it is, by 1.2 "
        "points on average if the 3 are equally good. The lower end of its interval allows for "
        "that."
    )
    json = found.to_json()
    assert json["may_be_best"] == ["large", "small", "middle"]
    assert (json["cheapest"], json["has_clear_winner"]) == ("small", False)
    assert found.table()["may_be_best"].to_list() == [True, True, True, False]


def test_one_clear_winner() -> None:
    found = comparison_of(
        entry_of("large", 0.84, None, 30.0),
        entry_of("tiny", 0.6, Interval(-0.24, -0.3, -0.18), 1.0),
    )
    assert found.has_clear_winner
    assert found.cheapest is None
    assert verdict(found) == "large is better than the others by more than chance."


def test_too_few_families_are_the_reason() -> None:
    found = comparison_of(
        entry_of("a", 0.8, None, 2.0),
        entry_of("b", 0.4, Interval.unknown(-0.4, "4 families: 5 are needed"), 3.0),
    )
    assert "cannot tell 2 models apart (4 families: 5 are needed): a, b." in verdict(found)
    assert about_cheapest(found) == ("The cheapest of them is a: 2.0 ms for one image.")


def test_one_model_alone_is_no_choice() -> None:
    alone = comparison_of(entry_of("a", 0.8, None, 2.0))
    assert (verdict(alone), about_choice(alone), alone.has_clear_winner) == ("", "", False)
