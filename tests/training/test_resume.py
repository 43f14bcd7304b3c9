"""A run that was stopped and resumed ends with the bits of one that was not."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from shopsight import held_files
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.errors import HeldFileError, TrainingError
from shopsight.runs.history import read_history
from shopsight.runs.run_folder import RunFolder
from shopsight.training.checkpoints import read_checkpoint, tensor_files, write_checkpoint
from shopsight.training.finetune import finetune
from shopsight.training.fit import fit, resume
from shopsight.training.module import ClassifierTraining
from shopsight.training.rank_environment import WorkerRank
from tests.helpers import SCRATCH_RECIPE, ProductPhotos

EVERYTHING = {
    "training": {
        "progressive_sizes_px": (20, 28, 32),
        "grad_accumulation": 2,
        "batch_size": 6,
        "gradient_clip": 0.5,
        "sampling": "balanced",
    },
    "optimizer": {"name": "adamw", "weight_decay": 0.05},
    "schedule": {"name": "cosine", "warmup_epochs": 0.5},
}


def recipe(**sections: Any) -> Recipe:
    return parse_recipe(SCRATCH_RECIPE).replace(**sections)


class _PowerCutError(Exception):
    pass


def stop_in(
    monkeypatch: pytest.MonkeyPatch, catalog: Catalog, recipe: Recipe, run: Path, *, epoch: int
) -> None:
    """Train until the second step of an epoch, where the power fails."""
    step = ClassifierTraining.training_step

    def cut(self: Any, batch: Any, index: int) -> torch.Tensor:
        if self.current_epoch == epoch and index == 1:
            raise _PowerCutError
        return step(self, batch, index)

    with monkeypatch.context() as power:
        power.setattr(ClassifierTraining, "training_step", cut)
        with pytest.raises(_PowerCutError):
            fit(catalog, recipe, run)


def assert_same_run(whole: Path, resumed: Path) -> None:
    for name in ("best", "final"):
        first = load_file(whole / "checkpoints" / f"{name}.safetensors")
        second = load_file(resumed / "checkpoints" / f"{name}.safetensors")
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    histories = [read_history(run / "metrics.csv") for run in (whole, resumed)]
    figures = [[(row.epoch, row.size_px, row.figures()) for row in rows] for rows in histories]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("sections", [{}, EVERYTHING], ids=["sgd", "everything"])
def test_resumed_in_the_middle_of_an_epoch_equals_uninterrupted(
    product_photos: ProductPhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sections: dict[str, Any],
) -> None:
    """Of three epochs: in the first, where there is no checkpoint, and in the others."""
    catalog = open_catalog(product_photos.folder)
    fit(catalog, recipe(**sections), tmp_path / "whole")
    for epoch in range(3):
        cut = RunFolder(tmp_path / f"cut-{epoch}")
        stop_in(monkeypatch, catalog, recipe(**sections), cut.path, epoch=epoch)
        assert cut.last_checkpoint.is_file() == (epoch > 0)
        spent_s = cut.state()["seconds"]["finetune"]["wall"]
        resume(cut.path)
        assert cut.state()["seconds"]["finetune"]["wall"] > spent_s > 0
        assert_same_run(tmp_path / "whole", cut.path)


def test_stopped_after_early_stopping_trains_no_further(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last checkpoint is written, the stage is not finished: the decision to stop holds."""
    patient = recipe(training={"epochs": 50, "patience": 2}, optimizer={"lr": 1e-9})

    def killed(module: ClassifierTraining, run: RunFolder, own: WorkerRank) -> None:
        finetune(module, run, own)
        raise _PowerCutError

    with monkeypatch.context() as power:
        power.setattr("shopsight.training.finetune_stage.finetune", killed)
        with pytest.raises(_PowerCutError):
            fit(open_catalog(product_photos.folder), patient, tmp_path / "run")
    rows = read_history(tmp_path / "run" / "metrics.csv")
    assert len(rows) < 50
    (tmp_path / "run" / "checkpoints" / "final.safetensors").unlink()
    resume(tmp_path / "run")
    assert read_history(tmp_path / "run" / "metrics.csv") == rows
    assert (tmp_path / "run" / "checkpoints" / "final.safetensors").is_file()


