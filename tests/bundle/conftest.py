"""A bundle written without a network: reading and writing one needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopsight.bundle.format import BundleInfo, Golden
from shopsight.bundle.write import write_bundle
from shopsight.preprocess import Preprocess


@pytest.fixture
def parts() -> dict[str, Any]:
    """Arguments of `write_bundle`, all but the folder."""
    rng = np.random.default_rng(0)
    return {
        "tensors": {
            "backbone.conv.weight": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
            "backbone.norm.num_batches_tracked": np.array(7),
            "head.classifier.weight": rng.normal(size=(3, 4)).astype(np.float16),
        },
        "info": BundleInfo(
            backbone="shopsight:fashion_cnn",
            weights="random",
            labels=("dress", "hat", "shoe"),
            preprocess=Preprocess(size_px=28),
            embedding_dim=4,
            temperature=1.5,
            recipe="Small",
            catalog="photos",
        ),
        "golden": Golden((b"one", b"two"), np.ones((2, 3), "f4"), np.ones((2, 4), "f4")),
        "metrics": {"val_accuracy": 0.75, "val_images": 8},
    }


@pytest.fixture
def folder(parts: dict[str, Any], tmp_path: Path) -> Path:
    """A bundle: the folder `model` in a run's folder."""
    return write_bundle(tmp_path / "run" / "model", **parts).folder
