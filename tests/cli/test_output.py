from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from shopsight.cli.compare import show
from shopsight.cli.output import Column, print_line, print_not_read, print_table
from shopsight.commands import recipes
from shopsight.config.recipe import load_recipe, recipe_names
from shopsight.evaluation.comparison import Comparison, Entry
from shopsight.metrics.intervals import Interval
from tests.helpers import Shopsight

BACKBONE = "embedded:tf_efficientnet_lite0"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    return int(request.param)


@pytest.mark.parametrize("terminal", [80, 100, 140], indirect=True)
def test_recipes_keep_words_whole_and_say_what_was_not_measured(
    shopsight: Shopsight, terminal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fixture `shopsight` takes the width away.
    monkeypatch.setenv("COLUMNS", str(terminal))
    shown = shopsight("recipes").out
    assert max(map(len, shown.splitlines())) <= terminal
    words = set(shown.split())
    assert {*recipe_names(), "shopsight", "measured", "here", "Fashion-MNIST"} <= words


def test_what_was_not_measured_is_marked(
    shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = load_recipe("fast")
    bare = fast.replace(about=fast.about.model_dump() | {"measured": ""})
    monkeypatch.setattr(recipes, "load_recipe", lambda name: bare)
    assert "not measured" in shopsight("recipes").out


@pytest.mark.parametrize("terminal", [80, 100, 140], indirect=True)
def test_comparison_keeps_backbones_whole(
    terminal: int, capsys: pytest.CaptureFixture[str]
) -> None:
    score = Interval(0.81, 0.79, 0.83)
    probe = Entry(BACKBONE, Path("a"), BACKBONE, "fast", score, None, None, 12.4, 20.0)
    tuned = replace(probe, name="timm:resnet18.a1_in1k", training_s=1560.0)
    recall = pl.DataFrame({"label": ["hat"], "images": [500]})
    show(Comparison((probe, tuned), "accuracy", "shop", "test", 500, False, False, recall))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines()[:-2])) <= terminal
    assert {BACKBONE, "timm:resnet18.a1_in1k"} <= set(shown.split())
    assert "12 s" in shown
    assert "26 min" in shown


def test_one_blank_line_under_a_title(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column(""), Column("", right=True)], [["a", "1"], ["b", "20"]], title="Title")
    print_table([Column("x"), Column("y")], [["a", "1"]], title="Title")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    rule = "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * 5
    assert lines == [
        "Title", "", "a    1", "b   20", "",
        "Title", "", "x   y", rule, "a   1", "",
    ]  # fmt: skip


def test_tables_become_blocks_where_they_do_not_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    rows = [["first-model", "one and two and three", ""], ["second-model", "", "four"]]
    print_table([Column("model"), Column("what-it-does"), Column("a-score")], rows)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "first-model",
        "  what-it-does  one and two",
        "                and three",
        "",
        "second-model",
        "  a-score       four",
        "",
    ]


def test_names_of_files_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("\x1b[31mred")
    print_table([Column("class"), Column("images")], [["\x1b]0;title\x07", "1"]])
    shown = capsys.readouterr().out
    assert "\\x1b[31mred" in shown
    assert "\\x1b]0;title\\x07" in shown


def test_images_that_were_not_read_are_named_up_to_five(capsys: pytest.CaptureFixture[str]) -> None:
    print_not_read([])
    print_not_read([("a.jpg", "truncated")])
    assert capsys.readouterr().err == "not read: a.jpg: truncated\n"
    print_not_read([("a.jpg", "truncated")], then="the same command tries them again")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "not read: 1 image; the same command tries them again"
    print_not_read([(f"{number}.jpg", "missing") for number in range(1200)])
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"not read: {number}.jpg: missing" for number in range(5)] + [
        "not read: 1,200 images"
    ]
