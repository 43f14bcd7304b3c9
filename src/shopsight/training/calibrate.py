"""Temperature, thresholds and score of the validation images, whose logits are not kept.

A hundred thousand validation images of 10,000 classes have 4 GB of logits. They pass by in
batches: right answers are counted, the thresholds of several labels are searched for (see
`shopsight.metrics.thresholds`), and the logits of a sample are kept for the temperature, which is
one number and known to a few percent from some thousand images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.sparse import csr_array

from shopsight.bundle.product_calibration import ProductCalibration
from shopsight.catalog.catalog import Catalog
from shopsight.inference.agreement import Readout
from shopsight.metrics.families import Families
from shopsight.metrics.temperature import Temperature, doubt_after, fit_temperature
from shopsight.metrics.thresholds import ThresholdSearch
from shopsight.targets import SparseRows, Targets, count_classes, first_labels, stratified_sample
from shopsight.training.calibrate_products import ProductLogits

MOST_IMAGES = 10_000
"""Images that the temperature is fitted on, at most."""
MOST_LOGITS = 1 << 25
"""Their logits, at most: 134 MB."""


@dataclass(frozen=True)
class Calibration:
    """What is fitted on the validation images, or their absence.

    Attributes:
        fitted: the temperature, by which logits are divided before they become probabilities, and
            its error; None where there were no images.
        doubt: probability that all labels share, see `shopsight.metrics.temperature.doubt_after`.
        thresholds: with several labels per image, the probability from which each is assigned.
        by_product: how several photos of one product are read; None where there are no such
            products.
        metrics: of the validation images.
    """

    fitted: Temperature | None = None
    doubt: float = 0.0
    thresholds: dict[str, float] = field(default_factory=dict)
    by_product: ProductCalibration | None = None
    metrics: dict[str, float | int] = field(default_factory=dict)

    @property
    def temperature(self) -> float:
        """Its value; 1 where there were no images."""
        return self.fitted.value if self.fitted else 1.0

    def temperature_json(self) -> dict[str, float | int] | None:
        """The temperature, its 95 % interval and the families that it was fitted on."""
        return self.fitted.to_json() if self.fitted else None

    def readout(self, catalog: Catalog) -> Readout:
        """How the logits of a network of this catalog's labels are read."""
        return Readout.of(
            catalog.labels,
            temperature=self.temperature,
            doubt=self.doubt,
            multilabel=catalog.multilabel,
            thresholds=self.thresholds,
        )


def calibrate(
    logits: Iterable[Float32[np.ndarray, "_ c"]],
    images: Catalog,
    labels: Sequence[str],
    *,
    families: Families | None = None,
    copies: Int64[np.ndarray, "n"] | None = None,
) -> Calibration:
    """Fit temperature and thresholds on the validation images.

    Where they show products of several photos, also the temperature of those.

    Args:
        logits: of these images, in their order and in batches, as prediction computes them.
        images: validation images; there may be none.
        labels: the classes, in the order of the logits.
        families: of these images, for the error of the temperature; None: each is one of its own.
        copies: equal for copies of one image; None: none is one.
    """
    if not len(images):
        return Calibration()
    targets, families = images.targets(labels), families or Families.alone(len(images))
    if isinstance(targets, SparseRows):
        return _several_labels(logits, targets, labels, families)
    sample = calibration_sample(targets, num_classes=len(labels))
    products = ProductLogits.of(images, targets, copies, num_classes=len(labels))
    kept, right, done = [], 0, 0
    for batch in logits:
        rows = slice(done, done + len(batch))
        right += int((batch.argmax(1) == targets[rows]).sum())
        kept.append(batch[sample[rows]])
        if products is not None:
            products.add(np.arange(done, done + len(batch)), batch)
        done += len(batch)
    assert done == len(targets), "each image once"
    fitted = fit_temperature(np.concatenate(kept), targets[sample], families.take(sample))
    by_product = None if products is None else products.calibration(fitted.value, families)
    return Calibration(
        fitted,
        doubt_after(len(targets)),
        by_product=by_product,
        metrics={"val_images": len(targets), "val_accuracy": right / len(targets)}
        | fitted.metrics(),
    )


def _several_labels(
    logits: Iterable[Float32[np.ndarray, "_ c"]],
    targets: csr_array,
    labels: Sequence[str],
    families: Families,
) -> Calibration:
    count = targets.shape[0]
    search = ThresholdSearch(count_classes(targets, num_classes=len(labels)), count)
    sample = calibration_sample(targets, num_classes=len(labels))
    kept, done = [], 0
    for batch in logits:
        rows = slice(done, done + len(batch))
        search.add(targets[rows], batch)
        kept.append(batch[sample[rows]])
        done += len(batch)
    assert done == count, "each image once"
    fitted = fit_temperature(np.concatenate(kept), targets[sample], families.take(sample))
    doubt = doubt_after(count)
    readout = Readout(fitted.value, doubt, multilabel=True)

    def probability(scores: Float32[np.ndarray, "k"]) -> Float64[np.ndarray, "k"]:
        probabilities: Float64[np.ndarray, "k"] = readout.probabilities(scores[None])[0]
        return probabilities

    thresholds = dict(zip(labels, search.best(probability).tolist(), strict=True))
    metrics: dict[str, float | int] = {"val_images": count} | fitted.metrics()
    return Calibration(fitted, doubt, thresholds, metrics=metrics)


def calibration_sample(targets: Targets, *, num_classes: int) -> Bool[np.ndarray, "n"]:
    """Which images the temperature is fitted on, see `stratified_sample`."""
    most = min(MOST_IMAGES, max(1, MOST_LOGITS // num_classes))
    return stratified_sample(first_labels(targets), most)
