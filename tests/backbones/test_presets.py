from __future__ import annotations

import pytest
import timm

from shopsight.backbones.create import create_backbone
from shopsight.backbones.presets import PRESETS, Preset, backbone_of, near_presets
from shopsight.backbones.weights import only_shapes
from shopsight.errors import ConfigError

open_clip = pytest.importorskip("open_clip")


def _of(library: str) -> list[Preset]:
    return [preset for preset in PRESETS.values() if preset.model.startswith(f"{library}:")]


LISTED = [preset for preset in PRESETS.values() if ":hf-hub:" not in preset.model]


def test_their_libraries_have_them_with_weights() -> None:
    published = {f"open_clip:{name}/{tag}" for name, tag in open_clip.list_pretrained()}
    clip = {preset.model for preset in _of("open_clip") if preset in LISTED}
    assert len(clip) == 8
    assert clip <= published
    names = timm.list_models(pretrained=True, include_tags=True)
    assert {preset.model for preset in _of("timm")} <= {f"timm:{name}" for name in names}


@pytest.mark.parametrize("preset", LISTED, ids=lambda preset: preset.name)
def test_width_size_and_parameters_are_those_of_the_network(preset: Preset) -> None:
    with only_shapes():
        backbone = create_backbone(preset.model, weights="random")
    params = sum(tensor.numel() for tensor in backbone.module.parameters())
    assert (preset.embedding_dim, preset.size_px) == (
        backbone.embedding_dim,
        backbone.preprocess.size_px,
    )
    assert preset.params_m == round(params / 1e6, 1)


@pytest.mark.parametrize("preset", _of("timm"), ids=lambda preset: preset.name)
def test_licenses_are_those_that_timm_names(preset: Preset) -> None:
    said = timm.get_pretrained_cfg(preset.model.removeprefix("timm:")).license
    assert said == {"Apache-2.0": "apache-2.0"}.get(preset.license, "dinov3-license")


def test_clip_models_alone_have_text_and_figures_have_a_source() -> None:
    for preset in PRESETS.values():
        assert bool(preset.text) == preset.model.startswith("open_clip:")
        assert bool(preset.source) == bool(preset.published)


def test_names() -> None:
    assert backbone_of("general-base") == "open_clip:PE-Core-B-16/meta"
    assert backbone_of("timm:resnet18") == "timm:resnet18"
    assert near_presets("general_base")[0] == "general-base"
    assert near_presets("runs/first") == []


def test_whoever_trains_one_is_told_its_backbone() -> None:
    with pytest.raises(ConfigError, match="not of the form library:name") as caught:
        create_backbone("contest")
    assert "--backbone open_clip:ViT-H-14/laion2b_s32b_b79k" in str(caught.value)
