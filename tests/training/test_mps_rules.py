"""Training and prediction with what MPS lacks refused; real values, computed by the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import shopsight
from shopsight import api
from shopsight.runs.history import read_history
from shopsight.runs.run_folder import RunFolder
from tests.fake_devices import BreaksMpsError, MpsRules, mps_rules
from tests.helpers import SCRATCH_RECIPE, ProductPhotos

NETWORK = ("training.epochs=1", "hardware.accelerator=cpu")
KINDS = {
    "from scratch, averaged, mixed": (),
    "from a probe, weighted, clipped": (
        "training.mode=probe-then-finetune",
        "model.weights=random",
        "training.class_weights=balanced",
        "training.gradient_clip=1.0",
        "training.frozen_stages=1",
    ),
    "with a time limit": ("training.time_limit_s=600", "optimizer.name=sgd"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_trains_and_predicts_without_what_mps_lacks(
    kind: str, product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(SCRATCH_RECIPE, encoding="utf-8")
    run = tmp_path / "run"
    with mps_rules(monkeypatch) as rules:
        api.train(product_photos.folder, out=run, recipe=recipe, settings=[*NETWORK, *KINDS[kind]])
        trained = rules.operations
        images = sorted(product_photos.folder.rglob("*.jpg"))[:5]
        predictions = list(api.predict(run, images, device="cpu"))
    assert trained > 100
    assert rules.operations > trained
    assert [prediction.error for prediction in predictions] == [None] * 5
    rows = read_history(RunFolder(run).metrics_file)
    assert rows[-1].stage == "finetune"
    assert math.isfinite(rows[-1].train_loss)
    # Without the rules, and with channels last again.
    assert shopsight.load(run, device="cpu").verify().ok


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tensor: tensor.double(),
        lambda _tensor: torch.zeros(3, dtype=torch.float64),
        lambda tensor: tensor.to(memory_format=torch.channels_last),
        lambda tensor: tensor.permute(0, 3, 1, 2).float(),
        lambda tensor: tensor.to(torch.bfloat16, non_blocking=True),
        lambda tensor: torch.empty(2, 3, 4, 5).copy_(tensor, non_blocking=True),
    ],
)
def test_the_rules_bite(wrong: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensor = torch.ones(2, 3, 4, 5)
    with MpsRules(), pytest.raises(BreaksMpsError):
        wrong(tensor)