def test_a_checkpoint_of_another_run_is_refused(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(product_photos.folder)
    stop_in(monkeypatch, catalog, recipe(), tmp_path / "a", epoch=1)
    other = recipe(model={"backbone": "shopsight:fashion_net"})
    stop_in(monkeypatch, catalog, other, tmp_path / "b", epoch=1)
    own, foreign = (RunFolder(tmp_path / name).last_checkpoint for name in "ab")
    own.write_bytes(foreign.read_bytes())
    shutil.copy(*tensor_files(foreign), own.parent)
    with pytest.raises(TrainingError, match="the checkpoint is not of this run") as caught:
        resume(tmp_path / "a")
    assert caught.value.where == str(own)


def test_the_next_step_after_a_damaged_checkpoint_leads_to_the_same_end(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = open_catalog(product_photos.folder)
    fit(catalog, recipe(), tmp_path / "whole")
    stop_in(monkeypatch, catalog, recipe(), tmp_path / "cut", epoch=1)
    checkpoint = RunFolder(tmp_path / "cut").last_checkpoint
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="cannot resume") as caught:
        resume(tmp_path / "cut")
    hint = re.match(r"delete the files (\S+) in (.+), then", str(caught.value.fix))
    assert hint is not None
    for file in Path(hint[2]).glob(hint[1]):
        file.unlink()
    resume(tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def _held(monkeypatch: pytest.MonkeyPatch, target: Path, *, first: int, last: int) -> list[int]:
    """Have `target` open in another program at the `first` to the `last` time it is replaced."""
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.0)
    real, times = os.replace, [0]

    def refuse(source: Path, end: Path) -> None:
        times[0] += end == target
        if end == target and first <= times[0] <= last:
            error = PermissionError(13, "used by another process")
            error.winerror = 32  # type: ignore[attr-defined]
            raise error
        real(source, end)

    monkeypatch.setattr(os, "replace", refuse)
    return times


def test_a_history_that_is_open_in_a_spreadsheet_does_not_end_training(
    product_photos: ProductPhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
) -> None:
    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as spreadsheet:
        _held(spreadsheet, run.metrics_file, first=1, last=2)
        fit(open_catalog(product_photos.folder), recipe(), run.path)
    assert [row.epoch for row in read_history(run.metrics_file)] == [1, 2, 3]
    line = f"{run.metrics_file}: it could not be replaced: another program has it open"
    assert sum(text.startswith(line) for text in said) == 2
    assert [path.name for path in run.path.glob(".shopsight-*")] == []


def test_a_history_that_stays_open_is_written_by_resuming(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    with monkeypatch.context() as spreadsheet:
        _held(spreadsheet, run.metrics_file, first=1, last=99)
        with pytest.raises(HeldFileError, match="another program has it open") as raised:
            fit(open_catalog(product_photos.folder), recipe(), run.path)
    assert f"shopsight train --resume {run.path}" in str(raised.value.fix)
    assert not run.metrics_file.exists()
    resume(run.path)
    assert [row.epoch for row in read_history(run.metrics_file)] == [1, 2, 3]
    assert run.reached("bundled")


# What is put where into a checkpoint, which then gets a new hash: that anybody can do.
EDITS: tuple[tuple[tuple[str | int, ...], Any], ...] = (
    (("optimizer_states", 0, "param_groups", 0, "lr"), "x"),
    (("loops", "fit_loop", "epoch_loop.state_dict", "_batches_that_stepped"), {}),
    (("lr_schedulers", 0, "base_lrs"), [[]]),
    (("pytorch-lightning_version",), "x"),
    (("shopsight", "history", 0, "stage"), "=cmd"),
    (("shopsight", "history", 0, "epoch"), 1 << 70),
    (("shopsight", "random", "numpy"), torch.full((1, 625), 1_000_000)),
    (("shopsight", "best"), None),
    (("state_dict",), []),
)


@pytest.mark.slow
def test_an_edited_checkpoint_is_named(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_in(monkeypatch, open_catalog(product_photos.folder), recipe(), tmp_path / "run", epoch=1)
    file = RunFolder(tmp_path / "run").last_checkpoint
    for (*place, key), value in EDITS:
        state = node = read_checkpoint(file)
        for part in place:
            node = node[part]
        node[key] = value
        copy = shutil.copytree(tmp_path / "run", tmp_path / "copy")
        write_checkpoint(RunFolder(copy).last_checkpoint, state)
        with pytest.raises(TrainingError, match="is not of this run") as caught:
            resume(copy)
        assert "--resume" in str(caught.value)
        shutil.rmtree(copy)
