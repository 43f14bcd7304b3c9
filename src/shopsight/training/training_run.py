"""A run that is being trained: its images, its targets, its network as training begins with it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from shopsight.backbones.spec import Backbone
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.loading.cache import PixelSource, open_cache
from shopsight.loading.class_sampling import ClassSampling
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.targets import Targets
from shopsight.training.finetune import training_device
from shopsight.training.losses import class_weights
from shopsight.training.rank_environment import WorkerRank
from shopsight.training.start_network import start_network
from shopsight.training.teacher import open_teacher
from shopsight.training.teacher_outputs import Teacher
from shopsight.training.usable_images import class_counts


class TrainingRun:
    """What the stages of one run have in common; each can be the first after an interruption.

    Args:
        run: a run folder that was prepared.
        recipe: its recipe, if it is known to be another than the folder's.
        own: which of several training processes this is; None: no other fine-tunes.
    """

    def __init__(
        self, run: RunFolder, *, recipe: Recipe | None = None, own: WorkerRank | None = None
    ) -> None:
        self.run = run
        self.recipe = recipe or run.recipe()
        self.own = own or WorkerRank()
        self.audited = audited = run.audited_catalog()
        self.catalog: Catalog = audited.catalog
        self.sha256s: list[str] = audited.sha256.to_list()
        self.preprocess: Preprocess = self.recipe.framed(Preprocess())
        self.device = training_device(self.recipe, self.own)
        self.num_classes = len(self.catalog.labels)
        self.targets: Targets = self.catalog.targets(self.catalog.labels)
        self.class_weights = class_weights(
            self.recipe.training, class_counts(self.catalog), self.catalog.labels
        )
        self.source = self._open_cache()

    def sampling(self, rows: Int64[np.ndarray, "m"]) -> ClassSampling:
        """How often an epoch draws the images of these rows of the catalog."""
        sampling = self.recipe.training.sampling
        return ClassSampling(
            self.targets[rows],
            num_classes=self.num_classes,
            sampling="balanced" if sampling == "pxk" else sampling,
        )

    def build(
        self, *, tta_hflip: bool = False, with_text: bool = False
    ) -> tuple[ProductModel, Backbone]:
        """The network at the start of training, the same each time it is called."""
        return start_network(
            self.recipe, num_classes=self.num_classes, tta_hflip=tta_hflip, with_text=with_text
        )

    def teacher(self) -> Teacher:
        """The recipe's teacher, with its outputs for all views of the training images."""
        clock = Clock()
        opened = open_teacher(self.recipe, self.catalog.labels)
        teacher = Teacher(
            opened,
            self.recipe,
            self.catalog,
            self.sha256s,
            device=self.device,
            root=self.run.path,
        )
        views = range(min(self.recipe.distill.views, self.recipe.training.epochs))
        teacher.prepare(self.catalog.rows_of("train"), views)
        if self.own.rank == 0:
            self.run.add_seconds("teacher", clock)
        return teacher

    def _open_cache(self) -> PixelSource:
        clock = Clock()
        source = open_cache(
            self.catalog,
            self.preprocess,
            settings=self.recipe.pixel_cache,
            sha256s=self.sha256s,
        )
        # Workers find it filled, and are given a recipe that says how.
        if self.own.size == 1:
            self.run.add_seconds("cache", clock)
            if self.recipe.pixel_cache.mode == "auto":
                # Resumed on a fuller disk, a run must not continue with other (lossy) pixels.
                self.recipe = self.recipe.replace(cache={"mode": source.mode})
                self.run.write_recipe(self.recipe)
        return source
