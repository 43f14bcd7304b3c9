"""A text encoder with random weights beside any backbone, for whoever has captions and no hub.

It is open_clip's text transformer, as published ones are, so that a bundle holds it in the same
way. From the captions of a shop alone it learns no word that they do not have: with the table of
words its tokens begin where such words lie near known ones.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from shopsight.backbones.kept_tokenizer import kept_tokenizer
from shopsight.backbones.text_tower import TextTower, new_tower
from shopsight.bundle.text_info import TextNetwork, TokenizerInfo
from shopsight.bundle.tokenizer import KeptTokenizer
from shopsight.extras import require
from shopsight.new_text_settings import NewTextSettings
from shopsight.words.word_table import open_word_table

FIRST_LOGIT_SCALE = 1 / 0.07
"""CLIP's at the start of its training (Radford et al. 2021, section 2.5)."""
# As open_clip draws the vectors of new tokens.
_TOKEN_STD = 0.02
_END, _PAD = "</s>", "<unk>"


def new_text_tower(settings: NewTextSettings, *, embedding_dim: int, name: str) -> TextTower:
    """Build a text encoder with weights from torch's generator.

    Args:
        settings: its sizes, and how texts are cut.
        embedding_dim: numbers in an embedding: those of the images.
        name: of the architecture, for the record.

    Raises:
        ExtraMissingError: open_clip, or for "words" the table, is not installed.
    """
    open_clip = require("open_clip")
    vectors: np.ndarray | None = None
    if settings.tokens == "words":
        tokenizer, vectors = _of_words(settings.context_length)
        # The first id of an empty text is the one that ends texts.
        ends: dict[str, Any] = {"pool_type": "eos", "eos_id": int(tokenizer([""])[0, 0])}
        vocab_size = len(vectors)
    else:
        library = open_clip.tokenizer.SimpleTokenizer(context_length=settings.context_length)
        kept = kept_tokenizer(library)
        assert kept is not None
        tokenizer, vocab_size, ends = kept, len(library.encoder), {}
    network = TextNetwork(
        embed_dim=embedding_dim,
        context_length=settings.context_length,
        vocab_size=vocab_size,
        width=settings.width,
        heads=settings.heads,
        layers=settings.layers,
        **ends,
    )
    tower = new_tower(open_clip, network, tokenizer, name=name, logit_scale=FIRST_LOGIT_SCALE)
    if vectors is not None:
        _begin_at(tower.module, vectors)
    return tower


def _of_words(context_length: int) -> tuple[KeptTokenizer, np.ndarray]:
    """The tokenizer of the table of words, with an end to each text, and the table."""
    require("tokenizers")
    from tokenizers import Tokenizer, processors

    table = open_word_table()
    built: Any = Tokenizer.from_str(table.tokenizer.to_str())
    built.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, built.token_to_id(_END))]
    )
    definition = built.to_str().encode()
    info = TokenizerInfo(
        clean="lower",
        context_length=context_length,
        pad_id=built.token_to_id(_PAD),
        pad_token=_PAD,
        file_sha256=sha256(definition).hexdigest(),
    )
    return KeptTokenizer(definition, info), table.vectors


@torch.no_grad()
def _begin_at(module: Any, vectors: np.ndarray) -> None:
    """Give tokens the vectors of a table, as large as open_clip draws them."""
    tokens: nn.Embedding = module.token_embedding
    first = torch.from_numpy(vectors.astype(np.float32))
    tokens.weight.copy_(first * (_TOKEN_STD / first.std()))
