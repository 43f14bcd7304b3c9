"""What a bundle says of its text encoder; part of model.json.

    text.safetensors    weights of the text encoder
    tokenizer.json      the tokenizer, as the library `tokenizers` writes it

The network is open_clip's text transformer, built from these settings alone: an encoder of another
library would need code or files that a bundle does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shopsight.bundle.embedding_space import Digest, Line

TEXT_WEIGHTS_FILE = "text.safetensors"
TOKENIZER_FILE = "tokenizer.json"

Cleaning = Literal["lower", "canonicalize", "whitespace"]
"""What becomes of a text before it is cut into tokens, see `shopsight.bundle.tokenizer`."""
_Size = Annotated[int, Field(ge=1, le=100_000)]
_Id = Annotated[int, Field(ge=0, le=10_000_000)]
_Positive = Annotated[float, Field(gt=0.0, le=1e6, allow_inf_nan=False)]


class TextNetwork(BaseModel):
    """Settings of a text transformer, by the names that open_clip has for them.

    Attributes:
        embed_dim: numbers in an embedding.
        quick_gelu: whether its activation is the approximation that OpenAI's models use.
        context_length: tokens of a text.
        vocab_size: tokens that there are.
        width: numbers of a token.
        heads: of each attention.
        layers: of attention.
        mlp_ratio: hidden numbers of a layer, in multiples of `width`.
        ls_init_value: of the factors that each layer has; None has none.
        embed_cls: a token of its own stands for the text.
        pad_id: token behind a text.
        eos_id: token at the end of a text, for `pool_type` "eos".
        no_causal_mask: tokens see those behind them too.
        pool_type: which token stands for the text.
        proj_type: what turns that token into the embedding.
        proj_bias: whether this adds a bias.
        act_kwargs: of the activation.
        norm_kwargs: of the normalization.
        block_type: of attention.
        qk_norm: queries and keys are normalized.
        scaled_cosine_attn: attention by cosines.
        scale_heads: each head has a factor.
        scale_attn_inner: the attention's result is normalized before its projection.
        scale_attn: and behind it.
        scale_fc: the hidden numbers are normalized.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embed_dim: _Size
    quick_gelu: bool = False
    context_length: int = Field(default=77, ge=3, le=8192)
    vocab_size: int = Field(default=49408, ge=1, le=10_000_000)
    width: _Size = 512
    heads: _Size = 8
    layers: int = Field(default=12, ge=1, le=1000)
    mlp_ratio: float = Field(default=4.0, gt=0.0, le=100.0)
    ls_init_value: float | None = Field(default=None, allow_inf_nan=False)
    embed_cls: bool = False
    pad_id: _Id = 0
    eos_id: _Id = 2
    no_causal_mask: bool = False
    pool_type: Literal["first", "last", "argmax", "eos", "none"] = "argmax"
    proj_type: Literal["linear", "none"] = "linear"
    proj_bias: bool = False
    act_kwargs: dict[Literal["approximate"], Literal["none", "tanh"]] | None = None
    norm_kwargs: dict[Literal["eps"], _Positive] | None = None
    block_type: Literal["default", "custom"] | None = None
    qk_norm: bool = False
    scaled_cosine_attn: bool = False
    scale_heads: bool = False
    scale_attn_inner: bool = False
    scale_attn: bool = False
    scale_fc: bool = False

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> TextNetwork:
        if self.width % self.heads:
            raise ValueError("width: not a multiple of heads")
        return self


class TokenizerInfo(BaseModel):
    """How texts become rows of ids, beside what tokenizer.json says.

    Attributes:
        clean: what becomes of a text first.
        context_length: ids of a row.
        pad_id: what fills rows of short texts.
        pad_token: the same as text.
        pad_left: whether it stands before the text.
        cut_left: whether long texts lose their beginning, not their end.
        blank_ids: ids that become 0 in the end.
        file_sha256: of tokenizer.json.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    clean: Cleaning
    context_length: int = Field(ge=3, le=8192)
    pad_id: _Id
    pad_token: Line
    pad_left: bool = False
    cut_left: bool = False
    blank_ids: tuple[_Id, ...] = Field(default=(), max_length=10)
    file_sha256: Digest


class TextInfo(BaseModel):
    """A text encoder whose vectors lie in the space of the bundle's images.

    Attributes:
        name: of the architecture, with its library.
        network: its settings.
        tokenizer: how texts become its input.
        logit_scale: what cosines of images and texts are multiplied by, as it was trained.
        text_sha256: of tensors and tokenizer, see `shopsight.backbones.text_tower`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Line
    network: TextNetwork
    tokenizer: TokenizerInfo
    logit_scale: _Positive
    text_sha256: Digest


@dataclass(frozen=True, eq=False)
class TextPart:
    """A text encoder, ready to be written.

    Attributes:
        info: its description.
        tensors: its weights by name.
        tokenizer: content of tokenizer.json.
        sample_vectors: embeddings of `shopsight.bundle.tokenizer.SAMPLE_TEXTS`, a row each.
    """

    info: TextInfo
    tensors: Mapping[str, np.ndarray]
    tokenizer: bytes
    sample_vectors: Float32[np.ndarray, "k d"]
