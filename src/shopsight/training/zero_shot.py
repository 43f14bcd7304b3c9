"""Zero-shot as a training: the classes of a catalog by a text encoder, without a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32

from shopsight.backbones.spec import Backbone
from shopsight.backbones.text_tower import TextTower
from shopsight.errors import ConfigError
from shopsight.inference.text_encoder import TextEncoder
from shopsight.inference.zero_shot import encoded_classes
from shopsight.words.class_lists import PROMPTS, classes_of_labels


def named_classes(
    tower: TextTower, labels: Sequence[str], *, prompts: Sequence[str], device: torch.device
) -> Float32[np.ndarray, "c d"]:
    """Directions of labels among the images of a text encoder's space.

    Args:
        tower: the text encoder.
        labels: of the catalog.
        prompts: sentences with `{}`; none takes those for products.
        device: where the text encoder computes.

    Returns:
        A unit vector for each label.
    """
    encoder = TextEncoder(tower, device)
    return encoded_classes(encoder.embed, classes_of_labels(labels), prompts=prompts or PROMPTS)


def check_has_text(backbone: Backbone, *, mode: str) -> None:
    """Refuse a backbone without a text encoder.

    Args:
        backbone: opened or not with its text encoder, if it has one.
        mode: of the training, which needs it.

    Raises:
        ConfigError: it has none, or its weights are not the published ones.
    """
    if not backbone.has_text:
        raise ConfigError(
            f"{backbone.name} has no text encoder, which training.mode = {mode!r} needs",
            where="model.backbone",
            fix="--backbone open_clip:ViT-B-16/openai   (or another one with published weights)\n"
            "shopsight zero-shot MODEL DATA   (finds classes without a text encoder too)",
        )
