"""Small CLIP models with random weights, in folders as open_clip's users publish them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import safetensors.torch
import torch
from open_clip.model import CLIP, CustomTextCLIP

CONFIG: dict[str, Any] = {
    "embed_dim": 20,
    "vision_cfg": {
        "image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8,
    },
    "text_cfg": {
        "context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2,
    },
}  # fmt: skip
PREPROCESS = {
    "size": [32, 32], "mode": "RGB", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4],
    "interpolation": "bilinear", "resize_mode": "squash",
}  # fmt: skip
# Words of a tokenizer of `transformers`, which a folder has beside the weights.
WORDS = ("<pad>", "<unk>", "</s>", "a", "red", "blue", "shoe", "hat", "photo", "of")


def save_clip(folder: Path, *, custom_text: bool = False, **text: Any) -> Path:
    """Save a CLIP model with its configuration, and a tokenizer where `text` names one.

    Args:
        folder: a new folder.
        custom_text: the text encoder is a module of its own, as SigLIP's.
        text: settings of `text_cfg`.
    """
    config = deepcopy(CONFIG)
    config["text_cfg"] |= text
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    clip = (CustomTextCLIP if custom_text else CLIP)(**deepcopy(_buildable(config)))
    safetensors.torch.save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    if custom_text:
        config["custom_text"] = True
    if "hf_tokenizer_name" in text:
        _save_tokenizer(folder)
    write_config(folder, {"model_cfg": config, "preprocess_cfg": PREPROCESS})
    return folder


def write_config(folder: Path, written: Any) -> None:
    """Write a folder's `open_clip_config.json`."""
    (folder / "open_clip_config.json").write_text(json.dumps(written), encoding="utf-8")


@contextmanager
def known_to_open_clip(name: str) -> Iterator[None]:
    """Have open_clip list the architecture of these models within the block."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.json")
        path.write_text(json.dumps(CONFIG), encoding="utf-8")
        open_clip.add_model_config(path)
        try:
            yield
        finally:
            open_clip.factory._MODEL_CONFIG_PATHS.remove(path)
            open_clip.factory._MODEL_CONFIGS.pop(name)


def in_hub_cache(cache: Path, repository: str, **settings: Any) -> Path:
    """Save a CLIP model where the hub's client keeps what it downloaded."""
    place = cache / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    return save_clip(place / "snapshots" / ("0" * 40), **settings)


def _buildable(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "custom_text"}


def _save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )
    wrapped.save_pretrained(folder)
