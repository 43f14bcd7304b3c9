"""What a run is fine-tuned on: how its images are drawn, which are searched after each epoch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Int64

from shopsight.config.loss_settings import PAIR_LOSSES
from shopsight.loading.cache import open_cache
from shopsight.loading.class_sampling import Sampler
from shopsight.loading.offline_augment import offline_samples
from shopsight.loading.pair_sampling import PairSampling
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.targets import first_labels
from shopsight.training.retrieval_score import RetrievalSet, check_retrieval
from shopsight.training.training_data import TrainingData
from shopsight.training.training_run import TrainingRun


def training_data(training: TrainingRun) -> TrainingData:
    """The images and targets of a fine-tuning, with how they are drawn.

    Raises:
        TrainingError: the best epoch is that of the best retrieval, which nothing can score.
    """
    data, train = training.recipe.data, training.catalog.rows_of("train")
    extra = offline_samples(
        train, kinds=data.offline_kinds, fraction=data.offline_fraction, seed=training.recipe.seed
    )
    return TrainingData(
        source=training.source,
        train_rows=train,
        val_rows=training.catalog.rows_of("val"),
        targets=training.targets,
        num_classes=training.num_classes,
        class_weights=training.class_weights,
        extra=extra if data.offline_kinds else None,
        fill=training.preprocess.pad_color,
        sampling=_sampler(training),
        retrieval=_searched_images(training),
    )


def _sampler(training: TrainingRun) -> Callable[[Int64[np.ndarray, "m"]], Sampler] | None:
    """How an epoch of fine-tuning draws images; None: each once."""
    settings = training.recipe.training
    if settings.sampling == "plain":
        return None
    if settings.sampling != "pxk":
        return training.sampling
    labels, groups = first_labels(training.targets), training.audited.families().of_image
    world = training.own.size
    return lambda rows: PairSampling(
        labels[rows],
        groups=groups[rows],
        per_class=settings.images_per_class,
        batch_size=training.recipe.images_of_batch(world) * world,
        lone_classes=settings.loss not in PAIR_LOSSES,
    )


def _searched_images(training: TrainingRun) -> RetrievalSet | None:
    """The images that ask for each other after each epoch; None where that is not scored."""
    settings = training.recipe.training
    if not settings.scores_retrieval and not training.recipe.data.val_classes:
        return None
    unseen = training.run.unseen_file.is_file()
    found = _unseen_classes(training) if unseen else _validation_images(training)
    if settings.checkpoint == "retrieval":
        check_retrieval(found.classes, found.copies, where=training.catalog.name)
    return found.cut(training.recipe.seed) if len(found.rows) else None


def _validation_images(training: TrainingRun) -> RetrievalSet:
    rows, copies = training.catalog.rows_of("val"), training.audited.duplicate_group
    labels = first_labels(training.targets)
    return RetrievalSet(training.source, rows, labels[rows], copies[rows])


def _unseen_classes(training: TrainingRun) -> RetrievalSet:
    """The images of the classes that were left out of the training, see `data.val_classes`."""
    audited = AuditedCatalog.read(training.run.unseen_file)
    catalog = audited.catalog
    source = open_cache(
        catalog,
        training.preprocess,
        settings=training.recipe.pixel_cache,
        sha256s=audited.sha256.to_list(),
    )
    labels = first_labels(catalog.targets(catalog.labels))
    return RetrievalSet(source, np.arange(len(audited)), labels, audited.duplicate_group)
