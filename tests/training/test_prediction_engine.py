"""What is fitted and scored comes from the engine that `shopsight.load` chooses on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import shopsight
from shopsight import api
from shopsight.backbones.create import create_backbone
from shopsight.cache_place import use_cache_dir
from shopsight.config.recipe import parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.inference import torch_engine
from shopsight.loading.cache import open_cache
from shopsight.metrics.temperature import fit_temperature
from shopsight.progress import use_listener
from shopsight.runs.run_folder import RunFolder
from tests.helpers import ProductPhotos, Recorder

RECIPE = """
[data]
val = 0.2
test = 0.2
[preprocess]
size_px = 64
[model]
backbone = "timm:test_efficientnet"
[training]
mode = "probe"
[evaluation]
"""


@pytest.fixture(params=["sound", "ruined by bf16"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A network's weights. bf16 keeps 8 bits: beside an offset of 10 it rounds to sixteenths."""
    torch.manual_seed(0)
    network = create_backbone("timm:test_efficientnet", weights="random", size_px=64).module
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.3)
    state = network.state_dict()
    if request.param != "sound":
        state["bn2.bias"] += 10.0
    save_file(state, tmp_path / f"{request.param}.safetensors")
    return tmp_path / f"{request.param}.safetensors"


@pytest.mark.parametrize("training_precision", ["auto", "32"])
def test_temperature_scores_and_load_are_of_one_engine(
    weights: Path,
    training_precision: str,
    product_photos: ProductPhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Any CPU computes in bf16, if slowly; that it is worth it, is what is asserted here.
    monkeypatch.setattr(torch_engine, "computes_bf16", lambda _device: True)
    recipe = parse_recipe(
        RECIPE,
        overrides=[
            f"model.weights={weights.as_posix()}",
            f'training.precision="{training_precision}"',
        ],
    )
    recorder, out = Recorder(), tmp_path / "run"
    with use_cache_dir(tmp_path / "cache"), use_listener(recorder):
        done = api.train(product_photos.folder, out=out, recipe=recipe)
    predictor = shopsight.load(out)
    sound = weights.stem == "sound"
    assert predictor.engine.precision == ("bf16" if sound else "32")
    assert sound != any("not computing in bf16" in line for line in recorder.lines)
    assert shopsight.load(out, verify=False).engine.precision == predictor.engine.precision

    run = RunFolder(out)
    catalog = run.catalog()
    val = catalog.rows_of("val")
    source = open_cache(
        catalog,
        predictor.preprocess,
        settings=recipe.cache.model_copy(update={"mode": "off"}),
        sha256s=run.audited_catalog().sha256.to_list(),
    )
    _, logits = predictor.predict_batch(source.gather(val))
    temperature = fit_temperature(logits, catalog.take(val).targets(catalog.labels)).value
    assert predictor.temperature == pytest.approx(temperature, rel=1e-3)
    confidence = predictor.probabilities(logits).max(1)
    scored = done.evaluations["val"].predictions.table["confidence"].to_numpy()
    np.testing.assert_allclose(scored, confidence, atol=1e-4)


def test_a_run_kept_off_the_gpu_is_calibrated_where_it_will_predict(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hardware.accelerator` is about training: `shopsight.load` does not know of it."""
    wanted: list[str] = []
    pick_device = torch_engine.pick_device

    def noted(name: str) -> torch.device:
        wanted.append(name)
        return pick_device("cpu")

    monkeypatch.setattr(torch_engine, "pick_device", noted)
    recipe = parse_recipe(RECIPE, overrides=["model.weights=random", "hardware.accelerator=cpu"])
    with use_cache_dir(tmp_path / "cache"):
        api.train(open_catalog(product_photos.folder), out=tmp_path / "run", recipe=recipe)
    # Twice the reference engine (on the CPU) and once each: probe, calibration, evaluation, maps.
    assert wanted == ["cpu", "cpu", "cpu", "auto", "auto", "auto"]
