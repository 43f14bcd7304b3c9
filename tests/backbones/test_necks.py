from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.backbones.necks import GeM, NeckedBackbone
from shopsight.config.optimizer_settings import OptimizerSettings
from shopsight.errors import ConfigError
from shopsight.neck_settings import NO_NECK, NeckKind, NeckSettings
from shopsight.training.optim import parameter_groups

WIDTH = {"linear": 16, "bnneck": 512, "linear-bn-prelu": 16, "dropout-linear": 16,
         "bn-dropout-linear-linear": 16}  # fmt: skip


def necked(settings: NeckSettings, name: str = "timm:resnet18.tv_in1k") -> nn.Module:
    backbone = create_backbone(name, weights="random", size_px=64, neck=settings)
    assert backbone.neck == settings
    with torch.inference_mode():
        out = backbone.module.eval()(torch.rand(2, 3, 64, 64))
    assert out.shape == (2, backbone.embedding_dim)
    return backbone.module


@pytest.mark.parametrize("kind", WIDTH)
def test_every_kind_gives_its_width_and_learns_with_the_head(kind: NeckKind) -> None:
    width = WIDTH[kind]
    settings = NeckSettings(kind=kind, embedding_dim=None if width == 512 else width)
    backbone = create_backbone("timm:resnet18.tv_in1k", weights="random", neck=settings)
    assert backbone.embedding_dim == width
    names = {name for stage in backbone.stages for name in stage}
    own = {name for name, _ in backbone.module.named_parameters()}
    assert {name for name in own - names if not name.startswith("neck.")} == set()
    optimizer = OptimizerSettings(lr=1e-3, head_lr_factor=10.0)
    groups = parameter_groups(
        backbone.module, backbone.stages, nn.Linear(width, 2).parameters(), optimizer
    )
    rates = {one: group["lr"] for group in groups for one in group["params"]}
    for name, parameter in backbone.module.named_parameters():
        if parameter.requires_grad:
            rate = 1e-2 if name.startswith("neck.") else 1e-3
            assert rates[parameter] == pytest.approx(rate), name


def test_bnneck_has_no_shift_and_normalizes() -> None:
    module = necked(NeckSettings(kind="bnneck"))
    assert isinstance(module, NeckedBackbone)
    module.train()
    out = module(torch.rand(8, 3, 64, 64))
    assert out.mean(dim=0).abs().max() < 1e-5
    assert not dict(module.neck.named_parameters())["bias"].requires_grad


@pytest.mark.parametrize("name", ["timm:resnet18.tv_in1k", "embedded:tf_efficientnet_lite0",
                                  "timm:convnext_atto.d2_in1k"])  # fmt: skip
def test_gem_stands_where_the_mean_was(name: str) -> None:
    module = necked(NeckSettings(pool="gem"), name)
    (gem,) = [one for one in module.modules() if isinstance(one, GeM)]
    plain = create_backbone(name, weights="random", size_px=64).module.eval()
    kept = {key.removeprefix("body."): value for key, value in module.state_dict().items()}
    missing = plain.load_state_dict(kept, strict=False)
    assert missing.missing_keys == []
    # With p = 1 and nothing negative it is the mean.
    maps = torch.rand(2, 5, 7, 6)
    gem.p.data.fill_(1.0)
    assert torch.allclose(gem(maps).flatten(1), maps.mean(dim=(2, 3)), atol=1e-6)
    gem.p.data.fill_(60.0)
    assert torch.allclose(gem(maps).flatten(1), maps.amax(dim=(2, 3)), atol=0.08)


def test_gem_does_not_overflow_in_half_precision() -> None:
    gem = GeM(flatten=True)
    with torch.autocast("cpu", dtype=torch.float16):
        out = gem(torch.full((1, 2, 3, 3), 500.0, dtype=torch.float16))
    assert out.dtype == torch.float16
    assert torch.allclose(out.float(), torch.tensor(500.0), rtol=1e-3)


def test_a_network_that_does_not_pool_over_positions_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not pool over positions"):
        necked(NeckSettings(pool="gem"), "timm:vit_tiny_patch16_224")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "bnneck", "embedding_dim": 8},
        {"embedding_dim": 8},
        {"kind": "linear", "dropout": 0.1},
    ],
)
def test_settings_that_change_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NeckSettings.model_validate(wrong)


def test_a_run_with_a_neck_is_a_bundle_a_backbone_and_an_index_of_its_width(
    product_photos: Any, tmp_path: Path
) -> None:
    from shopsight.bundle.read import read_info
    from shopsight.commands.train import train
    from shopsight.config.recipe import Recipe
    from shopsight.inference.load import load
    from shopsight.inference.open_embedder import open_embedder

    recipe = Recipe().replace(
        preprocess={"size_px": 32},
        model={"backbone": "shopsight:fashion_cnn", "weights": "random",
               "neck": {"kind": "linear-bn-prelu", "embedding_dim": 12}},
        training={"mode": "scratch", "epochs": 1, "precision": "32"},
        cache={"mode": "off"},
    )  # fmt: skip
    run = tmp_path / "run"
    train(product_photos.folder, recipe=recipe, out=run)
    info = read_info(run / "model")
    assert (info.embedding_dim, info.neck.kind) == (12, "linear-bn-prelu")
    assert load(run, device="cpu").verify().ok
    assert open_embedder(run, device="cpu").space.embedding_dim == 12
    again = create_backbone(f"local:{run}")
    assert (again.neck, again.embedding_dim) == (info.neck, 12)
    with pytest.raises(ConfigError, match="has a neck of its own"):
        create_backbone(f"local:{run}", neck=NeckSettings(kind="linear"))
    assert create_backbone("shopsight:fashion_cnn", weights="random").neck == NO_NECK
