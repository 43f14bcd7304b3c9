"""The heads of attributes, fitted on the embeddings of the network as it was trained.

Attributes follow the backbone: the label decides how that is fine-tuned, and each attribute is a
logistic regression on the embeddings of the training images that have a value. An image without
one is not in the loss of that attribute, and is in the losses of all others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int64

from shopsight import progress
from shopsight.backbones.spec import Backbone
from shopsight.bundle.attribute_info import AttributeHead, AttributePart, AttributesInfo
from shopsight.inference.agreement import Readout
from shopsight.inference.features import BATCH_IMAGES, FeatureStore, compute_missing
from shopsight.inference.torch_engine import TorchEngine
from shopsight.metrics.families import Families
from shopsight.metrics.promised_precision import promise_precision
from shopsight.models.product_model import ProductModel
from shopsight.runs.run_folder import Clock
from shopsight.text import counted, percent_text
from shopsight.training.attribute_plan import AttributePlan, plan_attributes
from shopsight.training.calibrate import Calibration, calibrate
from shopsight.training.probe import Probe, fit_probe, sample_rows
from shopsight.training.run_features import feature_store
from shopsight.training.training_run import TrainingRun


def fit_attributes(
    training: TrainingRun,
    model: ProductModel,
    backbone: Backbone,
    engine: TorchEngine,
    *,
    shared: bool,
) -> AttributePart | None:
    """A head for each attribute, with its temperature and thresholds; None without attributes.

    Args:
        training: the run.
        model: its network, as it was trained.
        backbone: what that is built of.
        engine: what will predict.
        shared: whether other runs have a use for these embeddings.
    """
    names = training.recipe.attributes.columns
    plans = plan_attributes(training.audited, () if names == "auto" else names)
    if not plans:
        return None
    clock, catalog = Clock(), training.catalog
    train, val = catalog.rows_of("train"), catalog.rows_of("val")
    rows = np.unique(np.concatenate([plan.rows(part) for plan in plans for part in (train, val)]))
    store = feature_store(training, model, backbone, rows, engine=engine.name, shared=shared)
    compute_missing(engine, training.source, rows, store=store)
    heads, tensors = list[AttributeHead](), dict[str, np.ndarray]()
    for number, plan in enumerate(plans):
        head, probe = _fit(training, plan, store, plan.rows(train), plan.rows(val))
        heads.append(head)
        tensors[f"{number}.weight"] = probe.weight.numpy().astype(np.float32)
        tensors[f"{number}.bias"] = probe.bias.numpy().astype(np.float32)
    training.run.add_seconds("attributes", clock)
    return AttributePart(AttributesInfo(heads=tuple(heads)), tensors)


def _fit(
    training: TrainingRun,
    plan: AttributePlan,
    store: FeatureStore,
    train: Int64[np.ndarray, "m"],
    val: Int64[np.ndarray, "k"],
) -> tuple[AttributeHead, Probe]:
    """One head: on the rows that have a value, calibrated on those of validation."""
    chosen = sample_rows(train, seed=training.recipe.seed)
    targets = plan.as_catalog(training.catalog, chosen).targets(plan.values)
    measured = plan.as_catalog(training.catalog, val)
    probe = fit_probe(
        store.blobs(chosen),
        targets,
        store.blobs(val),
        measured.targets(plan.values),
        num_classes=len(plan.values),
        settings=training.recipe.probe,
        device=training.device,
    )
    audited = training.audited.take(val)
    families = audited.families()
    calibration = calibrate(
        _logits(store, val, probe),
        measured,
        plan.values,
        families=families,
        copies=audited.duplicate_group,
    )
    head = AttributeHead(
        name=plan.name,
        values=plan.values,
        several=plan.several,
        temperature=calibration.temperature,
        doubt=calibration.doubt,
        thresholds=calibration.thresholds,
        labels=plan.labels,
        by_product=calibration.by_product,
        num_train=len(train),
        num_val=len(val),
    )
    precision = training.recipe.attributes.precision
    if precision and not plan.several:
        logits = list(_logits(store, val, probe))
        targets = measured.targets(plan.values)
        assert isinstance(targets, np.ndarray)
        head = _promising(head, logits, targets, families, precision)
    _say(head, probe, calibration)
    return head, probe


def _logits(
    store: FeatureStore, rows: Int64[np.ndarray, "m"], probe: Probe
) -> Iterator[Float32[np.ndarray, "b _"]]:
    weight, bias = probe.weight.numpy(), probe.bias.numpy()
    features = store.blobs(rows)
    for first in range(0, len(rows), BATCH_IMAGES):
        some = features.take(np.arange(first, min(first + BATCH_IMAGES, len(rows))))
        yield (some @ weight.T + bias).astype(np.float32)


def _promising(
    head: AttributeHead,
    logits: list[Float32[np.ndarray, "b _"]],
    targets: Int64[np.ndarray, "k"],
    families: Families,
    precision: float,
) -> AttributeHead:
    """The head with the confidence from which its values are right as often as is wanted."""
    readout = Readout(head.temperature, head.doubt)
    if not logits:
        progress.notify(f"attribute {head.name}: gives no value: nothing to measure its precision")
        return head.model_copy(update={"least_confidence": None})
    probabilities = readout.probabilities(np.concatenate(logits))
    best = probabilities.argmax(1)
    found = promise_precision(probabilities.max(1), best == targets, families, precision=precision)
    if not found.is_kept:
        needed = "" if found.num_needed is None else f"; about {found.num_needed:,} labels would do"
        progress.notify(
            f"attribute {head.name}: gives no value: {counted(found.num_labeled, 'label')} of "
            f"validation do not promise {percent_text(precision)}{needed}"
        )
        return head.model_copy(update={"least_confidence": None})
    return head.model_copy(update={"least_confidence": found.threshold})


def _say(head: AttributeHead, probe: Probe, calibration: Calibration) -> None:
    scored = "no validation image has a value"
    if head.num_val:
        scored = f"val accuracy {percent_text(probe.val_accuracy)}"
    progress.notify(
        f"attribute {head.name}: {scored}, {counted(head.num_train, 'training image')}, "
        f"temperature {calibration.temperature:.2f}"
    )
