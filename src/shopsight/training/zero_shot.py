"""Zero-shot as a training: the classes of a catalog by a text encoder, without a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32

from shopsight.backbones.spec import Backbone
from shopsight.errors import ConfigError
from shopsight.inference.text_encoder import TextEncoder
from shopsight.inference.zero_shot import encoded_classes
from shopsight.words.class_lists import PROMPTS, classes_of_labels


def named_classes(
    backbone: Backbone, labels: Sequence[str], *, prompts: Sequence[str], device: torch.device
) -> tuple[Float32[np.ndarray, "c d"], float]:
    """Directions of labels among a backbone's images.

    Args:
        backbone: with its text encoder, see `check_has_text`.
        labels: of the catalog.
        prompts: sentences with `{}`; none takes those for products.
        device: where the text encoder computes.

    Returns:
        A unit vector for each label, and what makes cosines logits.
    """
    assert backbone.text is not None
    encoder = TextEncoder(backbone.text, device, embedding_dim=backbone.embedding_dim)
    directions = encoded_classes(
        encoder.embed, classes_of_labels(labels), prompts=prompts or PROMPTS
    )
    return directions, encoder.logit_scale


def check_has_text(backbone: Backbone) -> None:
    """Refuse a backbone without a text encoder.

    Raises:
        ConfigError: it has none, or its weights are not the published ones.
    """
    if backbone.text is None:
        raise ConfigError(
            f"{backbone.name} has no text encoder, which training.mode = 'zero-shot' needs",
            where="model.backbone",
            fix="--backbone open_clip:ViT-B-16/openai   (or another one with published weights)\n"
            "shopsight zero-shot MODEL DATA   (finds classes without a text encoder too)",
        )
