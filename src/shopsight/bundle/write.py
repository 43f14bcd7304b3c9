"""Write a bundle, whole or not at all."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from shopsight.bundle.fingerprint import tensors_sha256
from shopsight.bundle.format import (
    CARD_FILE,
    GOLDEN_FILE,
    INFO_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    Bundle,
    BundleInfo,
    Golden,
)
from shopsight.bundle.model_card import model_card
from shopsight.errors import BundleError
from shopsight.files import atomic_folder, sha256_file, write_json, write_text


def write_bundle(
    folder: Path | str,
    *,
    tensors: Mapping[str, np.ndarray],
    info: BundleInfo,
    golden: Golden,
    metrics: Mapping[str, Any],
) -> Bundle:
    """Write a bundle, replacing one that is there; a reader never sees half of it.

    Args:
        folder: The bundle's folder.
        tensors: Weights by name, see `shopsight.models.build.model_tensors`; fp32, fp16 or
            integers, stored as they are.
        info: Everything else; both hashes are filled in here.
        golden: Outputs of these weights for a few files.
        metrics: How good the model is; metrics.json, and a line of the model card.

    Returns:
        What `read_bundle` would read.

    Raises:
        BundleError: The golden outputs do not have the shapes that `info` says.
    """
    num_labels = len(info.labels)
    shapes = (golden.logits.shape[1:], golden.embeddings.shape[1:])
    if not golden.images or shapes != ((num_labels,), (info.embedding_dim,)):
        raise BundleError(
            f"golden outputs of shape {shapes} for {num_labels} labels and embeddings of "
            f"{info.embedding_dim} numbers",
            where=str(folder),
        )
    needed = sum(tensor.nbytes for tensor in tensors.values()) + sum(map(len, golden.images))
    with atomic_folder(folder, needed_bytes=needed) as temporary:
        weights = temporary / WEIGHTS_FILE
        safetensors.numpy.save_file(dict(tensors), weights, metadata={"format": "pt"})
        backbone = {
            name.removeprefix("backbone."): tensor
            for name, tensor in tensors.items()
            if name.startswith("backbone.")
        }
        info = info.model_copy(
            update={
                "weights_sha256": sha256_file(weights),
                "backbone_sha256": tensors_sha256(backbone),
            }
        )
        write_json(temporary / INFO_FILE, info.model_dump(mode="json"))
        # safetensors lets only the owner read; a bundle is as public as its other files.
        shutil.copymode(temporary / INFO_FILE, weights)
        (temporary / GOLDEN_FILE).write_bytes(_golden_bytes(golden))
        write_json(temporary / METRICS_FILE, dict(metrics))
        write_text(temporary / CARD_FILE, model_card(info, metrics))
    return Bundle(info, golden, dict(metrics), Path(folder))


def _golden_bytes(golden: Golden) -> bytes:
    arrays: dict[str, Any] = {
        f"image_{index:03d}": np.frombuffer(data, np.uint8)
        for index, data in enumerate(golden.images)
    }
    file = io.BytesIO()
    np.savez(file, logits=golden.logits, embeddings=golden.embeddings, **arrays)
    return file.getvalue()
