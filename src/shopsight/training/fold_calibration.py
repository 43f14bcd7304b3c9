"""The calibration of K folds' final network, from what the folds answer on images new to them.

Each image is new to the network that was tested on it, and to those that had it for validation.

**An ensemble.** Each member k is tempered: its logits are divided by its own temperature. The mean
of calibrated probabilities is too unsure of itself: it is right more often than its members, and no
surer (Ranjan & Gneiting 2010). So the ensemble has a temperature below 1 of its own. No image is
new to all members, but some are to two of them, and the temperature T_m of m members together can
be had for m = 1 and 2. Let the logits of a member be s + e_k, with e_k what its own training
images made of it. The mean of m has the variance v(s) + v(e) / m, and what it says about the truth
is in s alone: regressed on the mean, the truth has the slope v(s) / (v(s) + v(e) / m), so that

    T_m = a (1 + r / m),    r = v(e) / v(s).

That is a straight line over 1 / m. Through m = 1 and 2 it reaches K members at

    T_K = T_1 + 2 (1 - 1 / K) (T_2 - T_1).

T_1 is fitted on all images and their networks, T_2 on all pairs of networks that an image is new
to; both with the prior of `shopsight.metrics.temperature`. On real photos that is within .02 of the
temperature that test images would choose, see docs/statistics.md.

**One network on all images** is a network like those of the folds: its temperature is that which
all of their answers have together.

Source: Ranjan & Gneiting 2010, "Combining probability forecasts"; Rahaman & Thiery 2021,
"Uncertainty quantification and deep ensembles".
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.special import logsumexp

from shopsight import progress
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.product_calibration import ProductCalibration
from shopsight.bundle.read import read_bundle, read_info
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.features import run_outputs
from shopsight.inference.golden import make_golden
from shopsight.inference.load import load
from shopsight.inference.pick_precision import fastest_faithful
from shopsight.inference.predictor import Predictor, readout_of
from shopsight.inference.torch_engine import TorchEngine, reference_engine
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.families import Families
from shopsight.metrics.temperature import (
    TEMPERATURE_SPAN,
    Temperature,
    doubt_after,
    fit_temperature,
)
from shopsight.models.product_model import ProductModel
from shopsight.runs.run_folder import RunFolder
from shopsight.targets import Targets
from shopsight.training.calibrate import Calibration, calibrate, calibration_sample

BATCH_IMAGES = 64


@dataclass(frozen=True, eq=False)
class FoldAnswers:
    """What the folds' networks answer on images that are new to them.

    Attributes:
        logits: of each fold, for n images; zeros where an image is not new to it.
        new: which images are new to each fold.
        targets: of the images.
        families: of the images.
    """

    logits: Float32[np.ndarray, "folds n c"]
    new: Bool[np.ndarray, "folds n"]
    targets: Targets
    families: Families

    def divided(self, temperatures: Sequence[float]) -> FoldAnswers:
        """The same of tempered networks."""
        by = np.asarray(temperatures, np.float32)[:, None, None]
        return FoldAnswers(self.logits / by, self.new, self.targets, self.families)

    def single(self) -> Temperature:
        """Of one network, by all of them."""
        return self._fit([(fold,) for fold in range(len(self.new))])

    def pair(self) -> Temperature:
        """Of two networks together, by all pairs that an image is new to."""
        return self._fit(list(combinations(range(len(self.new)), 2)))

    def _fit(self, together: Sequence[tuple[int, ...]]) -> Temperature:
        rows, logits = list[Int64[np.ndarray, "m"]](), list[Float64[np.ndarray, "m c"]]()
        multilabel = not isinstance(self.targets, np.ndarray)
        for folds in together:
            chosen = np.flatnonzero(self.new[list(folds)].all(axis=0))
            rows.append(chosen)
            logits.append(mean_logits(self.logits[list(folds)][:, chosen], multilabel=multilabel))
        every = np.concatenate(rows)
        if not len(every):
            return Temperature()
        found = np.concatenate(logits)
        return fit_temperature(found, self.targets[every], self.families.take(every))


def mean_logits(
    logits: Float32[np.ndarray, "m n c"], *, multilabel: bool
) -> Float64[np.ndarray, "n c"]:
    """What `shopsight.models.ensemble.EnsembleHead` makes of the logits of m members."""
    exact = logits.astype(np.float64)
    if multilabel:
        mean: Float64[np.ndarray, "n c"] = exact.mean(axis=0)
        return mean
    exact -= logsumexp(exact, axis=2, keepdims=True)
    log_mean: Float64[np.ndarray, "n c"] = logsumexp(exact, axis=0) - np.log(len(exact))
    return log_mean


def ensemble_temperature(tempered: FoldAnswers) -> Temperature:
    """The temperature of all networks together, see the top of the file.

    Its error takes those of T_1 and T_2 as independent. They are of the same images and rise and
    fall together, while the line takes one from the other: the error is not too small.

    Args:
        tempered: answers of networks that are tempered each.
    """
    count = len(tempered.new)
    one, two = tempered.single(), tempered.pair()
    weight = 2.0 * (1.0 - 1.0 / count)
    value = float(np.clip(one.value + weight * (two.value - one.value), *TEMPERATURE_SPAN))
    errors = ((1.0 - weight) * one.value * one.log_error, weight * two.value * two.log_error)
    return Temperature(value, float(np.hypot(*errors)) / value, two.families)


def fold_calibrations(
    folds: Sequence[RunFolder], *, precision: EnginePrecision
) -> list[Calibration]:
    """The calibration of each fold's network, fitted on images that it did not train on.

    Args:
        folds: the finished runs.
        precision: what the network that is made of them will predict in. A fold that was calibrated
            in another one is calibrated again.
    """
    return [_calibration_in(precision, fold) for fold in folds]


def shared_fields(found: Sequence[Calibration], *, temperature: float) -> dict[str, Any]:
    """Fields of `BundleInfo` beside the temperature.

    The medians of the thresholds, which are probabilities of calibrated networks, and the doubt of
    all validation images. Of products the ratio of their temperature to that of photos is a median
    too.

    Args:
        found: by fold.
        temperature: of the final network.
    """
    return {
        "by_product": _shared_by_product(found, temperature),
        "doubt": doubt_after(sum(int(one.metrics.get("val_images", 0)) for one in found)),
        "thresholds": {
            label: statistics.median(one.thresholds[label] for one in found)
            for label in found[0].thresholds
        },
    }


def _shared_by_product(
    found: Sequence[Calibration], temperature: float
) -> ProductCalibration | None:
    fitted = [(one.by_product, one.temperature) for one in found if one.by_product is not None]
    if not fitted:
        return None
    ratio = statistics.median(products.temperature / own for products, own in fitted)
    return ProductCalibration(
        temperature=ratio * temperature, products=sum(products.products for products, _ in fitted)
    )


def fold_answers(
    run: RunFolder, folds: Sequence[RunFolder], *, precision: EnginePrecision
) -> FoldAnswers:
    """Let each fold's network answer on images that are new to it.

    Args:
        run: the run of K folds.
        folds: its finished runs.
        precision: what they predict in.
    """
    audited = run.audited_catalog()
    labels = read_info(folds[0].model).labels
    targets = audited.catalog.targets(labels)
    # The logits of all folds, of which each has its part, are in memory at once.
    at_once = len(labels) * max(1, len(folds) // 2)
    sample = np.flatnonzero(calibration_sample(targets, num_classes=at_once))
    logits = np.zeros((len(folds), len(sample), len(labels)), np.float32)
    new = np.zeros((len(folds), len(sample)), bool)
    for number, fold in enumerate(folds):
        parts = fold.catalog().table["split"].to_numpy()[sample]
        new[number] = (parts == "val") | (parts == "test")
        rows = sample[new[number]]
        if len(rows):
            logits[number, new[number]] = np.concatenate(list(_logits(fold, rows, precision)))
    families = audited.take(sample).families()
    return FoldAnswers(logits, new, targets[sample], families)


def prediction_precision(
    model: ProductModel, golden_images: Sequence[bytes], run: RunFolder, info: BundleInfo
) -> EnginePrecision:
    """The precision that `shopsight.load` will choose for a K-fold run's network on this machine.

    Args:
        model: the network.
        golden_images: of its bundle.
        run: the run of K folds, whose images judge it.
        info: of the bundle of one of its members.
    """
    golden = make_golden(reference_engine(model), golden_images, model.preprocess)
    exact = TorchEngine(model, precision="32")
    return fastest_faithful(
        exact,
        golden,
        model.preprocess,
        readout_of(info),
        images_file=run.find_precision_images(),
    ).precision


def _calibration_in(precision: EnginePrecision, fold: RunFolder) -> Calibration:
    predictor = load(fold.path, verify=False, engine="torch")
    info = read_info(fold.model)
    if predictor.engine.precision == precision:
        metrics = read_bundle(fold.model).metrics
        fitted = Temperature(info.temperature) if metrics.get("val_images") else None
        return Calibration(
            fitted, info.doubt, dict(info.thresholds), info.by_product, metrics=metrics
        )
    progress.notify(f"{fold.path}: calibrated in {precision} too, as the final network predicts")
    audited = fold.audited_catalog()
    rows = audited.catalog.rows_of("val")
    val = audited.take(rows)
    return calibrate(
        _logits(fold, rows, precision),
        val.catalog,
        info.labels,
        families=val.families(),
        copies=val.duplicate_group,
    )


def _logits(
    fold: RunFolder, rows: Int64[np.ndarray, "m"], precision: EnginePrecision
) -> Iterator[Float32[np.ndarray, "b c"]]:
    """The answers of a fold's network, by the features that its training has kept, if any."""
    engine = load(fold.path, verify=False, engine="torch").engine
    assert isinstance(engine, TorchEngine)
    predictor = Predictor(engine.at(precision), read_info(fold.model))
    audited = fold.audited_catalog()
    catalog, sha256s = audited.catalog, audited.sha256.to_list()
    source = open_cache(
        catalog, predictor.preprocess, settings=fold.recipe().pixel_cache, sha256s=sha256s
    )
    keys = image_keys(sha256s, catalog.boxes())
    kept = run_outputs(fold, predictor, source, rows, keys=keys)
    if kept is None:
        return _computed(predictor, source, rows)
    return (logits for _, logits in kept)


def _computed(
    predictor: Predictor, source: PixelSource, rows: Int64[np.ndarray, "m"]
) -> Iterator[Float32[np.ndarray, "b c"]]:
    batches = OrderedBatches(source, rows, batch_size=BATCH_IMAGES)
    answers = predictor.predict_batches(batch.images.numpy() for batch in batches)
    return (logits for _, logits in answers)
