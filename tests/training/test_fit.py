"""Whole trainings on synthetic products: kill, memory, folds, time limits."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

import shopsight
from shopsight.audit.gate import GateRules
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.errors import (
    AuditError,
    CatalogError,
    ConfigError,
    SplitError,
    TrainingError,
    WeightsError,
)
from shopsight.images.thumbnails import read_thumbs
from shopsight.read_options import ReadOptions
from shopsight.runs.history import read_history
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fit import fit, resume
from shopsight.training.folds import fit_folds
from shopsight.training.memory import halve_batch_size
from shopsight.training.module import ClassifierTraining
from shopsight.training.prepare import prepare
from shopsight.training.rank_environment import WorkerRank
from shopsight.training.time_budget import StepTimes, measure_steps
from tests.helpers import SCRATCH_RECIPE, ProductPhotos


def recipe(**sections: Any) -> Recipe:
    return parse_recipe(SCRATCH_RECIPE).replace(**sections)


def weights(run: Path, name: str = "final") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"{name}.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture(scope="module")
def run(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Trained by the recipe as it is. Do not change it."""
    run = RunFolder(tmp_path_factory.mktemp("fit") / "run")
    fit(open_catalog(product_photos.folder), recipe(), run.path)
    return run


def test_leaves_a_whole_run_folder(run: RunFolder, product_photos: ProductPhotos) -> None:
    assert run.reached("bundled")
    rows = read_history(run.metrics_file)
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert all(0.0 <= row.val_accuracy <= 1.0 and row.seconds > 0 for row in rows)
    resolved = run.recipe()
    assert "auto" not in resolved.preprocess.model_dump().values()
    assert resolved.training.precision == "32"
    assert resolved.cache.mode == "raw"
    assert run.catalog().table["split"].value_counts().height == 3
    assert (run.audit / "audit.html").is_file()
    assert len(read_thumbs(run.thumbs_file, run.audited_catalog().sha256)) == len(run.catalog())
    assert list((run.path / "tensorboard").glob("events*"))
    model = shopsight.load(run.path)
    assert model.verify().ok
    assert model.labels == product_photos.labels


