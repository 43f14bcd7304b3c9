"""The images that `calibrate` fits scores on, chooses a threshold on, and measures it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from shopsight.audit.file_info import inspect_all
from shopsight.catalog.catalog import Catalog
from shopsight.config.model_settings import ProbeSettings
from shopsight.config.training_settings import TrainingSettings
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError, ConfigError
from shopsight.evaluation.train_overlap import seen_in_training
from shopsight.inference.predictor import Predictor
from shopsight.metrics.families import Families
from shopsight.runs.run_folder import RunFolder
from shopsight.targets import stratified_sample
from shopsight.text import command_line, counted, listed
from shopsight.training.fold_heads import HeadFit
from shopsight.training.run_network import RunNetwork
from shopsight.training.unknown_scores import EmbeddedImages


@dataclass(frozen=True, eq=False)
class ThreeParts:
    """Images that scores are fitted on, that choose, and that measure.

    Attributes:
        train: those that the network learned from; may be empty.
        val: those that choose.
        test: those that measure; may be empty.
        families: of `val` and of `test`.
        how: how heads are fitted.
        is_optimistic: the backbone was trained on the classes.
    """

    train: EmbeddedImages
    val: EmbeddedImages
    test: EmbeddedImages
    families: tuple[Families, Families]
    how: HeadFit
    is_optimistic: bool


def images_of_run(network: RunNetwork, *, most_train: int | None = None) -> ThreeParts:
    """The images of a run; embeddings that training has not kept are computed.

    Args:
        network: of a finished run.
        most_train: images of the training part, at the most: of a fine-tuned network none are kept.

    Raises:
        ConfigError: there is no validation part.
    """
    run, catalog = network.run, network.audited.catalog
    if not catalog.has("split") or not len(catalog.rows_of("val")):
        raise ConfigError(
            "has no validation part to choose a threshold on",
            where=str(run.path),
            fix=command_line(["shopsight", "calibrate", run.path, "DATA"])
            + "   (labeled images that it did not learn from)",
        )
    labels = network.predictor.labels
    rows = [catalog.rows_of(part) for part in ("train", "val", "test")]
    targets = catalog.targets(labels)
    assert isinstance(targets, np.ndarray)  # Several labels were refused.
    if most_train is not None:
        rows[0] = rows[0][stratified_sample(targets[rows[0]], most_train)]
    train, val, test = (EmbeddedImages(*network.outputs(one), targets[one]) for one in rows)
    families = network.audited.families()
    return ThreeParts(
        train,
        val,
        test,
        (families.take(rows[1]), families.take(rows[2])),
        HeadFit.of(run, labels),
        run.recipe().training.finetunes,
    )


def images_of_data(predictor: Predictor, catalog: Catalog, own: RunFolder | None) -> ThreeParts:
    """Labeled images in three parts: scores are fitted on one, as nobody knows the training's."""
    if "label" not in catalog.table.columns:
        raise CatalogError(
            "the images have no labels",
            where=catalog.name,
            fix="--label COLUMN of a table, or one folder for each class",
        )
    given = catalog.table["label"]
    rows = np.flatnonzero(given.is_in(list(predictor.labels)).fill_null(False).to_numpy())
    if not len(rows):
        raise CatalogError(
            "none of its labels is one of the model's",
            where=catalog.name,
            details=[f"the model knows: {listed(predictor.labels)}"],
            fix="name labeled images of its classes",
        )
    catalog = catalog.take(rows)
    targets = catalog.targets(predictor.labels)
    assert isinstance(targets, np.ndarray)
    images = _embedded(predictor, catalog, targets)
    families = Families.alone(len(rows))
    if catalog.has("group"):
        families = Families.by(catalog.table["group"].fill_null("").to_numpy())
    part = _thirds(families)
    third = [np.flatnonzero(part == number) for number in range(3)]
    one, two, three = (images.take(some) for some in third)
    return ThreeParts(
        one,
        two,
        three,
        (families.take(third[1]), families.take(third[2])),
        HeadFit(predictor.labels, ProbeSettings(penalties=(0.01,)), TrainingSettings()),
        own is None or own.recipe().training.finetunes,
    )


def _thirds(families: Families) -> Int64[np.ndarray, "n"]:
    """A part for each image; families stay together, the largest are dealt first."""
    order = np.argsort(-families.sizes, kind="stable")
    part, filled = np.zeros(len(families), np.int64), np.zeros(3, np.int64)
    for family in order.tolist():
        part[family] = int(filled.argmin())
        filled[part[family]] += families.sizes[family]
    found: Int64[np.ndarray, "n"] = part[families.of_image]
    return found


def _embedded(
    predictor: Predictor, catalog: Catalog, targets: Int64[np.ndarray, "n"]
) -> EmbeddedImages:
    """What the model says of these images; each must be readable."""
    pieces = [outputs for _, outputs in predictor.image_batches(catalog, on_error="raise")]
    embeddings = np.concatenate([one for one, _ in pieces])
    logits = np.concatenate([one for _, one in pieces])
    return EmbeddedImages(embeddings, logits, targets)


def images_of_others(
    predictor: Predictor,
    negatives: str | Path | Catalog,
    run: RunFolder | None,
) -> EmbeddedImages:
    """Images of others; those of the run are refused.

    Raises:
        ConfigError: some are images of the run.
    """
    catalog = open_catalog(negatives)
    if run is not None:
        seen = seen_in_training(inspect_all(catalog.refs(), access=catalog.access), run).either
        if seen.any():
            names = [catalog.table["image"][row] for row in np.flatnonzero(seen).tolist()]
            raise ConfigError(
                f"{len(names):,} of {counted(len(catalog), 'image')} are known products: the model "
                "was trained on them, or on copies of them",
                where="--negatives",
                details=names,
                fix="name images of what the model is not to answer",
            )
    return _embedded(predictor, catalog, np.full(len(catalog), -1))
