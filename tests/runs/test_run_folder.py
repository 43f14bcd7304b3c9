"""The run folder: one owner of its names, and clear words about folders it does not read."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import shopsight
from shopsight import api
from shopsight.bundle import format as bundle_format
from shopsight.errors import TrainingError
from shopsight.evaluation.compare import compare_runs
from shopsight.evaluation.evaluate import evaluate_run
from shopsight.evaluation.report import write_report
from shopsight.fetching import fetched_tables
from shopsight.runs import run_folder
from shopsight.runs.run_folder import RunFolder

SOURCE = Path(shopsight.__file__).parent


def file_names() -> set[str]:
    """The name of every file in a run that `RunFolder` gives the path of."""
    run = RunFolder(Path("run"))
    paths = [
        getattr(run, name)
        for name, value in vars(RunFolder).items()
        if isinstance(value, property) and name not in ("refit",)
    ]
    return {path.name for path in paths if isinstance(path, Path) and path.suffix}


def bundle_names() -> set[str]:
    constants = vars(bundle_format)
    return {constants[name] for name in constants if name.endswith("_FILE")}


def strings(module: Path) -> Iterator[str]:
    """Every string of a module that is not a docstring; of an f-string its fixed parts."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_the_names_of_a_run_are_spelled_in_one_module() -> None:
    owners = {
        **{name: {Path(run_folder.__file__)} for name in file_names()},
        **{name: {Path(bundle_format.__file__)} for name in bundle_names()},
    }
    # A run and its bundle both have scores.
    shared = file_names() & bundle_names()
    for name in shared:
        owners[name] = {Path(run_folder.__file__), Path(bundle_format.__file__)}
    # A folder of images that were fetched has a catalog too.
    owners["catalog.parquet"] |= {Path(fetched_tables.__file__)}
    assert len(owners) > 15
    spelled = [
        f"{module.relative_to(SOURCE)}: {text!r}"
        for module in SOURCE.rglob("*.py")
        for text in strings(module)
        if module not in owners.get(text.rpartition("/")[2], {module})
    ]
    assert spelled == []


def test_a_tiny_run_has_every_file(tiny_run: Path) -> None:
    run = RunFolder(tiny_run)
    # Only of runs with a probe, that tracker, a split by label, val_classes, a race.
    only_some = {"held_out.parquet", "unseen.parquet", "race.parquet"}
    absent = {"probe.safetensors", "mlflow.db"} | only_some
    assert {path.name for path in tiny_run.rglob("*")} >= file_names() - absent
    assert run.exists()
    assert run.is_current()
    assert run.has_model()
    assert run.is_evaluated()
    assert not run.is_folds_run()
    assert run.folds() == ()
    assert list(run.trainings()) == [run]
    assert run.reached("bundled")


def test_a_k_fold_run_holds_its_trainings(tiny_folds_run: Path) -> None:
    run = RunFolder(tiny_folds_run)
    assert run.is_folds_run()
    assert run.is_evaluated()
    assert [fold.path.name for fold in run.folds()] == ["0", "1"]
    assert list(run.trainings()) == [run, *run.folds()]
    assert not any(fold.is_folds_run() for fold in run.folds())


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert not run.exists()
    assert not run.is_current()
    for read in (run.state, run.recipe, run.catalog, run.is_folds_run):
        with pytest.raises(TrainingError, match="is not a run folder"):
            read()


@pytest.fixture
def former_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A run as the code before run formats left it: other keys, other columns, no version."""
    run = tmp_path / "former"
    shutil.copytree(tiny_run, run)
    state = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del state["format_version"]
    state["told"] = state.pop("notes")
    state["command"] = "shopsight train photos --out former --leave-out split-leak"
    (run / "run.json").write_text(json.dumps(state), encoding="utf-8")
    recipe = (run / "recipe.toml").read_text(encoding="utf-8")
    (run / "recipe.toml").write_text(recipe.replace("mode = ", "start = "), encoding="utf-8")
    return run


def test_a_run_of_former_code_is_refused_with_the_command_that_makes_it_anew(
    former_run: Path, tiny_run: Path, product_photos: object
) -> None:
    refused = (
        lambda: api.resume(former_run),
        lambda: api.evaluate(former_run),
        lambda: api.evaluate(former_run, product_photos.folder),  # type: ignore[attr-defined]
        lambda: evaluate_run(RunFolder(former_run)),
        lambda: write_report(RunFolder(former_run)),
        lambda: compare_runs([tiny_run, former_run]),
    )
    for read in refused:
        with pytest.raises(TrainingError) as caught:
            read()
        text = str(caught.value)
        assert str(former_run) in text
        assert "run format none; this version reads 1" in text
        assert "made by: shopsight train photos --out former --leave-out split-leak" in text
        assert f"shopsight train DATA --recipe RECIPE --out {former_run}" in text
    with pytest.raises(TrainingError, match="already holds a run"):
        api.train(product_photos.folder, out=former_run)  # type: ignore[attr-defined]


def test_a_run_of_later_code_is_refused(own_run: Path) -> None:
    run = RunFolder(own_run)
    run.update_state(format_version=run_folder.FORMAT_VERSION + 1)
    with pytest.raises(TrainingError, match="a newer version of shopsight") as caught:
        run.recipe()
    assert "pip install --upgrade shopsight" in str(caught.value)


def test_time_adds_up_over_resumed_parts(own_run: Path) -> None:
    run = RunFolder(own_run)
    before = run.seconds()
    run.add_seconds("finetune", run_folder.Clock())
    after = run.seconds()
    assert after["finetune"]["wall"] >= before["finetune"]["wall"]
    assert {**after, "finetune": before["finetune"]} == before