def test_a_second_training_is_the_same_and_another_seed_is_not(
    run: RunFolder, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    catalog = open_catalog(product_photos.folder)
    fit(catalog, recipe(cache={"mode": "off"}), tmp_path / "same")
    fit(catalog, recipe(seed=4), tmp_path / "other")
    assert same(weights(run.path), weights(tmp_path / "same"))
    assert not same(weights(run.path), weights(tmp_path / "other"))


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_and_resumed(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    """A real process is killed, resume in another: the same weights as without."""
    recipe_file = tmp_path / "small.toml"
    recipe_file.write_text(recipe(training={"epochs": 60}).to_toml(), encoding="utf-8")
    command = [sys.executable, "-m", "shopsight", "train"]
    start = [*command, str(product_photos.folder), "--recipe", str(recipe_file), "--out"]
    subprocess.run([*start, str(tmp_path / "whole")], check=True, capture_output=True)
    killed = subprocess.Popen(
        [*start, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    history = tmp_path / "killed" / "metrics.csv"
    deadline = time.monotonic() + 120
    while len(read_history(history)) < 5:
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert len(read_history(history)) < 60
    subprocess.run(
        [*command, "--resume", str(tmp_path / "killed")], check=True, capture_output=True
    )
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_out_of_memory_halves_the_batch_and_accumulates(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ClassifierTraining.training_step

    def small_device(self: Any, batch: Any, index: int) -> torch.Tensor:
        if len(batch.rows) > 6 and self.current_epoch == 1:
            raise torch.OutOfMemoryError("out of memory")
        return step(self, batch, index)

    monkeypatch.setattr(ClassifierTraining, "training_step", small_device)
    fit(open_catalog(product_photos.folder), recipe(), tmp_path / "run")
    used = RunFolder(tmp_path / "run").recipe().training
    assert (used.batch_size, used.grad_accumulation) == (6, 2)
    assert len(read_history(tmp_path / "run" / "metrics.csv")) == 3


def test_a_batch_of_one_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(TrainingError, match="not even a batch of one"):
        halve_batch_size(recipe(training={"batch_size": 1}), MemoryError())


def test_probe_then_finetune_starts_from_the_probe(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    probing = recipe(training={"mode": "probe-then-finetune", "epochs": 1})
    probing = probing.replace(
        optimizer={"lr": 1e-12}, training={"ema": 0.0, "frozen_batchnorm": True}
    )
    fit(
        open_catalog(product_photos.folder),
        probing.replace(model={"weights": "random"}),
        tmp_path / "r",
    )
    probe = load_file(tmp_path / "r" / "checkpoints" / "probe.safetensors")
    assert torch.allclose(
        weights(tmp_path / "r")["head.classifier.weight"], probe["weight"], atol=1e-6
    )
    assert [row.stage for row in read_history(tmp_path / "r" / "metrics.csv")] == [
        "probe",
        "finetune",
    ]


def test_a_probe_without_validation_images(product_photos: ProductPhotos, tmp_path: Path) -> None:
    catalog = open_catalog(product_photos.folder)
    every = catalog.with_table(catalog.table.with_columns(split=pl.lit("train")))
    probe = recipe(training={"mode": "probe"}, model={"weights": "random"}, data={"val": 0.0})
    fit(every, probe.replace(data={"test": 0.0}), tmp_path / "run")
    assert shopsight.load(tmp_path / "run").temperature == 1.0


def test_frozen_keeps_the_backbone_and_its_statistics(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    frozen = recipe(training={"mode": "frozen", "epochs": 2}, model={"weights": "random"})
    fit(open_catalog(product_photos.folder), frozen, tmp_path / "f")
    torch.manual_seed(0)
    last, best = weights(tmp_path / "f"), weights(tmp_path / "f", "best")
    body = [key for key in last if key.startswith("backbone.")]
    assert body
    one = recipe(training={"mode": "frozen", "epochs": 1}, model={"weights": "random"})
    fit(open_catalog(product_photos.folder), one, tmp_path / "g")
    assert all(torch.equal(last[key], weights(tmp_path / "g")[key]) for key in body)
    assert all(torch.equal(last[key], best[key]) for key in body)


def test_the_time_limit_plans_fewer_epochs(product_photos: ProductPhotos, tmp_path: Path) -> None:
    limited = recipe(training={"epochs": 100_000, "time_limit_s": 6.0})
    began = time.monotonic()
    fit(open_catalog(product_photos.folder), limited, tmp_path / "run")
    planned = RunFolder(tmp_path / "run").recipe().training.epochs
    assert 1 <= planned < 100_000
    assert len(read_history(tmp_path / "run" / "metrics.csv")) <= planned
    # Generous: what matters is that it does not train on for its 100,000 epochs.
    assert time.monotonic() - began < 60


def test_planning_counts_against_the_time_limit(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReachedError(Exception):
        pass

    def slow(*args: Any) -> StepTimes:
        times = measure_steps(*args)
        time.sleep(1.0)
        return times

    def check(module: ClassifierTraining, run: RunFolder, _own: WorkerRank) -> None:
        stages = run.state()["seconds"].values()
        assert module.deadline is not None
        left = module.deadline - time.monotonic()
        assert 0 < left <= 60.0 - 1.0 - sum(stage["wall"] for stage in stages)
        raise ReachedError

    monkeypatch.setattr("shopsight.training.finetune_stage.measure_steps", slow)
    monkeypatch.setattr("shopsight.training.finetune_stage.finetune", check)
    with pytest.raises(ReachedError):
        fit(
            open_catalog(product_photos.folder),
            recipe(training={"time_limit_s": 60.0}),
            tmp_path / "run",
        )


def test_early_stopping(product_photos: ProductPhotos, tmp_path: Path) -> None:
    patient = recipe(training={"epochs": 50, "patience": 2}, optimizer={"lr": 1e-9})
    fit(open_catalog(product_photos.folder), patient, tmp_path / "run")
    assert len(read_history(tmp_path / "run" / "metrics.csv")) < 50


@pytest.mark.parametrize("final", ["ensemble", "refit"])
def test_folds_predict_each_image_once_by_a_network_that_never_saw_it(
    product_photos: ProductPhotos, tmp_path: Path, final: str
) -> None:
    fit_folds(
        open_catalog(product_photos.folder),
        recipe(folds={"count": 2, "final": final}, training={"epochs": 1}),
        tmp_path / "run",
    )
    done = RunFolder(tmp_path / "run")
    tested: list[str] = []
    for fold in done.folds():
        table = fold.catalog().table
        tested += table.filter(pl.col("split") == "test")["image"].to_list()
    assert sorted(tested) == sorted(done.catalog().table["image"].to_list())
    model = shopsight.load(done.path)
    assert model.info.members == (2 if final == "ensemble" else 1)
    first = open_catalog(product_photos.folder).refs()[0]
    (prediction,) = model.predict([first])
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-4)


def test_the_refit_takes_what_the_folds_settled(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    """It has no validation images to choose epochs, penalty or weights by."""
    patient = recipe(
        folds={"count": 3, "final": "refit"},
        training={"epochs": 9, "patience": 1},
        optimizer={"lr": 1e-9},
    )
    fit_folds(open_catalog(product_photos.folder), patient, tmp_path / "run")
    done = RunFolder(tmp_path / "run")
    histories = [read_history(fold.metrics_file) for fold in done.folds()]
    kept = [
        max(rows, key=lambda row: (row.val_accuracy, -row.val_loss)).epoch for rows in histories
    ]
    assert all(epoch < 9 for epoch in kept)
    refit = done.refit
    assert refit.recipe().training.epochs == sorted(kept)[1]
    assert said
    assert not any("nan" in line for line in said)


def test_the_refit_of_a_probe_takes_the_middle_penalty(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    probe = recipe(
        folds={"count": 3, "final": "refit"},
        model={"weights": "random"},
        training={"mode": "probe"},
    )
    fit_folds(open_catalog(product_photos.folder), probe, tmp_path / "run")
    done = RunFolder(tmp_path / "run")
    chosen = sorted(fold.state()["probe_penalty"] for fold in done.folds())
    assert set(chosen) <= set(probe.probe.penalties)
    assert done.refit.state()["probe_penalty"] == chosen[1]


def test_several_labels_from_a_table_to_answers(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    """Probe, fine-tuning, a threshold per label, and folds that agree on them."""
    rows = product_photos.table.read_text(encoding="utf-8")
    several = re.sub(",(dress|shoe),", r",\1|wearable,", rows)
    table = tmp_path / "several.csv"
    table.write_text(several, encoding="utf-8")
    catalog = open_catalog(
        table, ReadOptions(images_root=product_photos.folder, label_separator="|")
    )
    tagged = recipe(
        data={"val": 0.6},
        model={"weights": "random"},
        training={"mode": "probe-then-finetune", "loss": "bce", "epochs": 2},
        augment={"mixup": 0.0},
        folds={"count": 2, "final": "ensemble"},
    )
    fit_folds(catalog, tagged, tmp_path / "run")
    done = RunFolder(tmp_path / "run")
    probe, *_ = read_history(done.fold(0).metrics_file)
    assert probe.train_loss < math.log(2), "of every yes and no, better than guessing"
    concat = shopsight.load(done.path).info
    folds = [shopsight.load(fold.path).info for fold in done.folds()]
    assert concat.labels == ("dress", "hat", "shoe", "wearable")
    for label in concat.labels:
        fitted = [info.thresholds[label] for info in folds]
        assert all(0.0 < threshold < 1.0 for threshold in fitted)
        assert concat.thresholds[label] == pytest.approx(sum(fitted) / 2)
    assert any(info.thresholds["wearable"] != 0.5 for info in folds), "the commonest is fitted"
    (answer,) = shopsight.load(done.path).predict([catalog.refs()[0]])
    given = dict(zip(answer.labels, answer.probabilities, strict=True))
    assert set(answer.predicted_labels) == {
        label for label, probability in given.items() if probability >= concat.thresholds[label]
    }


def test_refuses_a_folder_that_holds_a_run(product_photos: ProductPhotos, tmp_path: Path) -> None:
    fit(open_catalog(product_photos.folder), recipe(training={"epochs": 1}), tmp_path / "run")
    with pytest.raises(TrainingError, match="already holds a run"):
        fit(open_catalog(product_photos.folder), recipe(), tmp_path / "run")
    resume(tmp_path / "run")


def test_faults_are_reported_before_the_first_step(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    catalog = open_catalog(product_photos.folder)
    with pytest.raises(WeightsError):
        fit(
            catalog,
            recipe(training={"mode": "finetune"}, model={"weights": "no.pt"}),
            tmp_path / "a",
        )
    unlabeled = catalog.with_table(catalog.table.drop("label"))
    with pytest.raises(CatalogError, match="no labels"):
        fit(unlabeled, recipe(), tmp_path / "b")
    with pytest.raises(ConfigError, match="magnifies"):
        fit(catalog, recipe(training={"progressive_sizes_px": (900,)}), tmp_path / "c")
    rare = catalog.take(torch.tensor([*range(21)]).numpy())
    with pytest.raises(SplitError):
        fit(rare, recipe(), tmp_path / "d")
    with pytest.raises(TrainingError, match=r"no run\.json"):
        resume(tmp_path / "nothing")


@pytest.mark.parametrize("folds", [0, 2])
def test_images_without_a_label_are_left_out_by_name(
    folds: int, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    catalog = open_catalog(product_photos.folder)
    bare = pl.when(pl.int_range(pl.len()) % 20 == 3).then(None).otherwise(pl.col("label"))
    catalog = catalog.with_table(catalog.table.with_columns(label=bare))
    run = RunFolder(tmp_path / "run")
    prepare(catalog, recipe(folds={"count": folds}), run)
    assert len(run.catalog()) == 57
    assert run.catalog().table["label"].null_count() == 0
    left_out = pl.read_csv(run.left_out_file)
    assert left_out["image"].to_list() == catalog.table["image"].gather([3, 23, 43]).to_list()
    assert set(left_out["reason"]) == {"no label"}
    assert any("left out 3 of 60 images without a label" in line for line in said)
    refusing = recipe(data={"on_unlabeled": "error"})
    with pytest.raises(CatalogError, match="3 of 60 images without a label"):
        prepare(catalog, refusing, RunFolder(tmp_path / "other"))


def test_a_leak_is_refused_unless_accepted_or_left_out(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    catalog = open_catalog(product_photos.folder)
    parts = ["train", "train", "train", "val", "test"] * (len(catalog) // 5)
    split = catalog.with_table(catalog.table.with_columns(split=pl.Series(parts)))
    copied = pl.concat([split.table, split.table.head(1).with_columns(split=pl.lit("test"))])
    leaking = split.with_table(copied)
    with pytest.raises(AuditError, match="split-leak"):
        fit(leaking, recipe(training={"epochs": 1}), tmp_path / "refused")
    rules = GateRules(exclude=["split-leak"])
    fit(leaking, recipe(training={"epochs": 1}), tmp_path / "fixed", rules=rules)
    proof = json.loads((tmp_path / "fixed" / "split.json").read_text(encoding="utf-8"))
    assert proof["num_shared_duplicate_groups"] == 0


@pytest.mark.slow
def test_two_processes_train_together(product_photos: ProductPhotos, tmp_path: Path) -> None:
    """DDP on the CPU: every validation image counts once, and both ranks end with one model."""
    recipe_file = tmp_path / "two.toml"
    two = recipe(hardware={"devices": 2, "strategy": "ddp", "accelerator": "cpu"})
    recipe_file.write_text(two.to_toml(), encoding="utf-8")
    command = [sys.executable, "-m", "shopsight", "train", str(product_photos.folder), "--json"]
    done = subprocess.run(
        [*command, "--recipe", str(recipe_file), "--out", str(tmp_path / "run")],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    test = json.loads(done.stdout)["evaluations"]["test"]
    run = RunFolder(tmp_path / "run")
    assert test["counts"]["images"] == len(run.catalog().rows_of("test"))
    assert len(read_history(run.metrics_file)) == 3
    assert shopsight.load(run.path).verify().ok
