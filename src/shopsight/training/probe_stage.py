"""The first stage of a run: a classifier on the features of the backbone as it is."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64

from shopsight import progress
from shopsight.inference.features import compute_missing
from shopsight.inference.pick_precision import fastest_embedding
from shopsight.inference.torch_engine import TorchEngine
from shopsight.runs.history import PROBE, EpochRow, write_history
from shopsight.runs.run_folder import Clock
from shopsight.training.adapt_outlook import adapt_outlook, outlook_line
from shopsight.training.finish import golden_outputs
from shopsight.training.first_classifier import write_classifier
from shopsight.training.probe import Probe, fit_probe, loss_and_accuracy, sample_rows
from shopsight.training.run_features import feature_store
from shopsight.training.standard_rows import Features
from shopsight.training.time_budget import RESERVE
from shopsight.training.trackers import log_once
from shopsight.training.training_run import TrainingRun
from shopsight.training.zero_shot import named_classes

SPARES_OUTLOOK_BELOW_S = 120.0
"""Of a time limit."""


def probe_stage(training: TrainingRun) -> bool:
    """Fit the probe, if the recipe has one, or name the classes.

    Returns:
        Whether fine-tuning is still to be done.
    """
    start = training.recipe.training.mode
    if not training.run.reached("probed"):
        if start.startswith("probe"):
            _fit_probe(training)
        elif start.startswith("zero-shot"):
            _name_classes(training)
        training.run.update_state(stage="probed")
    finetunes = training.recipe.training.finetunes and not training.run.reached("finetuned")
    if finetunes and training.recipe.distill.teacher:
        # Alone, before others train: they find the outputs.
        training.teacher()
    return finetunes


def _fit_probe(training: TrainingRun) -> None:
    """The classifier is a logistic regression on the features."""
    clock = Clock()
    train = sample_rows(training.catalog.rows_of("train"), seed=training.recipe.seed)
    val = training.catalog.rows_of("val")
    model, backbone = training.build(tta_hflip=training.recipe.evaluation.tta_hflip)
    engine = TorchEngine(model, device=str(training.device), precision="32")
    if training.recipe.training.precision != "32":
        golden = golden_outputs(model, training.catalog)
        engine = fastest_embedding(engine, golden, model.preprocess)
    rows = np.concatenate([train, val])
    store = feature_store(training, model, backbone, rows, engine=engine.name)
    compute_missing(engine, training.source, rows, store=store)
    features = store.blobs(train)
    probe = fit_probe(
        features,
        training.targets[train],
        store.blobs(val),
        training.targets[val],
        settings=training.recipe.probe,
        weights=training.class_weights,
        row_weights=torch.from_numpy(training.sampling(train).expected).float(),
        num_classes=training.num_classes,
        device=training.device,
        seconds=_probe_seconds(training, clock),
    )
    _keep_probe(training, probe, features, train, clock)
    if training.recipe.probe.adapt and training.recipe.training.finetunes:
        _say_outlook(training, features, store.blobs(val), train)


def _say_outlook(
    training: TrainingRun, train: Features, val: Features, train_rows: Int64[np.ndarray, "m"]
) -> None:
    """Say what a layer on these features would bring to a search, where that is quick."""
    limit = training.recipe.training.time_limit_s
    if limit is not None and limit < SPARES_OUTLOOK_BELOW_S:
        return
    clock = Clock()
    change = adapt_outlook(
        training.audited,
        {"train": (train_rows, train), "val": (training.catalog.rows_of("val"), val)},
        seed=training.recipe.seed,
    )
    if change is not None:
        line = outlook_line(change, training.recipe.model.backbone)
        training.run.update_state(adapt={"line": line, **change.to_json()})
        progress.notify(line)
    training.run.add_seconds("adapt", clock)


def _probe_seconds(training: TrainingRun, clock: Clock) -> float | None:
    """What a time limit leaves for the probe; half of it where fine-tuning follows."""
    limit = training.recipe.training.time_limit_s
    if limit is None:
        return None
    left_s = limit - training.run.spent_s() - clock.elapsed()[0]
    share = 0.5 if training.recipe.training.finetunes else 1.0
    return max(0.0, share * (1.0 - RESERVE) * left_s)


def _keep_probe(
    training: TrainingRun,
    probe: Probe,
    features: Features,
    rows: Int64[np.ndarray, "m"],
    clock: Clock,
) -> None:
    write_classifier(training.run, probe.weight, probe.bias)
    loss, accuracy = loss_and_accuracy(features, training.targets[rows], probe.weight, probe.bias)
    row = EpochRow(
        stage=PROBE,
        epoch=0,
        size_px=training.preprocess.size_px,
        lr=0.0,
        train_loss=loss,
        train_accuracy=accuracy,
        val_loss=probe.val_loss,
        val_accuracy=probe.val_accuracy,
        seconds=round(clock.elapsed()[0], 2),
    )
    write_history(training.run.metrics_file, [row])
    if not training.recipe.training.finetunes:
        log_once(training.recipe, training.run, row)
    training.run.update_state(probe_penalty=probe.penalty)
    training.run.add_seconds("probe", clock)
    scored = f"val accuracy {probe.val_accuracy:.2%}, " if row.validated else ""
    progress.notify(f"probe: {scored}L2 penalty {probe.penalty:g}")


def _name_classes(training: TrainingRun) -> None:
    """Zero-shot: the classifier is what a text encoder makes of the labels."""
    clock = Clock()
    tower = training.build(with_text=True)[1].text
    assert tower is not None
    directions = named_classes(
        tower,
        training.catalog.labels,
        prompts=training.recipe.zero_shot.prompts,
        device=training.device,
    )
    scale = np.float32(tower.logit_scale)
    write_classifier(
        training.run, torch.from_numpy(scale * directions), torch.zeros(training.num_classes)
    )
    training.run.add_seconds("probe", clock)
    progress.notify(f"zero-shot: {training.num_classes:,} classes by {tower.name}'s text encoder")
