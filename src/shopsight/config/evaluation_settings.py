"""The sections of how a model is scored: on a split, or on folds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from shopsight.config.section import Section

RESAMPLES = "bootstrap_resamples"
"""A setting that older recipes have; it decides nothing."""


class EvaluationSettings(Section):
    """How a model is scored.

    Attributes:
        tta_hflip: Average over the image and its mirror image (stored in the bundle: predict
            does too).
        top_k: The k of the top-k accuracy.
        calibration_bins: Bins of confidence in the calibration error.
    """

    tta_hflip: bool = False
    top_k: int = Field(default=5, ge=1, le=1_000_000)
    calibration_bins: int = Field(default=15, ge=2, le=10_000)

    @model_validator(mode="before")
    @classmethod
    def _without_resamples(cls, tree: object) -> object:
        """Runs of older versions store how many resamples their intervals come from."""
        if isinstance(tree, dict):
            return {name: value for name, value in tree.items() if name != RESAMPLES}
        return tree


class FoldSettings(Section):
    """K-fold training: K networks, each tested on the fold that it never saw.

    Attributes:
        count: Number of folds, from 2; 0 trains once, on the split.
        final: The bundle at the end: "ensemble" is the K networks averaged, "refit" one more
            network trained on all images: for as many epochs as the folds' kept weights took, and
            with their probe's penalty, the middle one of each.
    """

    count: int = Field(default=0, ge=0, le=50)
    final: Literal["ensemble", "refit"] = "refit"
