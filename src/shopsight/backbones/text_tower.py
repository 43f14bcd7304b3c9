"""The text encoder of a CLIP model with the tokenizer that it was trained with.

Cleaning, cutting and padding decide what an encoder sees: SigLIP wants texts without punctuation,
padded to 64 tokens, PE to 32, OpenAI's models to 77. All of it is the library's own tokenizer's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import ModuleType
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from shopsight.backbones.clip_sources import ClipSource
from shopsight.bundle.fingerprint import tensors_sha256
from shopsight.extras import require

Tokenize = Callable[[list[str]], Int[Tensor, "b t"]]

# What no text passes through: the image encoder, CoCa's decoder of captions, and what turns
# similarities into logits.
_NOT_OF_TEXTS = ("visual", "text_decoder", "logit_scale", "logit_bias")
# Cleaning, case, punctuation, accents, other scripts, cutting and padding all show in their ids.
_SAMPLES = (
    "A red Shoe!",
    "  Crème brûlée &amp; 1,299.50 €, No. 7: \u201cnew\u201d\n",
    "\u043a\u0440\u0430\u0441\u043d\u044b\u0435 \u8d64\u3044\u9774",
    "shoe " * 200,
)


@dataclass(frozen=True, eq=False)
class TextTower:
    """A text encoder and its tokenizer.

    Attributes:
        name: of the architecture, with its library.
        module: from ids of tokens, "b t", to "b embedding_dim"; in eval mode.
        tokenize: from texts to ids, each cut or padded to the encoder's length.
        sha256: of the encoder's tensors, of the vocabulary, and of ids of sample texts.
    """

    name: str
    module: nn.Module
    tokenize: Tokenize
    sha256: str


def open_tokenizer(open_clip: ModuleType, source: ClipSource) -> Tokenize:
    """The tokenizer of a model, from open_clip's wheel, the hub's cache, or the model's folder.

    Raises:
        ExtraMissingError: it is one of `transformers`, which is not installed.
        OSError: its files are not at hand.
    """
    options: dict[str, Any] = {}
    if source.config["text_cfg"].get("hf_tokenizer_name"):
        require("transformers")
        # A configuration may ask to run code of its repository; this overrules it.
        options["trust_remote_code"] = False
    tokenizer: Tokenize = open_clip.get_tokenizer(source.model, **options)
    return tokenizer


def text_tower(clip: nn.Module, tokenizer: Tokenize, *, name: str) -> TextTower:
    """Take the text encoder out of a CLIP model, which loses its image encoder.

    Args:
        clip: a model of open_clip.
        tokenizer: its own.
        name: of its architecture.
    """
    for part in _NOT_OF_TEXTS:
        if hasattr(clip, part):
            delattr(clip, part)
    module = _TextEncoder(clip).eval()
    tensors = {key: value.detach().numpy() for key, value in clip.state_dict().items()}
    digest = sha256(f"{tensors_sha256(tensors)} {_tokenizer_sha256(tokenizer)}".encode())
    return TextTower(name, module, tokenizer, digest.hexdigest())


class _TextEncoder(nn.Module):
    """`encode_text` of a CLIP model as a module of its own."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip: Any = clip

    def forward(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        embedding: Tensor = self.clip.encode_text(ids)
        return embedding


def _tokenizer_sha256(tokenizer: Tokenize) -> str:
    """Hash what a tokenizer does, not how its files say it: those differ between versions."""
    ids = tokenizer(list(_SAMPLES)).tolist()
    return sha256(json.dumps([sorted(_vocabulary(tokenizer).items()), ids]).encode()).hexdigest()


def _vocabulary(tokenizer: Any) -> Mapping[str, int]:
    """Tokens and their ids: of `transformers` behind open_clip's wrapper, or open_clip's own."""
    inner = getattr(tokenizer, "tokenizer", None)
    vocabulary: Mapping[str, int] = tokenizer.encoder if inner is None else inner.get_vocab()
    return vocabulary
