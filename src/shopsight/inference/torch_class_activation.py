"""Exact class-activation maps of torch networks, where there are any.

Networks of many libraries say in many ways where their features are pooled. Here nothing is asked:
the maps that pass between modules are looked at, and one is taken only if its mean over the cells
is the embedding and the linear head makes the logits of that. So a map is exact or there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shopsight.models.heads import LinearHead
from shopsight.models.product_model import ProductModel

TOLERANCE = 1e-3
"""Of the mean of a map against the embedding, as a fraction of the largest number."""
KEPT_MAPS = 6
"""The last ones that pass; the pooled one is among them."""


@torch.no_grad()
def exact_activation(
    model: ProductModel, images: Tensor, labels: Tensor
) -> Float[Tensor, "b r c"] | None:
    """The map of one label for each image.

    Args:
        model: in eval mode.
        images: uint8 "b s s 3", on its device.
        labels: "b", of each image one.

    Returns:
        None where the embedding is no mean over cells, or the head is not linear; and where parts
        of the image are looked at again: their cells are no cells of the image.
    """
    if not isinstance(model.head, LinearHead) or model.preprocess.average:
        return None
    weight = model.head.classifier.weight.float()[labels]
    pixels = model.normalize(images)
    found = _pooled_map(model.backbone, pixels)
    if found is None:
        return None
    maps = torch.einsum("bwrc,bw->brc", found, weight)
    if model.tta_hflip:
        mirrored = _pooled_map(model.backbone, pixels.flip(3))
        if mirrored is None:
            return None
        maps = (maps + torch.einsum("bwrc,bw->brc", mirrored, weight).flip(2)) / 2
    return maps


def _pooled_map(backbone: nn.Module, pixels: Tensor) -> Float[Tensor, "b w r c"] | None:
    """The map whose mean over the cells is the embedding."""
    with _passing_maps(backbone) as seen:
        embedding = backbone(pixels).float()
    size = max(1e-6, float(embedding.abs().max()))
    for one in reversed(seen):
        if one.shape[:2] != embedding.shape or one.shape[2] * one.shape[3] < 2:
            continue
        values = one.float()
        if float((values.mean((2, 3)) - embedding).abs().max()) <= TOLERANCE * size:
            return values
    return None


@contextmanager
def _passing_maps(backbone: nn.Module) -> Iterator[deque[Tensor]]:
    """The last maps that go into a module or come out of one, while the block lasts."""
    seen: deque[Tensor] = deque(maxlen=KEPT_MAPS)

    def look(_module: nn.Module, given: Any, result: Any) -> None:
        for one in (*given, result):
            if isinstance(one, Tensor) and one.ndim == 4 and not any(one is old for old in seen):
                seen.append(one)

    handles = [module.register_forward_hook(look) for module in backbone.modules()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
