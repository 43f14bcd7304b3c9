"""What the wizard needs to know: models on this disk, and what a table of predictions says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from shopsight.bundle.read import bundle_folder, read_info
from shopsight.errors import BundleError
from shopsight.runs import discover
from shopsight.runs.run_folder import RunFolder
from shopsight.spreadsheets import unguarded

# A run or a bundle lies at most this deep below the folder where the search starts.
SEARCH_DEPTH = 4
# The least sure images below this probability are shown.
SHOWN_IMAGES, SURE = 5, 0.995


@dataclass(frozen=True)
class PredictionSummary:
    """What a table of predictions says.

    Attributes:
        counts: images by predicted label, most frequent first.
        least_sure: (image, label, probability) of a few images below `sure`, least sure first.
        sure: the probability from which an image is not listed.
    """

    counts: dict[str, int]
    least_sure: tuple[tuple[str, str, float], ...]
    sure: float = SURE


def models_below(folder: Path) -> list[Path]:
    """Runs and bundles below `folder`, latest first, relative to it.

    Those that this version cannot read are skipped.
    """
    found = discover.find_models(folder, depth=SEARCH_DEPTH)
    return [model for model in found if _is_readable(folder / model)]


def _is_readable(model: Path) -> bool:
    try:
        read_info(bundle_folder(model))
    except BundleError:
        return False
    return True


def is_model(folder: str | Path) -> bool:
    """Whether a folder is a run with a bundle, or a bundle."""
    return discover.is_model(folder)


def model_labels(model: str | Path) -> list[str]:
    """The labels that a run or a bundle knows."""
    return list(read_info(bundle_folder(model)).labels)


def learned_from(model: str | Path, images: str | Path) -> bool:
    """Whether the run's own images lie in this folder; a bundle does not know."""
    run = RunFolder(Path(model))
    if not run.exists():
        return False
    folders = {Path(ref).parent for ref in run.catalog().refs()}
    return any(folder.resolve().is_relative_to(Path(images).resolve()) for folder in folders)


def summarize_predictions(file: str | Path) -> PredictionSummary:
    """Count the labels of a .csv that `predict` wrote, and find what the model is least sure of."""
    table = unguarded(pl.read_csv(file, schema_overrides={"label": pl.String}, glob=False))
    table = table.drop_nulls("label")
    doubtful = table.filter(pl.col("probability") < SURE).sort("probability").head(SHOWN_IMAGES)
    rows = doubtful.select("image", "label", "probability").rows()
    return PredictionSummary(dict(Counter(table["label"].to_list()).most_common()), tuple(rows))
