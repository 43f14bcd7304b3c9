"""Hashes that tell whether two models give the same outputs.

Two fingerprints, because much depends on the embedding alone: the feature cache and a search index
stay valid when a new head is trained on the same backbone.

    embedding fingerprint   backbone's name and tensors, members, preprocess, mirror averaging
    model fingerprint       all of that, the head, all weights, and the labels of the logits

Temperature and thresholds are in neither: they are applied to the logits. Dropout is in neither:
it is off outside training. The engine and its precision are in neither: whoever stores outputs of
one engine adds its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import numpy as np

from shopsight.bundle.embedding_space import embedding_hash
from shopsight.bundle.format import BundleInfo
from shopsight.files import sha256_json
from shopsight.preprocess import Preprocess


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """Hash names, types, shapes and values; the order of the names does not matter."""
    digest = sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def network_fingerprint(
    *,
    backbone: str,
    backbone_sha256: str,
    preprocess: Preprocess,
    members: int = 1,
    tta_hflip: bool = False,
) -> str:
    """Fingerprint of everything that changes an embedding.

    Args:
        backbone: Name of the architecture.
        backbone_sha256: `tensors_sha256` of the backbone's state dict.
        preprocess: How an image becomes the network's input.
        members: Networks whose embeddings are concatenated.
        tta_hflip: The embedding is the mean over the image and its mirror image.
    """
    return embedding_hash(
        {
            "backbone": backbone,
            "backbone_sha256": backbone_sha256,
            "preprocess": preprocess.model_dump(mode="json"),
            "members": members,
            "tta_hflip": tta_hflip,
        }
    )


def embedding_fingerprint(info: BundleInfo) -> str:
    """Fingerprint of everything that changes a bundle's embeddings."""
    return network_fingerprint(
        backbone=info.backbone,
        backbone_sha256=info.backbone_sha256,
        preprocess=info.preprocess,
        members=info.members,
        tta_hflip=info.tta_hflip,
    )


def model_fingerprint(info: BundleInfo) -> str:
    """Fingerprint of everything that changes a bundle's logits, or what they stand for."""
    return sha256_json(
        {
            "embedding": embedding_fingerprint(info),
            "weights_sha256": info.weights_sha256,
            "head": info.head.kind,
            "labels": info.labels,
            # An ensemble averages probabilities or logits, depending on it.
            "multilabel": info.multilabel,
        }
    )
