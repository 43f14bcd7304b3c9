"""Training on a GPU; skipped where there is none. What needs two says so."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import shopsight
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe, load_recipe
from shopsight.datasets.open import open_catalog
from shopsight.runs.history import EpochRow, read_history
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fit import fit, resume
from shopsight.training.module import ClassifierTraining
from tests.helpers import ProductPhotos
from tests.training.test_ranks import Place
from tests.training.test_resume import assert_same_run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")


class _PowerCutError(Exception):
    pass


@pytest.fixture
def catalog(product_photos: ProductPhotos) -> Catalog:
    return open_catalog(product_photos.folder)


def balanced(*overrides: str) -> Recipe:
    """The default recipe for two epochs, on a GPU."""
    recipe = load_recipe("balanced", ["training.epochs=2", *overrides])
    return recipe.replace(data={"val": 0.2, "test": 0.2}, hardware={"accelerator": "gpu"})


def epochs_of(run: Path) -> list[EpochRow]:
    rows = read_history(RunFolder(run).metrics_file)
    return [row for row in rows if row.stage == "finetune"]


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(RunFolder(run).final_weights_file)


def cut_in_second_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    step = ClassifierTraining.training_step

    def cut(self: ClassifierTraining, *batch: Any) -> torch.Tensor:
        if self.current_epoch == 1:
            raise _PowerCutError
        return step(self, *batch)

    monkeypatch.setattr(ClassifierTraining, "training_step", cut)


@pytest.mark.parametrize("precision", ["auto", "16"])
def test_the_default_recipe_trains_and_resumes_on_cuda(
    precision: str, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run comes near the uninterrupted one: CUDA's sums are not in a fixed order."""
    recipe = balanced(f"training.precision={precision}")
    fit(catalog, recipe, tmp_path / "whole")
    with monkeypatch.context() as patched:
        cut_in_second_epoch(patched)
        with pytest.raises(_PowerCutError):
            fit(catalog, recipe, tmp_path / "cut")
    resume(tmp_path / "cut")
    rows = epochs_of(tmp_path / "cut")
    assert [row.epoch for row in rows] == [1, 2]
    assert all(math.isfinite(row.train_loss) for row in rows)
    second = final_weights(tmp_path / "cut")
    for name, tensor in final_weights(tmp_path / "whole").items():
        assert torch.allclose(tensor.float(), second[name].float(), rtol=0.05, atol=0.05), name
    assert shopsight.load(tmp_path / "cut").verify().ok


