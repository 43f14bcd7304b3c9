"""The images of a race: most of them train its contestants, the others judge these.

All are of the training part, so that neither validation nor test images decide anything. Pixels and
features lie in the caches of the run and are its own later.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Int64

from shopsight import progress
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.loading.cache import PixelSource, open_cache
from shopsight.loading.class_sampling import ClassSampling
from shopsight.loading.offline_augment import offline_samples
from shopsight.metrics.families import Families
from shopsight.preprocess import Preprocess
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.targets import Targets, count_classes, first_labels, stratified_sample
from shopsight.training.framing_features import FramingFeatures
from shopsight.training.losses import class_weights
from shopsight.training.probe import Probe, fit_probe
from shopsight.training.training_data import TrainingData

JUDGES_ONE_OF = 4
"""Families of a class of which one judges."""


class RaceSample:
    """A stratified sample of some rows, whose families are divided among training and judging.

    Args:
        audited: the images of the run.
        recipe: resolved.
        rows: those that may decide: of the training part.
        images: the most that the sample has.
        device: where features are computed.

    Attributes:
        train_rows: rows of the sample that train.
        judged_rows: rows of the sample that judge; none where no class has two families.
        judges: families of the judging images.
    """

    def __init__(
        self,
        audited: AuditedCatalog,
        recipe: Recipe,
        rows: Int64[np.ndarray, "n"],
        *,
        images: int,
        device: torch.device,
    ) -> None:
        labels = audited.catalog.labels
        every = audited.catalog.targets(labels)
        classes = first_labels(every)
        rows = rows[stratified_sample(classes[rows], images, seed=recipe.seed)]
        self.num_classes = len(labels)
        self.targets: Targets = every[rows]
        self._audited = audited.take(rows)
        self._recipe, self._device = recipe, device
        families = audited.families().take(rows)
        judging = judging_images(families, classes[rows], seed=recipe.seed)
        self.train_rows = np.flatnonzero(~judging)
        self.judged_rows = np.flatnonzero(judging)
        self.judges = families.take(self.judged_rows)
        counts = count_classes(self.targets[self.train_rows], num_classes=self.num_classes)
        # Not every class is in a small sample.
        self._weights = class_weights(
            recipe.training, [max(1, int(count)) for count in counts], labels
        )
        self._features = FramingFeatures(self._audited, recipe, str(device))
        self._sources: dict[Preprocess, PixelSource] = {}
        self._probes: dict[Preprocess, Probe] = {}

    @property
    def catalog(self) -> Catalog:
        """The images of the sample."""
        return self._audited.catalog

    @property
    def sha256s(self) -> list[str]:
        """Of their files."""
        shas: list[str] = self._audited.sha256.to_list()
        return shas

    def prepare(self, recipe: Recipe) -> None:
        """Decode the images as the recipe frames them, and fit the head that it begins with.

        Raises:
            ImageError: a file that cannot be decoded, or that changed since the audit.
        """
        preprocess = recipe.framed(Preprocess())
        if preprocess not in self._sources:
            self._sources[preprocess] = open_cache(
                self.catalog, preprocess, settings=recipe.pixel_cache, sha256s=self.sha256s
            )
        if recipe.training.mode.startswith("probe") and preprocess not in self._probes:
            self._features.compute([preprocess], self.train_rows, title="Features for the race")
            features = self._features.of(preprocess, self.train_rows)
            targets = self.targets[self.train_rows]
            with progress.use_listener(None):
                self._probes[preprocess] = fit_probe(
                    features,
                    targets,
                    features[:0],
                    targets[:0],
                    num_classes=self.num_classes,
                    settings=recipe.probe,
                    weights=self._weights,
                    device=self._device,
                )

    def data(self, recipe: Recipe) -> TrainingData:
        """What a contestant is trained on and judged by, which was prepared."""
        preprocess = recipe.framed(Preprocess())
        extra = offline_samples(
            self.train_rows,
            kinds=recipe.data.offline_kinds,
            fraction=recipe.data.offline_fraction,
            seed=recipe.seed,
        )
        plain = recipe.training.sampling in ("plain", "pxk")
        return TrainingData(
            source=self._sources[preprocess],
            train_rows=self.train_rows,
            val_rows=self.judged_rows,
            targets=self.targets,
            num_classes=self.num_classes,
            class_weights=self._weights,
            extra=extra if recipe.data.offline_kinds else None,
            fill=preprocess.pad_color,
            sampling=None if plain else partial(self._sampling, recipe),
        )

    def _sampling(self, recipe: Recipe, rows: Int64[np.ndarray, "m"]) -> ClassSampling:
        sampling = recipe.training.sampling
        assert sampling != "pxk"
        return ClassSampling(self.targets[rows], num_classes=self.num_classes, sampling=sampling)

    def probe(self, recipe: Recipe) -> Probe | None:
        """The head that a contestant begins with, which has seen no judging image; None: a new one.

        It was prepared.
        """
        return self._probes.get(recipe.framed(Preprocess()))


def judging_images(
    families: Families, classes: Int64[np.ndarray, "n"], *, seed: int
) -> Bool[np.ndarray, "n"]:
    """Of each class every `JUDGES_ONE_OF`-th family, at random, beginning with the second one.

    So the only family of a class trains.

    Args:
        families: which images vary together.
        classes: of the images; a family counts with that of its first image.
        seed: of the order.
    """
    first = np.unique(families.of_image, return_index=True)[1]
    order = np.random.default_rng(seed).permutation(families.count)
    order = order[np.argsort(classes[first[order]], kind="stable")]
    of_class = classes[first[order]]
    starts = np.searchsorted(of_class, of_class, side="left")
    judging = np.zeros(families.count, bool)
    judging[order] = (np.arange(families.count) - starts) % JUDGES_ONE_OF == 1
    return np.asarray(judging[families.of_image])
