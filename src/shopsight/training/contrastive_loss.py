"""Contrastive losses between images and texts, with their gradients in chunks of rows.

A batch has N images x_i and N captions t_i, all unit vectors, and logits l_ij = s x_i . t_j + b.
Images and captions of one label, or with the same caption, belong together: P_ij = 1. Catalogs
repeat labels all the time, and a loss that knows the diagonal alone pushes apart what is the same.

    softmax   mean over i of  -sum_j P_ij / |P_i| log softmax_j(l_ij),  b = 0, averaged with the
              same over captions. With P the identity it is CLIP's (Radford et al. 2021); with
              labels UniCL's (Yang et al. 2022).
    sigmoid   1/N sum_ij -log sigmoid(y_ij l_ij),  y_ij = 2 P_ij - 1 (Zhai et al. 2023)

**Chunks.** Both are sums over rows, so that the gradient with respect to the vectors is the sum of
those of chunks of rows. Each chunk's graph is freed before the next one is built: memory goes with
chunk x N, not with N x N. Chunks in one graph would save nothing, since each keeps its logits for
the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

Kind = Literal["softmax", "sigmoid"]
CHUNK_LOGITS = 1 << 24
"""Logits of a chunk: 64 MB in fp32, and a few times as much on the way back."""


@dataclass(frozen=True, eq=False)
class Meaning:
    """What images and captions of a batch are of, to know which belong together.

    Attributes:
        labels: a number for each image's label.
        captions: a number for each caption's text.
    """

    labels: Int64[Tensor, "n"]
    captions: Int64[Tensor, "n"]

    def positives(self, start: int, stop: int) -> Bool[Tensor, "m n"]:
        """Which pairs of rows start to stop and all columns belong together; symmetric."""
        labels = self.labels[start:stop, None] == self.labels[None]
        return labels | (self.captions[start:stop, None] == self.captions[None])


@dataclass(frozen=True, eq=False)
class LossGradients:
    """A loss and its gradients.

    Attributes:
        loss: of the batch.
        images: gradient with respect to the images' vectors.
        texts: with respect to the captions'.
        log_scale: with respect to the logarithm of s.
        bias: with respect to b; zero for the softmax.
        right: images whose best caption belongs to them.
    """

    loss: Float[Tensor, ""]
    images: Float[Tensor, "n d"]
    texts: Float[Tensor, "n d"]
    log_scale: Float[Tensor, ""]
    bias: Float[Tensor, ""]
    right: Int64[Tensor, ""]


def contrastive_gradients(
    images: Float[Tensor, "n d"],
    texts: Float[Tensor, "n d"],
    meaning: Meaning,
    log_scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
    *,
    kind: Kind,
    chunk: int | None = None,
) -> LossGradients:
    """The loss of a batch and its gradients with respect to the vectors, in fp32.

    Args:
        images: unit vectors; no gradient goes back through them.
        texts: of the captions, in the same order.
        meaning: what belongs together.
        log_scale: logarithm of the logits' scale.
        bias: of the logits.
        kind: "softmax" or "sigmoid".
        chunk: rows at once; None: as many as make `CHUNK_LOGITS`.
    """
    # Not an autocast region's bf16: the logits of N captions differ in digits that it has not.
    with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        leaves = [
            value.detach().float().clone().requires_grad_()
            for value in (images, texts, log_scale, bias)
        ]
        count = len(images)
        rows = chunk or max(1, CHUNK_LOGITS // count)
        loss = torch.zeros((), device=images.device)
        right = torch.zeros((), dtype=torch.int64, device=images.device)
        for start in range(0, count, rows):
            part, found = _rows(leaves, meaning, start, min(start + rows, count), kind)
            torch.autograd.backward(part)
            loss += part.detach()
            right += found
    images_g, texts_g, scale_g, bias_g = (
        torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves
    )
    return LossGradients(loss, images_g, texts_g, scale_g, bias_g, right)


def _rows(
    leaves: list[Tensor], meaning: Meaning, start: int, stop: int, kind: Kind
) -> tuple[Float[Tensor, ""], Int64[Tensor, ""]]:
    """The part of the loss that these rows of the logits make, and how many images are right."""
    images, texts, log_scale, bias = leaves
    count, scale = len(images), log_scale.exp()
    belongs = meaning.positives(start, stop)
    logits = scale * images[start:stop] @ texts.T
    best = logits.detach().argmax(dim=1, keepdim=True)
    right = belongs.gather(1, best).sum()
    if kind == "sigmoid":
        sign = belongs.to(logits.dtype) * 2 - 1
        return -functional.logsigmoid(sign * (logits + bias)).sum() / count, right
    target = belongs / belongs.sum(dim=1, keepdim=True)
    others = scale * texts[start:stop] @ images.T
    log_p = functional.log_softmax(logits, dim=1) + functional.log_softmax(others, dim=1)
    return -(target * log_p).sum() / (2 * count), right
