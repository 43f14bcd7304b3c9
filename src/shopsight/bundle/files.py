"""The files of a bundle, and where a bundle lies in its run."""

from __future__ import annotations

from pathlib import Path

INFO_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"
GOLDEN_FILE = "golden.npz"
METRICS_FILE = "metrics.json"
CARD_FILE = "README.md"


def bundle_folder(folder: Path | str) -> Path:
    """The bundle's folder, given it or its run's folder."""
    folder = Path(folder)
    within = folder / "model"
    return within if not (folder / INFO_FILE).exists() and within.is_dir() else folder
