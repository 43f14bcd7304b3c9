from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from timm.data.constants import OPENAI_CLIP_MEAN
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

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


class NumbersAreZero(TorchDispatchMode):
    """Shapes alone are computed; where a number is read, some networks want one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.0
        return func(*args, **(kwargs or {}))


def embedding_shape(architecture: str) -> tuple[tuple[int, ...], int]:
    """Shape of the embeddings of two images, and the dimension that the backbone declares."""
    with FakeTensorMode(allow_non_fake_inputs=True), NumbersAreZero():
        backbone = create_backbone(f"open_clip:{architecture}", weights="random")
        size_px = backbone.preprocess.size_px
        embedding = backbone.module.eval()(torch.zeros(2, 3, size_px, size_px))
    return tuple(embedding.shape), backbone.embedding_dim


@pytest.mark.parametrize(
    "architecture",
    # Towers of timm without a projection, with tokens beside the embedding, with a text encoder
    # from the Hugging Face Hub, and those that always worked.
    ["ViT-B-16-SigLIP", "coca_ViT-B-32", "roberta-ViT-B-32", "MobileCLIP-S1", "RN50", "ViT-B-32"],
)
def test_every_kind_of_tower_gives_one_embedding_per_image(architecture: str) -> None:
    pytest.importorskip("open_clip")
    shape, embedding_dim = embedding_shape(architecture)
    assert shape == (2, embedding_dim)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_architecture_gives_one_embedding_per_image() -> None:
    open_clip = pytest.importorskip("open_clip")
    architectures = open_clip.list_models()
    assert len(architectures) > 100
    wrong = {
        name: shape
        for name in architectures
        for shape, embedding_dim in [embedding_shape(name)]
        if shape != (2, embedding_dim)
    }
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", ["ViT-B-16-SigLIP", "coca_ViT-B-32"])
def test_real_embeddings_of_towers_that_once_failed(architecture: str) -> None:
    pytest.importorskip("open_clip")
    backbone = create_backbone(f"open_clip:{architecture}", weights="random")
    found = embed(backbone)
    assert found.shape == (2, backbone.embedding_dim)
    assert torch.isfinite(found).all()


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
