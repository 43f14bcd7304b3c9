"""The model that a service answers with: a predictor, its plan and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.bundle.read import bundle_folder
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.serve.batch_plan import BatchPlan, measured_plan

LISTED_LABELS = 1000


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One model, as it was loaded; a reload makes another one.

    Attributes:
        name: of the run's or the bundle's folder, without its path.
        folder: the run or the bundle.
        device: that was asked for.
        predictor: answers.
        plan: how its engine is used best on this machine.
    """

    name: str
    folder: Path
    device: str
    predictor: Predictor
    plan: BatchPlan

    def to_json(self) -> dict[str, Any]:
        """What `/v1/models` says of it."""
        info, engine = self.predictor.info, self.predictor.engine
        return {
            "name": self.name,
            "hash": info.weights_sha256,
            "engine": engine.name,
            "precision": engine.precision,
            "labels": list(info.labels[:LISTED_LABELS]),
            "num_labels": len(info.labels),
            "multilabel": info.multilabel,
            "by_text": info.text is not None,
            "explains": False,
            "parity": None,
        }


def load_served(folder: Path | str, *, device: str = "auto") -> ServedModel:
    """Load a bundle, check its golden outputs, and measure how it is used best.

    Raises:
        BundleError: It is incomplete or changed, or computes something else on this machine.
        ConfigError: No such device.
    """
    predictor = load(folder, device=device)
    plan = measured_plan(predictor.engine, predictor.preprocess.size_px)
    place = bundle_folder(folder).resolve()
    name = place.parent.name if place.name == "model" else place.name
    return ServedModel(name, Path(folder), device, predictor, plan)