def test_deterministic_a_resumed_run_equals_the_uninterrupted_one(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = balanced("hardware.deterministic=true")
    fit(catalog, recipe, tmp_path / "whole")
    with monkeypatch.context() as patched:
        cut_in_second_epoch(patched)
        with pytest.raises(_PowerCutError):
            fit(catalog, recipe, tmp_path / "cut")
    resume(tmp_path / "cut")
    second = final_weights(tmp_path / "cut")
    for name, tensor in final_weights(tmp_path / "whole").items():
        assert torch.equal(tensor, second[name]), name
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    "overrides",
    [
        ("training.precision=bf16", "training.class_weights=balanced", "augment.mixup=0.2"),
        ("training.precision=32", "hardware.matmul_precision=highest", "training.loss=focal"),
        ("training.precision=bf16", "training.gradient_clip=1.0", "optimizer.name=sgd"),
    ],
)
def test_no_step_waits_for_the_device(
    overrides: tuple[str, ...], catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaged and with a time limit; torch raises where a step would wait."""

    def never_waits(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            torch.cuda.set_sync_debug_mode("error")
            try:
                return method(*args, **kwargs)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        return checked

    for name in ("transfer_batch_to_device", "optimizer_step", "validation_step"):
        method = getattr(ClassifierTraining, name)
        monkeypatch.setattr(ClassifierTraining, name, never_waits(method))
    recipe = balanced(*overrides, "training.time_limit_s=600")
    assert recipe.training.ema > 0
    fit(catalog, recipe, tmp_path / "run")
    rows = epochs_of(tmp_path / "run")
    assert [row.epoch for row in rows] == [1, 2]
    assert all(math.isfinite(row.train_loss) and math.isfinite(row.val_loss) for row in rows)


@pytest.mark.parametrize("clip", ["none", "1.0"])
def test_fp16_trains_with_and_without_clipped_gradients(
    clip: str, catalog: Catalog, tmp_path: Path
) -> None:
    recipe = balanced("training.precision=16", f"training.gradient_clip={clip}")
    fit(catalog, recipe, tmp_path / "run")
    assert all(math.isfinite(row.train_loss) for row in epochs_of(tmp_path / "run"))


def test_a_batch_that_does_not_fit_is_halved_and_its_memory_returned(
    catalog: Catalog, tmp_path: Path
) -> None:
    """ResNet-50 in fp32 at 224 px takes about 90 MB an image: 32 do not fit in 2 GB."""
    recipe = balanced("training.mode=finetune", "training.precision=32").replace(
        model={"backbone": "timm:resnet50", "weights": "random"},
        preprocess={"size_px": 224},
        training={"batch_size": 32, "progressive_sizes_px": (224,), "frozen_stages": 0},
    )
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((before + 2e9) / whole)
    try:
        fit(catalog, recipe, tmp_path / "run")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    settings = RunFolder(tmp_path / "run").recipe().training
    assert settings.resolved_batch_size < 32
    assert settings.resolved_batch_size * settings.grad_accumulation == 32
    assert len(epochs_of(tmp_path / "run")) == 2
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() - before < 100e6


def test_compiled_at_two_sizes_the_weights_keep_their_names(
    catalog: Catalog, tmp_path: Path
) -> None:
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    for run, setting in ((plain, "false"), (compiled, "true")):
        recipe = balanced(f"training.compile={setting}", "training.progressive_sizes_px=[64, 96]")
        fit(catalog, recipe, run)
    assert final_weights(compiled).keys() == final_weights(plain).keys()
    first, second = epochs_of(plain)[-1], epochs_of(compiled)[-1]
    assert second.train_loss == pytest.approx(first.train_loss, rel=0.05)
    assert shopsight.load(compiled).verify().ok


def test_compile_auto_is_settled_before_training(catalog: Catalog, tmp_path: Path) -> None:
    fit(catalog, balanced("training.compile=auto"), tmp_path / "run")
    # Two short epochs are over before a compiler is.
    assert RunFolder(tmp_path / "run").recipe().training.compile is False


@pytest.fixture
def place(tmp_path: Path, product_photos: ProductPhotos) -> Place:
    return Place(tmp_path, product_photos)


# SCRATCH_RECIPE averages the weights; NCCL is Lightning's choice on CUDA.
TWO_GPUS = {"hardware": {"devices": 2, "accelerator": "cuda", "deterministic": True}}


@two_gpus
@pytest.mark.parametrize("limit", [(), ("--time-limit", "100s")])
def test_two_gpus_train_with_averaged_weights(limit: tuple[str, ...], place: Place) -> None:
    done = place.done(place.words(*limit, **TWO_GPUS))
    assert done.returncode == 0, done.stderr
    run = place.folder / "run"
    rows = epochs_of(run)
    assert [row.epoch for row in rows] == [*range(1, RunFolder(run).recipe().training.epochs + 1)]
    assert all(math.isfinite(row.train_loss) for row in rows)
    assert shopsight.load(run).verify().ok


@two_gpus
def test_two_gpus_resumed_equal_two_uninterrupted(place: Place) -> None:
    whole = place.done(place.words(run="whole", **TWO_GPUS))
    assert whole.returncode == 0, whole.stderr
    cut = place.done(place.words(run="cut", **TWO_GPUS), **place.fault("die", epoch=2))
    assert cut.returncode == 2, cut.stderr
    resumed = place.done(["train", "--resume", str(place.folder / "cut")])
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(place.folder / "whole", place.folder / "cut")


@two_gpus
def test_two_gpus_continue_with_half_the_batch_where_one_is_out_of_memory(place: Place) -> None:
    done = place.done(place.words(**TWO_GPUS), **place.fault("memory"))
    assert done.returncode == 0, done.stderr
    assert "out of memory at batch 12: continuing with 6" in done.stderr
    assert len(epochs_of(place.folder / "run")) == 3
