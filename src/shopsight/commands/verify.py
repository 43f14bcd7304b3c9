"""Verify: does a model still give its golden outputs and its score, in every engine there is?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shopsight.bundle.exports import Precision, read_exports
from shopsight.bundle.format import Bundle
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.used_boxes import with_used_boxes
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ShopsightError
from shopsight.extras import is_installed
from shopsight.inference.exported_engines import EngineName
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.runs.discover import run_of

_Rounding = Literal["32", "bf16", "16", "int8"]
_ENGINE_PRECISION: dict[Precision, _Rounding] = {
    "fp32": "32",
    "bf16": "bf16",
    "fp16": "16",
    "int8": "int8",
}
SAME_SCORE = 0.02
"""Of the reported accuracy on the same images: near ties may turn over in another precision."""


@dataclass(frozen=True)
class EngineCheck:
    """One engine.

    Attributes:
        engine: for example "openvino on cpu, bf16".
        ok: it gives the golden outputs and, where there are images, the score.
        line: for people.
        accuracy: of DATA; None without.
        num_images: that it was measured on.
    """

    engine: str
    ok: bool
    line: str
    accuracy: float | None = None
    num_images: int = 0

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return dict(vars(self))


def verify(
    model: str | Path, data: str | Path | None = None, *, read: ReadOptions | None = None
) -> list[EngineCheck]:
    """Run the golden files, and DATA, through every engine that is there.

    Args:
        model: a run or a bundle.
        data: labeled images, which each engine labels from the bytes of their files on; None: the
            test images of the run, whose score was reported.
        read: how `data` is read.

    Raises:
        BundleError: the bundle cannot be read.
        CatalogError: DATA has no labels, or cannot be read.
    """
    bundle = read_bundle(bundle_folder(model))
    catalog = _test_images(bundle) if data is None else _labeled(data, read)
    if catalog is not None:
        catalog = with_used_boxes(catalog, used=bundle.info.preprocess.boxes)
    found: list[EngineCheck] = []
    reported = None if catalog is None or data is not None else _reported(bundle)
    for engine, precision in _engines(bundle):
        try:
            predictor = load(bundle.folder, engine=engine, precision=precision, verify=False)
        except ShopsightError as error:
            name = f"{engine}, {precision}"
            found.append(EngineCheck(name, ok=False, line=f"{name}: {error}"))
            continue
        found.append(_checked(predictor, catalog, reported))
        reported = found[-1].accuracy if reported is None else reported
    return found


def _engines(bundle: Bundle) -> Iterator[tuple[EngineName, _Rounding]]:
    """Torch in fp32, and whatever the bundle was exported to and is installed."""
    if is_installed("torch"):
        yield "torch", "32"
    names: dict[str, EngineName] = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
    for artifact in read_exports(bundle.folder, bundle.info).artifacts:
        for proof in artifact.parity:
            name = names.get(proof.engine)
            if name is None or proof.precision not in _ENGINE_PRECISION:
                continue
            if is_installed(name):
                yield name, _ENGINE_PRECISION[proof.precision]
            else:
                notify(f"{name} is not installed, and not verified")


def _checked(predictor: Predictor, catalog: Catalog | None, reported: float | None) -> EngineCheck:
    golden = predictor.verify()
    name = predictor.engine.name
    if catalog is None:
        return EngineCheck(name, ok=golden.ok, line=golden.line())
    accuracy, count = _accuracy(predictor, catalog)
    expected = accuracy if reported is None else reported
    same = abs(accuracy - expected) <= SAME_SCORE
    line = f"{golden.line()}; accuracy {accuracy:.2%} on {count:,} images"
    if not same:
        line += f", where {expected:.2%} was reported"
    return EngineCheck(name, ok=golden.ok and same, line=line, accuracy=accuracy, num_images=count)


def _accuracy(predictor: Predictor, catalog: Catalog) -> tuple[float, int]:
    known = set(predictor.info.labels)
    predictions = predictor.predict(catalog, on_error="raise")
    right = [
        truth in prediction.predicted_labels
        for truth, prediction in zip(catalog.table["label"], predictions, strict=True)
        if truth in known
    ]
    if not right:
        raise CatalogError("none of its labels is known to the model", where=catalog.name)
    return float(np.mean(right)), len(right)


def _test_images(bundle: Bundle) -> Catalog | None:
    """Those of the bundle's run; None where it has none, or lies in no run."""
    run = run_of(bundle.folder)
    if run is None:
        return None
    catalog = run.audited_catalog().catalog
    if catalog.multilabel or "split" not in catalog.table.columns:
        return None
    rows = np.flatnonzero(catalog.table["split"].to_numpy() == "test")
    return catalog.take(rows) if len(rows) else None


def _reported(bundle: Bundle) -> float | None:
    """The accuracy of the test images that the run reported."""
    run = run_of(bundle.folder)
    if run is None or not is_installed("scipy") or not run.predictions_file("test").is_file():
        return None
    # What reads predictions computes intervals too.
    from shopsight.evaluation.predictions import Predictions

    correct = Predictions.read(run.predictions_file("test")).table["correct"]
    return float(correct.to_numpy().mean())


def _labeled(data: str | Path, read: ReadOptions | None) -> Catalog:
    catalog = open_catalog(data, read)
    if not catalog.has("label") or catalog.multilabel:
        raise CatalogError(
            "has no column of one label for each image, so that nothing can be scored",
            where=str(data),
            fix="leave out DATA: the golden outputs are verified without",
        )
    return catalog
