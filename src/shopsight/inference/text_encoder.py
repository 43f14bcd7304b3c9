"""Unit vectors of texts by the text encoder of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32

from shopsight.backbones.text_tower import TextTower
from shopsight.devices import copy_to_device
from shopsight.inference.torch_engine import exact_products
from shopsight.unit_vectors import unit_vectors

BATCH_TEXTS = 256


class TextEncoder:
    """A text encoder on one device, in fp32: queries are few, and all texts of a catalog once.

    Args:
        tower: the encoder and its tokenizer; moved to the device.
        device: where it computes.
    """

    def __init__(self, tower: TextTower, device: torch.device) -> None:
        self.name = tower.name
        self.sha256 = tower.sha256
        self.logit_scale = tower.logit_scale
        self._tokenize = tower.tokenize
        self._device = device
        self._module = tower.module.to(device)
        self._embedding_dim = tower.embedding_dim

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of texts, a row each; what is longer than the encoder takes is cut.

        Raises:
            EmbeddingError: a vector has no direction.
        """
        found = [np.empty((0, self._embedding_dim), np.float32)]
        for start in range(0, len(texts), BATCH_TEXTS):
            ids = torch.from_numpy(self._tokenize(texts[start : start + BATCH_TEXTS]))
            with exact_products(self._device):
                embedding = self._module(copy_to_device(ids, self._device))
            found.append(embedding.float().cpu().numpy())
        return unit_vectors(np.concatenate(found))
