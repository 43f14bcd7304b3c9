"""The last stage of a run: its bundle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from shopsight.backbones.spec import Backbone
from shopsight.backbones.weights import load_state_dict_strict
from shopsight.bundle.format import Golden
from shopsight.config.loss_settings import PAIR_LOSSES
from shopsight.inference.agreement import Readout
from shopsight.inference.features import compute_missing, stored_outputs
from shopsight.inference.pick_precision import (
    FIRST_IMAGES,
    fast_precisions,
    fastest_faithful,
    logits_of,
)
from shopsight.inference.precision_images import choose_rows, write_precision_images
from shopsight.inference.torch_engine import TorchEngine
from shopsight.io.weights import read_weights
from shopsight.models.heads import CosineHead
from shopsight.models.product_model import ProductModel
from shopsight.models.two_towers import TwoTowers
from shopsight.runs.run_folder import Clock
from shopsight.targets import first_labels
from shopsight.training.attribute_stage import fit_attributes
from shopsight.training.calibrate import calibrate
from shopsight.training.contrastive import as_classifier, set_classes
from shopsight.training.embeds_into import recall_at_teacher
from shopsight.training.finetune import selected_checkpoint
from shopsight.training.finish import build_bundle, golden_outputs
from shopsight.training.first_classifier import take_classifier
from shopsight.training.pairs import set_directions, summed_directions
from shopsight.training.run_features import feature_store
from shopsight.training.training_run import TrainingRun


def bundle_stage(training: TrainingRun) -> None:
    """Write the bundle of what was trained, with its temperature and thresholds."""
    clock, recipe, labels = Clock(), training.recipe, training.catalog.labels
    finetuned = training.run.reached("finetuned")
    model, backbone = _trained_network(training, finetuned=finetuned)
    golden = golden_outputs(model, training.catalog)
    # The probe's backbone is everyone's; a fine-tuned one is useful to this run alone.
    engine = _prediction_engine(training, model, golden)
    logits = _val_logits(training, model, backbone, engine, shared=not finetuned)
    val = training.audited.take(training.catalog.rows_of("val"))
    calibration = calibrate(
        logits, val.catalog, labels, families=val.families(), copies=val.duplicate_group
    )
    attributes = fit_attributes(training, model, backbone, engine, shared=not finetuned)
    build_bundle(
        training.run,
        model.to("cpu"),
        backbone=backbone,
        recipe=recipe,
        catalog=training.catalog,
        golden=golden,
        calibration=calibration,
        attributes=attributes,
        embeds_into=recall_at_teacher(
            model, backbone.name, recipe, training.audited, device=str(training.device)
        ),
    )
    training.run.update_state(stage="bundled", temperature=calibration.temperature_json())
    training.run.add_seconds("bundle", clock)


def _trained_network(training: TrainingRun, *, finetuned: bool) -> tuple[ProductModel, Backbone]:
    """The network as it was trained: by steps of its own, or as the probe left it."""
    recipe = training.recipe
    # Texts lie among the images of the weights that they were trained with.
    frozen = not finetuned or recipe.training.mode == "frozen"
    model, backbone = training.build(
        tta_hflip=recipe.evaluation.tta_hflip,
        with_text=frozen and recipe.model.keep_text,
    )
    if finetuned:
        file = selected_checkpoint(training.run, recipe)
        load_state_dict_strict(model, read_weights(file, unwrap=False), where=str(file))
        if recipe.training.loss in PAIR_LOSSES:
            _set_class_means(training, model, backbone)
    else:
        take_classifier(training.run, model)
    if not isinstance(model, TwoTowers):
        return model, backbone
    assert backbone.text is not None
    set_classes(model, backbone.text, training.catalog.labels, recipe.zero_shot.prompts)
    return as_classifier(model, backbone)


def _set_class_means(training: TrainingRun, model: ProductModel, backbone: Backbone) -> None:
    """Give the head the mean directions of the classes' training images."""
    assert isinstance(model.head, CosineHead)
    rows = training.catalog.rows_of("train")
    engine = TorchEngine(model, device=str(training.device), precision="32")
    store = feature_store(training, model, backbone, rows, engine=engine.name, shared=False)
    compute_missing(engine, training.source, rows, store=store)
    # The engine moved the network to its device.
    model.to("cpu")
    labels = first_labels(training.targets)[rows]
    set_directions(model.head, summed_directions(store.blobs(rows), labels, model.head))


def _val_logits(
    training: TrainingRun,
    model: ProductModel,
    backbone: Backbone,
    engine: TorchEngine,
    *,
    shared: bool,
) -> Iterator[Float32[np.ndarray, "b classes"]]:
    """Logits of the validation images, in batches, as `shopsight.load` will compute them."""
    rows = training.catalog.rows_of("val")
    store = feature_store(training, model, backbone, rows, engine=engine.name, shared=shared)
    outputs = stored_outputs(engine, training.source, rows, store=store)
    return (logits for _, logits in outputs)


def _prediction_engine(training: TrainingRun, model: ProductModel, golden: Golden) -> TorchEngine:
    """The engine that `shopsight.load` chooses: what is fitted is what will be predicted.

    Its device too: that of the training may be another, by `hardware.accelerator`.
    """
    exact = TorchEngine(model, precision="32")
    rows = choose_rows(training.catalog.rows_of("val"), seed=training.recipe.seed)
    images_file, readout = None, Readout(multilabel=training.catalog.multilabel)
    if len(rows):
        images_file = training.run.precision_images_file
        images = write_precision_images(images_file, training.source, rows)
        if fast_precisions(exact.device):
            # Answers are compared at about the temperature at which they will be given.
            first = training.catalog.take(rows[:FIRST_IMAGES])
            logits = logits_of(exact, images[:FIRST_IMAGES])
            readout = calibrate([logits], first, training.catalog.labels).readout(training.catalog)
    return fastest_faithful(exact, golden, model.preprocess, readout, images_file=images_file)
