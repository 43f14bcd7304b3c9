"""A product model with its text encoder beside it, while both are trained."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from shopsight.models.heads import DirectionHead
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess

MOST_LOG_SCALE = math.log(100.0)
"""Where CLIP holds the logits' scale: beyond it, training becomes unstable."""
# Of Zhai et al. 2023: nearly all pairs are told apart from the start, as nearly all must be.
_SIGMOID_LOG_SCALE, _SIGMOID_BIAS = math.log(10.0), -10.0


class TwoTowers(ProductModel):
    """Image encoder, text encoder, and the scale of their logits.

    The head's classes are texts: it is set from the text encoder, never by a gradient.

    Args:
        backbone: the image encoder.
        head: see `shopsight.training.contrastive.set_classes`.
        preprocess: of images.
        text: from ids of tokens, "b t", to "b w".
        logit_scale: that both encoders were trained with.
        logit_bias: that they were trained with, if by a sigmoid loss.
        sigmoid: whether a sigmoid loss will train them.
        tta_hflip: as in `ProductModel`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: DirectionHead,
        preprocess: Preprocess,
        *,
        text: nn.Module,
        logit_scale: float,
        logit_bias: float | None,
        sigmoid: bool,
        tta_hflip: bool = False,
    ) -> None:
        super().__init__(backbone, head, preprocess, tta_hflip=tta_hflip)
        self.text = text
        log_scale = math.log(logit_scale)
        if sigmoid and logit_bias is None:
            log_scale, logit_bias = _SIGMOID_LOG_SCALE, _SIGMOID_BIAS
        self.log_scale = nn.Parameter(torch.tensor(log_scale))
        self.bias = nn.Parameter(torch.tensor(logit_bias or 0.0), requires_grad=sigmoid)
        self.head.requires_grad_(False)

    def image_vectors(self, images: UInt8[Tensor, "b s s 3"]) -> Float[Tensor, "b w"]:
        """Unit vectors of images, in fp32."""
        return functional.normalize(self.embed(images).float(), dim=1)

    def text_vectors(self, ids: Int64[Tensor, "b t"]) -> Float[Tensor, "b w"]:
        """Unit vectors of texts, in fp32."""
        embedding: Tensor = self.text(ids)
        return functional.normalize(embedding.float(), dim=1)

    @torch.no_grad()
    def hold_scale(self) -> None:
        """Keep the logits' scale where training is stable."""
        self.log_scale.clamp_(max=MOST_LOG_SCALE)
