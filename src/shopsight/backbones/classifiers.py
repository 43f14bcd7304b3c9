"""The classifiers that published weights come with: what an ImageNet network knows by name.

A backbone is used without its classifier. Its rows are kept apart here, for searches by words: a
row is the direction in which images of a named class lie (`shopsight.words.pairs`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32

from shopsight.backbones.efficientnet_lite import LITE, lite_file
from shopsight.io.weights import read_weights

NUM_IMAGENET = 1000


def published_classes(
    backbone: str,
) -> tuple[tuple[str, ...], Float32[np.ndarray, "c d"]] | None:
    """Names and classifier rows of the classes that a backbone was trained on.

    Args:
        backbone: its name with its library.

    Returns:
        Names, synonyms parted by commas, and a row each; None where the weights that are at hand
        have no classifier of ImageNet's classes.

    Raises:
        ExtraMissingError: the package with the weights is not installed.
    """
    library, _, name = backbone.partition(":")
    if library == "embedded" and name in LITE:
        return imagenet_names(), _rows(read_weights(lite_file(name))["_fc.weight"].numpy())
    if library == "timm":
        return _of_timm(name)
    return None


def imagenet_names() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, each with its synonyms parted by commas."""
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(NUM_IMAGENET))


def _of_timm(name: str) -> tuple[tuple[str, ...], Float32[np.ndarray, "c d"]] | None:
    import timm
    from torch import nn

    config = timm.get_pretrained_cfg(name)
    if config is None or config.num_classes != NUM_IMAGENET:
        return None
    # Already on this machine: the backbone of the same name was loaded before.
    network: Any = timm.create_model(name, pretrained=True)
    classifier = network.get_classifier()
    if not isinstance(classifier, nn.Linear):
        return None
    return imagenet_names(), _rows(classifier.weight.detach().numpy())


def _rows(weight: np.ndarray) -> Float32[np.ndarray, "c d"]:
    return np.ascontiguousarray(weight, np.float32)
