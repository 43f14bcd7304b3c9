from __future__ import annotations

import logging
from pathlib import Path

import pytest
import safetensors.torch
import torch
from timm.data.constants import OPENAI_CLIP_MEAN

from shopsight.backbones.create import create_backbone
from shopsight.errors import ConfigError, WeightsError
from tests.helpers import embed

TINY_CLIP = """{"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": 2, "width": 32,
"head_width": 16, "patch_size": 8}, "text_cfg": {"context_length": 8, "vocab_size": 64,
"width": 32, "heads": 2, "layers": 1}}"""


def test_open_clip_visual_tower(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    (tmp_path / "tiny-clip.json").write_text(TINY_CLIP, encoding="utf-8")
    open_clip.add_model_config(tmp_path)
    backbone = create_backbone("open_clip:tiny-clip", weights="random")
    assert backbone.embedding_dim == 24
    assert embed(backbone).shape == (2, 24)
    assert (backbone.preprocess.size_px, backbone.preprocess.mean) == (32, OPENAI_CLIP_MEAN)
    assert [stage[0].split(".")[0] for stage in backbone.stages] == [
        "class_embedding", "transformer", "transformer", "proj",
    ]  # fmt: skip
    whole = open_clip.create_model("tiny-clip")
    path = tmp_path / "clip.safetensors"
    safetensors.torch.save_file(whole.state_dict(), path)
    loaded = create_backbone("open_clip:tiny-clip", weights=str(path)).module.state_dict()
    assert torch.equal(loaded["proj"], whole.visual.state_dict()["proj"])
    with pytest.raises(ConfigError, match="tiny-clip needs the name of its weights"):
        create_backbone("open_clip:tiny-clip")
    with pytest.raises(ConfigError, match="RN50 has no weights 'nope'"):
        create_backbone("open_clip:RN50/nope")


def test_open_clip_does_not_write_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_clip = pytest.importorskip("open_clip")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "tiny-clip.json").write_text(TINY_CLIP, encoding="utf-8")
    open_clip.add_model_config(tmp_path)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # as in a process of its own
    create_backbone("open_clip:tiny-clip", weights="random")
    with pytest.raises(WeightsError, match="ViT-B-32-laion2B-s34B-b79K in ") as caught:
        create_backbone("open_clip:ViT-B-32/laion2b_s34b_b79k")
    assert f" in {tmp_path}\n" in str(caught.value)
    assert capsys.readouterr().err == ""
    assert (root.handlers, root.filters) == ([], [])
    logging.warning("from others")
    assert "from others" in capsys.readouterr().err
