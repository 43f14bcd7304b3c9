"""A hundred trainings: they end with a run, with one that can be resumed, or with none."""

from __future__ import annotations

import pytest
import tomli_w
from hypothesis import given

from tests.fuzz.budget import inputs
from tests.fuzz.delimited import Table
from tests.fuzz.folders import Tree, make, trainable
from tests.fuzz.harness import DONE, Case, Fuzz
from tests.fuzz.options import flags, make_maps
from tests.fuzz.recipes import QUICK, recipes, set_flags
from tests.fuzz.tables import tables

pytestmark = pytest.mark.slow


def train(case: Case, data: str, *words: str, recipe: bytes | None = None) -> None:
    """Train, and resume what is left of a training that failed."""
    make_maps(case.inputs)
    (case.inputs / "quick.toml").write_bytes(recipe or tomli_w.dumps(QUICK).encode("utf-8"))
    run = case.outputs / "run"
    ended = case.run("train", data, "--recipe", "quick.toml", "--out", run, *words)
    if ended.code == DONE:
        assert case.run("predict", run, "photos", "--json").code != 2
    elif (run / "run.json").exists():
        case.run("train", "--resume", run)
    else:
        left = [path.name for path in run.iterdir()] if run.exists() else []
        assert not set(left) - {"audit"}, f"half a run: {left}"


@given(tree=trainable(), options=flags("folder"))
@inputs("train folders")
def test_trainings_on_folders(fuzz: Fuzz, tree: Tree, options: list[str]) -> None:
    with fuzz.input() as case:
        make(tree, case.inputs)
        accepted = ["--accept", "lost-class"]
        train(case, "photos", *accepted, *options)


@given(table=tables(least=8), options=flags("table"))
@inputs("train tables")
def test_trainings_on_tables(fuzz: Fuzz, table: Table, options: list[str]) -> None:
    with fuzz.input() as case:
        table.make(case.inputs)
        (case.inputs / "photos").symlink_to("images")
        train(case, table.name, *options)


@given(tree=trainable(), recipe=recipes(), more=set_flags())
@inputs("train recipes")
def test_trainings_by_edited_recipes(
    fuzz: Fuzz, tree: Tree, recipe: bytes, more: list[str]
) -> None:
    with fuzz.input() as case:
        make(tree, case.inputs)
        train(case, "photos", *more, recipe=recipe)
