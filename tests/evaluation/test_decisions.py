"""What the images of a score decided is said beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shopsight.config.recipe import Recipe, load_recipe
from shopsight.evaluation.decisions import UNKNOWN, decisions_of_run, decisions_on_other_data
from shopsight.evaluation.evaluate import evaluate_run
from shopsight.evaluation.report import write_run_evaluations
from shopsight.runs.run_folder import RunFolder


def test_test_images_decided_nothing() -> None:
    for split in ("test", "out-of-fold"):
        found = decisions_of_run(Recipe(), split, "my photos", multilabel=False)
        assert found.nothing
        assert (found.short, found.to_json()["chosen"]) == ("", [])
        assert "decided nothing" in found.note


@pytest.mark.parametrize(
    ("changes", "multilabel", "chosen"),
    [
        (
            {"training": {"mode": "probe-then-finetune", "epochs": 6}},
            False,
            ("the checkpoint", "the penalty of the linear probe", "the temperature"),
        ),
        (
            {"training": {"mode": "probe"}, "probe": {"penalties": (0.01,)}},
            True,
            ("the temperature", "the thresholds"),
        ),
        ({"training": {"mode": "scratch", "checkpoint": "last"}}, False, ("the temperature",)),
    ],
)
def test_validation_images_decided_what_the_recipe_says(
    changes: dict[str, dict[str, object]], multilabel: bool, chosen: tuple[str, ...]
) -> None:
    recipe = Recipe().replace(**changes)
    found = decisions_of_run(recipe, "val", "my photos", multilabel=multilabel)
    assert found.chosen == chosen
    assert found.short == "used for choices"
    assert found.note.startswith("Used for choices: ")


def test_a_recipe_is_not_judged_on_what_it_was_chosen_on() -> None:
    recipe = load_recipe("balanced")
    assert recipe.about.chosen_on == ("clothing", "grocery-store")
    found = decisions_of_run(recipe, "test", "clothing", multilabel=False)
    assert not found.nothing
    assert found.short == "the recipe was chosen on them"
    assert "developed on the data set clothing" in found.note
    assert decisions_of_run(recipe, "test", "my photos", multilabel=False).nothing
    assert decisions_on_other_data(recipe, "my photos").nothing
    assert decisions_on_other_data(None, "my photos") == UNKNOWN
    assert "not known" in UNKNOWN.note


def test_every_recipe_that_was_measured_here_says_what_chose_it() -> None:
    """The published one was copied, not chosen."""
    for name in ("fast", "balanced", "best", "fashion-mnist-fast", "fashion-mnist-long"):
        assert load_recipe(name).about.chosen_on
    assert load_recipe("fashion-mnist-cnn").about.chosen_on == ()


def test_report_and_scores_say_it(tiny_run: Path) -> None:
    run = RunFolder(tiny_run)
    found = evaluate_run(run, device="cpu")
    assert found["test"].decisions.nothing
    assert found["val"].decisions.chosen
    page = write_run_evaluations(run, found).read_text(encoding="utf-8")
    assert "These images decided nothing about the model" in page
    assert "validation (used for choices)" in page
    scores = json.loads(run.scores_file.read_text(encoding="utf-8"))
    assert scores["test"]["decisions"]["note"] == found["test"].decisions.note
