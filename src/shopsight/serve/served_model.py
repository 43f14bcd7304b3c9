"""The model that a service answers with: a predictor, its plan and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.bundle.exports import Parity, read_exports
from shopsight.bundle.format import BUNDLE_FOLDER
from shopsight.bundle.read import bundle_folder
from shopsight.inference.exported_engines import exported_precision
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.progress import notify
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
        parity: what the export proved of this engine; None of torch.
    """

    name: str
    folder: Path
    device: str
    predictor: Predictor
    plan: BatchPlan
    parity: Parity | None = None

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
            "explains": True,
            "parity": None if self.parity is None else self.parity.model_dump(mode="json"),
        }


def load_served(folder: Path | str, *, device: str = "auto") -> ServedModel:
    """Load a bundle, check its golden outputs, and measure how it is used best.

    Raises:
        BundleError: It is incomplete or changed, or computes something else on this machine.
        ConfigError: No such device.
    """
    predictor = load(folder, device=device)
    if predictor.preprocess.boxes:
        notify(
            "the model was trained on the parts of images in their boxes, and uploads have none: "
            "each is refused; shopsight predict reads boxes from a table"
        )
    plan = measured_plan(predictor.engine, predictor.preprocess.size_px)
    place = bundle_folder(folder).resolve()
    name = place.parent.name if place.name == BUNDLE_FOLDER else place.name
    return ServedModel(name, Path(folder), device, predictor, plan, _parity(place, predictor))


def _parity(place: Path, predictor: Predictor) -> Parity | None:
    name, precision = predictor.engine.name.partition(" ")[0], predictor.engine.precision
    wanted = exported_precision(name, precision)
    if name == "torch" or wanted is None:
        return None
    artifact = read_exports(place, predictor.info).find(wanted)
    return None if artifact is None else artifact.proof(name, wanted)
