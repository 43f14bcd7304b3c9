"""A run that is being trained: its images, its targets, its network as training begins with it."""

from __future__ import annotations

from dataclasses import replace

import lightning
import numpy as np
from jaxtyping import Int64
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.backbones.new_text_tower import new_text_tower
from shopsight.backbones.spec import Backbone
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.loading.cache import PixelSource, open_cache
from shopsight.loading.class_sampling import ClassSampling
from shopsight.models.heads import DirectionHead, create_head
from shopsight.models.product_model import ProductModel
from shopsight.models.two_towers import TwoTowers
from shopsight.preprocess import Preprocess
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.targets import Targets
from shopsight.training.finetune import training_device
from shopsight.training.losses import class_weights
from shopsight.training.rank_environment import WorkerRank
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
        settings = self.recipe.model
        contrastive = self.recipe.training.mode == "contrastive"
        lightning.seed_everything(self.recipe.seed, verbose=False)
        backbone = create_backbone(
            settings.backbone,
            weights=settings.weights,
            drop_path=settings.drop_path,
            conv_dropout=settings.conv_dropout,
            size_px=self.preprocess.size_px,
            with_text=with_text or contrastive,
            neck=settings.neck,
        )
        if settings.new_text is not None:
            text = new_text_tower(
                settings.new_text, embedding_dim=backbone.embedding_dim, name="open_clip:new"
            )
            backbone = replace(backbone, text=text)
        head = create_head(
            settings.head,
            embedding_dim=backbone.embedding_dim,
            num_classes=self.num_classes,
        )
        if contrastive:
            return self._two_towers(backbone, head, tta_hflip=tta_hflip), backbone
        return ProductModel(backbone.module, head, self.preprocess, tta_hflip=tta_hflip), backbone

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

    def _two_towers(self, backbone: Backbone, head: nn.Module, *, tta_hflip: bool) -> TwoTowers:
        text = backbone.text
        assert text is not None
        assert isinstance(head, DirectionHead)
        return TwoTowers(
            backbone.module,
            head,
            self.preprocess,
            tta_hflip=tta_hflip,
            text=text.module,
            logit_scale=text.logit_scale,
            logit_bias=text.logit_bias,
            sigmoid=self.recipe.contrastive.loss == "sigmoid",
        )

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
