"""The bundle of an average: calibrated, with golden outputs, and saying what it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shopsight.bundle.format import BundleInfo, library_versions
from shopsight.bundle.write import write_bundle
from shopsight.inference.predictor import Predictor
from shopsight.models.build import model_tensors
from shopsight.models.product_model import ProductModel
from shopsight.soups.candidates import VAL, Candidates
from shopsight.training.calibrate import calibrate


def write_average(
    out: Path, candidates: Candidates, model: ProductModel, *, title: str, about: dict[str, Any]
) -> BundleInfo:
    """Calibrate on the validation images, and write the bundle.

    Args:
        out: the bundle's folder.
        candidates: have the images.
        model: the averaged network.
        title: what it is, beside the recipe's title.
        about: ingredients and scores, for metrics.json.
    """
    golden = candidates.golden(model)
    predictor = Predictor(candidates.engine(model, golden), candidates.info)
    val = candidates.audited.take(candidates.rows(VAL))
    info = candidates.info
    calibration = calibrate(
        candidates.val_logits(predictor),
        val.catalog,
        info.labels,
        families=val.families(),
        copies=val.duplicate_group,
    )
    fields = info.model_dump(exclude={"created", "weights_sha256", "backbone_sha256"})
    # A text encoder, or another space, goes with the weights that it was trained with.
    described = BundleInfo.model_validate(
        fields
        | {
            "recipe": f"{title}: {info.recipe}" if info.recipe else title,
            "temperature": calibration.temperature,
            "doubt": calibration.doubt,
            "thresholds": calibration.thresholds,
            "by_product": calibration.by_product,
            "versions": library_versions(),
            "text": None,
            "embeds_into": (),
        }
    )
    metrics = {**calibration.metrics, "soup": about}
    bundle = write_bundle(
        out, tensors=model_tensors(model), info=described, golden=golden, metrics=metrics
    )
    return bundle.info
