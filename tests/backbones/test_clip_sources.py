from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

open_clip = pytest.importorskip("open_clip")

from shopsight.backbones.clip_sources import clip_source  # noqa: E402
from shopsight.backbones.create import create_backbone  # noqa: E402
from shopsight.backbones.spec import Request  # noqa: E402
from shopsight.backbones.text_tower import open_tokenizer  # noqa: E402
from shopsight.errors import ConfigError, ShopsightError, WeightsError  # noqa: E402
from tests.backbones.clip_models import (  # noqa: E402
    CONFIG,
    PREPROCESS,
    in_hub_cache,
    known_to_open_clip,
    save_clip,
    write_config,
)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face Hub's client, without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_folder_is_a_backbone_with_the_preprocessing_of_its_configuration(
    tmp_path: Path,
) -> None:
    folder = save_clip(tmp_path / "clip")
    backbone = create_backbone(f"open_clip:local-dir:{folder}")
    whole = open_clip.create_model(f"local-dir:{folder}").eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(backbone.module.eval()(pixels), whole.encode_image(pixels))
    preprocess = backbone.preprocess
    assert (preprocess.size_px, preprocess.resize, preprocess.interpolation) == (
        32, "squash", "bilinear",
    )  # fmt: skip
    assert (preprocess.mean, preprocess.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert backbone.embedding_dim == 20
    assert backbone.text is None
    # No bundle could be built from its name, in which no path stands.
    assert not backbone.rebuilds
    assert backbone.name.startswith("open_clip:config-")
    moved = folder.rename(tmp_path / "moved")
    assert create_backbone(f"open_clip:local-dir:{moved}").name == backbone.name


def test_the_image_encoder_of_a_known_architecture_is_named_after_it(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip", context_length=20)
    with known_to_open_clip("known-tiny-clip"):
        backbone = create_backbone(f"open_clip:local-dir:{folder}")
        assert (backbone.name, backbone.rebuilds) == ("open_clip:known-tiny-clip", True)
        again = create_backbone(backbone.name, weights="random").module
        again.load_state_dict(backbone.module.state_dict())


def test_a_published_e_commerce_model_would_be_named_after_siglip(hub_cache: Path) -> None:
    """Its configuration has other texts and settings around SigLIP's image encoder."""
    config = open_clip.get_model_config("ViT-B-16-SigLIP") | {"init_logit_bias": -3}
    place = in_hub_cache(hub_cache, "someone/siglip-of-shoes")
    write_config(place, {"model_cfg": config, "preprocess_cfg": PREPROCESS})
    backbone = create_backbone("open_clip:hf-hub:someone/siglip-of-shoes", weights="random")
    assert (backbone.name, backbone.rebuilds) == ("open_clip:ViT-B-16-SigLIP", True)


def test_what_the_hub_s_cache_holds_needs_no_network(hub_cache: Path) -> None:
    in_hub_cache(hub_cache, "someone/shoes")
    backbone = create_backbone("open_clip:hf-hub:someone/shoes", with_text=True)
    assert backbone.name == "open_clip:hf-hub:someone/shoes"
    assert backbone.text is not None


def test_what_the_hub_s_cache_lacks_is_named(hub_cache: Path) -> None:
    with pytest.raises(WeightsError, match="someone/hats in ") as caught:
        create_backbone("open_clip:hf-hub:someone/hats")
    assert "open_clip:local-dir:FOLDER" in str(caught.value)
    place = in_hub_cache(hub_cache, "someone/hats")
    (place / "open_clip_model.safetensors").unlink()
    # The library would go on with random weights.
    with pytest.raises(WeightsError, match="are not on this machine"):
        create_backbone("open_clip:hf-hub:someone/hats")
    with pytest.raises(ConfigError, match="'hats' is not of the form ORG/NAME"):
        create_backbone("open_clip:hf-hub:hats")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "is no configuration"),
        ("[1]", "is no configuration"),
        ('{"model_cfg": {"embed_dim": 3}}', "needs model_cfg with"),
        ('{"model_cfg": 1, "model_cfg": 2}', "stands twice"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps({"model_cfg": CONFIG | {"embed_dim": "x"}}), "cannot load the model in it"),
        (json.dumps({"model_cfg": CONFIG | {"embed_dim": 25}}), "cannot load the model in it"),
        (
            json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {"resize_mode": "stretch"}}),
            "preprocess_cfg cannot be used",
        ),
        (json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {"mean": [1, 2]}}), "cannot be used"),
        (
            json.dumps(
                {
                    "model_cfg": CONFIG
                    | {"text_cfg": {"tokenizer_kwargs": {"reduction_mask": "syntax"}}}
                }
            ),
            "leaves words out at random",
        ),
    ],
)
def test_a_configuration_that_is_none_is_an_error(tmp_path: Path, written: str, said: str) -> None:
    folder = save_clip(tmp_path / "clip")
    (folder / "open_clip_config.json").write_text(written, encoding="utf-8")
    with pytest.raises(ShopsightError, match=said):
        create_backbone(f"open_clip:local-dir:{folder}")


def test_a_folder_without_weights_or_with_a_pickle_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no open_clip_config"):
        create_backbone(f"open_clip:local-dir:{tmp_path}")
    folder = save_clip(tmp_path / "clip")
    weights = folder / "open_clip_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with pytest.raises(WeightsError):
        create_backbone(f"open_clip:local-dir:{folder}")
    weights.rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsError, match="neither open_clip_model"):
        create_backbone(f"open_clip:local-dir:{folder}")


def test_code_beside_a_tokenizer_is_not_run(tmp_path: Path) -> None:
    """Its configuration asks for it in both places where it can."""
    options: dict[str, Any] = {"trust_remote_code": True}
    folder = save_clip(tmp_path / "clip", hf_tokenizer_name="x", tokenizer_kwargs=options)
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(
        f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
        "from transformers import PreTrainedTokenizerFast\n"
        "class Own(PreTrainedTokenizerFast): pass\n",
        encoding="utf-8",
    )
    described = folder / "tokenizer_config.json"
    settings = json.loads(described.read_text(encoding="utf-8"))
    settings |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": [None, "own.Own"]}}
    described.write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(WeightsError, match="cannot load the tokenizer in it"):
        create_backbone(f"open_clip:local-dir:{folder}", with_text=True)
    assert not ran.exists()


def test_a_tokenizer_that_is_not_at_hand_is_named(hub_cache: Path) -> None:
    in_hub_cache(hub_cache, "someone/shoes", hf_tokenizer_name="someone/else-has-it")
    named = "open_clip:hf-hub:someone/shoes"
    with pytest.raises(WeightsError, match=r"the files of .*someone/shoes's tokenizer") as caught:
        create_backbone(named, with_text=True)
    assert "looked for someone/else-has-it in" in str(caught.value)
    # Images alone need none.
    assert create_backbone(named).embedding_dim == 20


@pytest.mark.parametrize(
    ("name", "length"), [("PE-Core-B-16/meta", 32), ("ViT-H-14/laion2b_s32b_b79k", 77)]
)
def test_texts_become_the_published_ids_padded_to_the_model_s_length(
    name: str, length: int
) -> None:
    request = Request("open_clip", name, "pretrained", 0.0, None, None, with_text=True)
    source = clip_source(open_clip, request, pretrained=True)
    ids = open_tokenizer(open_clip, source)(["A photo of a  CAT"])
    # Start, "a photo of a cat" in lower case, end, zeros.
    assert ids.tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407] + [0] * (length - 7)]
