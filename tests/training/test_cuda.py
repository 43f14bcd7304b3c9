"""Training on a GPU; skipped where there is none."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import shopsight
from shopsight.config.recipe import load_recipe
from shopsight.datasets.open import open_catalog
from shopsight.runs.history import read_history
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fit import fit, resume
from shopsight.training.module import ClassifierTraining
from tests.helpers import ProductPhotos

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class _PowerCutError(Exception):
    pass


@pytest.mark.parametrize("precision", ["auto", "16"])
def test_the_default_recipe_trains_and_resumes_on_cuda(
    precision: str, product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run comes near the uninterrupted one: CUDA's sums are not in a fixed order."""
    catalog = open_catalog(product_photos.folder)
    recipe = load_recipe("balanced", [f"training.precision={precision}", "training.epochs=2"])
    recipe = recipe.replace(data={"val": 0.2, "test": 0.2}, hardware={"accelerator": "gpu"})
    fit(catalog, recipe, tmp_path / "whole")
    step = ClassifierTraining.training_step

    def cut(self: ClassifierTraining, *batch: object) -> torch.Tensor:
        if self.current_epoch == 1:
            raise _PowerCutError
        return step(self, *batch)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ClassifierTraining, "training_step", cut)
        with pytest.raises(_PowerCutError):
            fit(catalog, recipe, tmp_path / "cut")
    resume(tmp_path / "cut")
    whole, cut_run = (RunFolder(tmp_path / name) for name in ("whole", "cut"))
    rows = [row for row in read_history(cut_run.metrics_file) if row.stage == "finetune"]
    assert [row.epoch for row in rows] == [1, 2]
    assert all(math.isfinite(row.train_loss) for row in rows)
    first, second = (load_file(run.checkpoints / "final.safetensors") for run in (whole, cut_run))
    for name, tensor in first.items():
        assert torch.allclose(tensor.float(), second[name].float(), rtol=0.05, atol=0.05), name
    assert shopsight.load(cut_run.path).verify().ok
