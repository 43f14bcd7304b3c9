"""The stages of one training: the probe, fine-tuning, and the bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import lightning
import numpy as np
import torch
from jaxtyping import Float32, Int64
from safetensors.torch import save_file
from torch import Tensor, nn

from shopsight import progress
from shopsight.backbones.create import create_backbone
from shopsight.backbones.new_text_tower import new_text_tower
from shopsight.backbones.spec import Backbone
from shopsight.backbones.weights import load_state_dict_strict
from shopsight.bundle.embedding_space import EmbedsInto
from shopsight.bundle.format import Golden
from shopsight.cache_place import cache_folder, can_keep
from shopsight.catalog.catalog import Catalog
from shopsight.config.loss_settings import PAIR_LOSSES
from shopsight.config.recipe import Recipe
from shopsight.files import atomic_file, make_folder, sha256_file
from shopsight.inference.agreement import Readout
from shopsight.inference.features import (
    NUMBER_BYTES,
    FeatureStore,
    compute_missing,
    create_feature_folder,
    feature_folder,
    stored_logits,
)
from shopsight.inference.open_embedder import open_embedder
from shopsight.inference.open_network import open_network
from shopsight.inference.pick_precision import (
    FIRST_IMAGES,
    fast_precisions,
    fastest_embedding,
    fastest_faithful,
    logits_of,
)
from shopsight.inference.precision_images import choose_rows, write_precision_images
from shopsight.inference.torch_engine import TorchEngine
from shopsight.io.weights import read_weights
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.loading.class_sampling import ClassSampling, Sampler
from shopsight.loading.offline_augment import offline_samples
from shopsight.loading.pair_sampling import PairSampling
from shopsight.models.build import live_embedding_fingerprint
from shopsight.models.heads import CosineHead, DirectionHead, LinearHead, create_head
from shopsight.models.product_model import ProductModel
from shopsight.models.two_towers import TwoTowers
from shopsight.preprocess import Preprocess
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.history import PROBE, EpochRow, read_history, write_history
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.runtime import is_out_of_memory
from shopsight.targets import Targets, first_labels
from shopsight.training.adapt_outlook import adapt_outlook, outlook_line
from shopsight.training.calibrate import calibrate
from shopsight.training.captions import Captions
from shopsight.training.compile import compiling_pays
from shopsight.training.contrastive import ContrastiveTraining, as_classifier, set_classes
from shopsight.training.distill import DistillTraining
from shopsight.training.embeds_into import MOST_GALLERY, MOST_QUERIES, declared, some_rows
from shopsight.training.finetune import (
    deadline_of,
    finetune,
    selected_checkpoint,
    training_device,
)
from shopsight.training.finish import build_bundle, golden_outputs
from shopsight.training.kept_embeddings import kept_embeddings
from shopsight.training.losses import class_weights
from shopsight.training.memory import (
    free_memory,
    halve_batch_size,
)
from shopsight.training.module import ClassifierTraining
from shopsight.training.pairs import set_directions, summed_directions
from shopsight.training.precision import training_arithmetic
from shopsight.training.probe import Probe, fit_probe, loss_and_accuracy, sample_rows
from shopsight.training.rank_environment import WorkerRank
from shopsight.training.retrieval_score import RetrievalSet, check_retrieval
from shopsight.training.standard_rows import Features
from shopsight.training.teacher import Teacher, open_teacher
from shopsight.training.time_budget import RESERVE, StepTimes, measure_steps, plan_epochs
from shopsight.training.trackers import log_once
from shopsight.training.training_data import TrainingData
from shopsight.training.usable_images import class_counts
from shopsight.training.zero_shot import named_classes

SPARES_OUTLOOK_BELOW_S = 120.0
"""Of a time limit."""


class Training:
    """The stages of one run, each of which can be the first after an interruption.

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
        self.preprocess: Preprocess = self.recipe.preprocess.applied_to(Preprocess())
        self.device = training_device(self.recipe, self.own)
        self.num_classes = len(self.catalog.labels)
        self.targets: Targets = self.catalog.targets(self.catalog.labels)
        self.class_weights = class_weights(
            self.recipe.training, class_counts(self.catalog), self.catalog.labels
        )
        self.source = self._open_cache()

    def probe_stage(self) -> bool:
        """Fit the probe, if the recipe has one; give whether fine-tuning is still to be done."""
        start = self.recipe.training.mode
        if not self.run.reached("probed"):
            if start.startswith("probe"):
                self._probe()
            elif start.startswith("zero-shot"):
                self._name_classes()
            self.run.update_state(stage="probed")
        finetunes = self.recipe.training.finetunes and not self.run.reached("finetuned")
        if finetunes and self.recipe.distill.teacher:
            # Alone, before others train: they find the outputs.
            self._teacher()
        return finetunes

    def sampling(self, rows: Int64[np.ndarray, "m"]) -> ClassSampling:
        """How often an epoch draws the images of these rows of the catalog."""
        sampling = self.recipe.training.sampling
        return ClassSampling(
            self.targets[rows],
            num_classes=self.num_classes,
            sampling="balanced" if sampling == "pxk" else sampling,
        )

    def _sampler(self) -> Callable[[Int64[np.ndarray, "m"]], Sampler] | None:
        """How an epoch of fine-tuning draws images; None: each once."""
        training = self.recipe.training
        if training.sampling == "plain":
            return None
        if training.sampling != "pxk":
            return self.sampling
        labels, groups = first_labels(self.targets), self.audited.families().of_image
        return lambda rows: PairSampling(
            labels[rows],
            groups=groups[rows],
            per_class=training.images_per_class,
            batch_size=self.recipe.images_of_batch(self.own.size) * self.own.size,
            lone_classes=training.loss not in PAIR_LOSSES,
        )

    def _retrieval_set(self) -> RetrievalSet | None:
        """The images that ask for each other after each epoch; None where that is not scored."""
        training = self.recipe.training
        if not training.scores_retrieval and not self.recipe.data.val_classes:
            return None
        if not self.run.unseen_file.is_file():
            rows, audited = self.catalog.rows_of("val"), self.audited
            found = RetrievalSet(
                self.source, rows, first_labels(self.targets)[rows], audited.duplicate_group[rows]
            )
        else:
            audited = AuditedCatalog.read(self.run.unseen_file)
            source = open_cache(
                audited.catalog,
                self.preprocess,
                settings=self.recipe.cache,
                sha256s=audited.sha256.to_list(),
            )
            found = RetrievalSet(
                source,
                np.arange(len(audited)),
                first_labels(audited.catalog.targets(audited.catalog.labels)),
                audited.duplicate_group,
            )
        if training.checkpoint == "retrieval":
            check_retrieval(found.classes, found.copies, where=self.catalog.name)
        return found.cut(self.recipe.seed) if len(found.rows) else None

    def _open_cache(self) -> PixelSource:
        clock = Clock()
        source = open_cache(
            self.catalog,
            self.preprocess,
            settings=self.recipe.cache,
            sha256s=self.sha256s,
        )
        # Workers find it filled, and are given a recipe that says how.
        if self.own.size == 1:
            self.run.add_seconds("cache", clock)
            if self.recipe.cache.mode == "auto":
                # Resumed on a fuller disk, a run must not continue with other (lossy) pixels.
                self.recipe = self.recipe.replace(cache={"mode": source.mode})
                self.run.write_recipe(self.recipe)
        return source

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

    def _teacher(self) -> Teacher:
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

    # -- the probe -------------------------------------------------------------------------

    def _probe(self) -> None:
        clock = Clock()
        train = sample_rows(self.catalog.rows_of("train"), seed=self.recipe.seed)
        val = self.catalog.rows_of("val")
        model, backbone = self.build(tta_hflip=self.recipe.evaluation.tta_hflip)
        engine = TorchEngine(model, device=str(self.device), precision="32")
        if self.recipe.training.precision != "32":
            golden = golden_outputs(model, self.catalog)
            engine = fastest_embedding(engine, golden, model.preprocess)
        rows = np.concatenate([train, val])
        store = self._feature_store(model, backbone, rows, engine=engine.name)
        compute_missing(engine, self.source, rows, store=store)
        features = store.blobs(train)
        probe = fit_probe(
            features,
            self.targets[train],
            store.blobs(val),
            self.targets[val],
            settings=self.recipe.probe,
            weights=self.class_weights,
            row_weights=torch.from_numpy(self.sampling(train).expected).float(),
            num_classes=self.num_classes,
            device=self.device,
            seconds=self._probe_seconds(clock),
        )
        self._keep_probe(probe, features, train, clock)
        if self.recipe.probe.adapt and self.recipe.training.finetunes:
            self._adapt_outlook(features, store.blobs(val), train)

    def _adapt_outlook(
        self, train: Features, val: Features, train_rows: Int64[np.ndarray, "m"]
    ) -> None:
        """Say what a layer on these features would bring to a search, where that is quick."""
        limit = self.recipe.training.time_limit_s
        if limit is not None and limit < SPARES_OUTLOOK_BELOW_S:
            return
        clock = Clock()
        change = adapt_outlook(
            self.audited,
            {"train": (train_rows, train), "val": (self.catalog.rows_of("val"), val)},
            seed=self.recipe.seed,
        )
        if change is not None:
            line = outlook_line(change, self.recipe.model.backbone)
            self.run.update_state(adapt={"line": line, **change.to_json()})
            progress.notify(line)
        self.run.add_seconds("adapt", clock)

    def _probe_seconds(self, clock: Clock) -> float | None:
        """What a time limit leaves for the probe; half of it where fine-tuning follows."""
        limit = self.recipe.training.time_limit_s
        if limit is None:
            return None
        left_s = limit - self.run.spent_s() - clock.elapsed()[0]
        share = 0.5 if self.recipe.training.finetunes else 1.0
        return max(0.0, share * (1.0 - RESERVE) * left_s)

    def _feature_store(
        self,
        model: ProductModel,
        backbone: Backbone,
        rows: Int64[np.ndarray, "m"],
        *,
        engine: str,
        shared: bool = True,
    ) -> FeatureStore:
        """Where features are kept: in the cache, for other runs too, or in this run's folder."""
        fingerprint = live_embedding_fingerprint(model, backbone=backbone.name)
        place = {"fingerprint": fingerprint, "pixels": self.source.mode, "engine": engine}
        keys = image_keys(self.sha256s, self.catalog.boxes())
        dim = backbone.embedding_dim
        root = self.run.path
        if shared and self.source.mode != "off":
            cached = FeatureStore(feature_folder(cache_folder(), **place), keys, dim)
            lacking = len(cached.missing(rows)) * dim * NUMBER_BYTES
            if not lacking or can_keep(cached.folder, lacking):
                root = cache_folder()
        return FeatureStore(create_feature_folder(root, **place), keys, dim)

    def _keep_probe(
        self, probe: Probe, features: Features, rows: Int64[np.ndarray, "m"], clock: Clock
    ) -> None:
        self._write_classifier(probe.weight, probe.bias)
        loss, accuracy = loss_and_accuracy(features, self.targets[rows], probe.weight, probe.bias)
        row = EpochRow(
            stage=PROBE,
            epoch=0,
            size_px=self.preprocess.size_px,
            lr=0.0,
            train_loss=loss,
            train_accuracy=accuracy,
            val_loss=probe.val_loss,
            val_accuracy=probe.val_accuracy,
            seconds=round(clock.elapsed()[0], 2),
        )
        write_history(self.run.metrics_file, [row])
        if not self.recipe.training.finetunes:
            log_once(self.recipe, self.run, row)
        self.run.update_state(probe_penalty=probe.penalty)
        self.run.add_seconds("probe", clock)
        scored = f"val accuracy {probe.val_accuracy:.2%}, " if row.validated else ""
        progress.notify(f"probe: {scored}L2 penalty {probe.penalty:g}")

    def _name_classes(self) -> None:
        """Zero-shot: the classifier is what a text encoder makes of the labels."""
        clock = Clock()
        tower = self.build(with_text=True)[1].text
        assert tower is not None
        directions = named_classes(
            tower, self.catalog.labels, prompts=self.recipe.zero_shot.prompts, device=self.device
        )
        scale = np.float32(tower.logit_scale)
        self._write_classifier(torch.from_numpy(scale * directions), torch.zeros(self.num_classes))
        self.run.add_seconds("probe", clock)
        progress.notify(f"zero-shot: {self.num_classes:,} classes by {tower.name}'s text encoder")

    def _write_classifier(self, weight: Tensor, bias: Tensor) -> None:
        make_folder(self.run.checkpoints)
        with atomic_file(self.run.probe_file) as part:
            save_file({"weight": weight, "bias": bias}, part)

    def _with_probe(self, model: ProductModel) -> ProductModel:
        probe, where = read_weights(self.run.probe_file, unwrap=False), str(self.run.probe_file)
        assert isinstance(model.head, LinearHead | DirectionHead)
        load_state_dict_strict(model.head.classifier, probe, where=where)
        return model

    # -- fine-tuning -----------------------------------------------------------------------

    def finetune_stage(self) -> None:
        """Fine-tune in this process, in smaller batches as long as one does not fit in memory."""
        clock = Clock()
        try:
            while True:
                spent_s = self.run.spent_s() + clock.elapsed()[0]
                try:
                    with training_arithmetic(self.recipe.hardware, self.device):
                        finetuned = self.finetune_once(spent_s=spent_s)
                    break
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    # The error itself holds the network and the batch.
                    why = MemoryError(str(error))
                free_memory(self.device)
                self.recipe = halve_batch_size(self.recipe, why)
                self.run.write_recipe(self.recipe)
        finally:
            # Interrupted too: the time limit counts what went before.
            self.run.add_seconds("finetune", clock)
        if finetuned:
            self.run.update_state(stage="finetuned")

    def finetune_once(self, *, spent_s: float) -> bool:
        """Plan the epochs if time is limited, and fine-tune with this batch size.

        Args:
            spent_s: seconds of the time limit that are over.

        Returns:
            False when the probe is all that fits in the time limit.

        Raises:
            torch.OutOfMemoryError: see `is_out_of_memory`.
        """
        self._spent_before_s, self._clock = spent_s, Clock()
        checkpoint = self.run.last_checkpoint
        begun = checkpoint.is_file()
        seen = int(sha256_file(checkpoint)[:15], 16) if begun else 0
        self.own.check_same(seen, self.device, what=f"{checkpoint.name}")
        if self.recipe.training.compile == "auto":
            self._settle_compile()
        limited = self.recipe.training.time_limit_s is not None
        if limited and not begun and not self._plan():
            return False
        finetune(self._module(), self.run, self.own)
        return True

    def _settle_compile(self) -> None:
        limit = self.recipe.training.time_limit_s

        def measure(recipe: Recipe) -> StepTimes:
            module = self._module(recipe)
            return measure_steps(module, self.device, recipe.training.precision)

        pays = compiling_pays(
            self.recipe,
            measure,
            steps_per_epoch=len(self._module().train_dataloader()),
            budget_s=None if limit is None else limit - self._spent_s(),
        )
        self.recipe = self.recipe.replace(training={"compile": pays})
        self.run.write_recipe(self.recipe)

    def _module(self, recipe: Recipe | None = None) -> ClassifierTraining:
        model, backbone = self.build()
        if self.recipe.training.mode.endswith("-then-finetune"):
            self._with_probe(model)
        data, train = self.recipe.data, self.catalog.rows_of("train")
        extra = offline_samples(
            train, kinds=data.offline_kinds, fraction=data.offline_fraction, seed=self.recipe.seed
        )
        whole = recipe or self.recipe
        training_data = TrainingData(
            source=self.source,
            train_rows=train,
            val_rows=self.catalog.rows_of("val"),
            targets=self.targets,
            num_classes=self.num_classes,
            class_weights=self.class_weights,
            extra=extra if data.offline_kinds else None,
            fill=self.preprocess.pad_color,
            sampling=self._sampler(),
            retrieval=self._retrieval_set(),
        )
        rows = [row for row in read_history(self.run.metrics_file) if row.stage == PROBE]
        deadline = deadline_of(self.recipe, self._spent_s())
        given = (model, backbone.stages, training_data, whole, self.run)
        if whole.distill.teacher:
            teacher = self._teacher()
            if whole.distill.copy_head:
                teacher.copy_head(model.head)
            return DistillTraining(*given, teacher=teacher, first_rows=rows, deadline=deadline)
        if backbone.text is None or not isinstance(model, TwoTowers):
            return ClassifierTraining(*given, first_rows=rows, deadline=deadline)
        return ContrastiveTraining(
            *given,
            first_rows=rows,
            deadline=deadline,
            captions=Captions(self.catalog, whole),
            tower=backbone.text,
            labels=self.catalog.labels,
        )

    def _spent_s(self) -> float:
        """Seconds of the stages before, and of this one so far: planning and failed tries too."""
        return self._spent_before_s + self._clock.elapsed()[0]

    def _plan(self) -> bool:
        """Set the epochs that fit in the time limit; False when the probe is all that fits."""
        limit = self.recipe.training.time_limit_s
        assert limit is not None
        module = self._module()
        times = measure_steps(module, self.device, self.recipe.training.precision)
        # All wait for the slowest, and all do what the first one plans.
        times = times.with_seconds(self.own.largest(times.all_seconds(), self.device))
        left_s = limit - self._spent_s()
        most = self.recipe.training.epochs
        epochs = plan_epochs(
            times,
            sizes=self.recipe.training.progressive_sizes_px,
            most=most,
            steps_per_epoch=len(module.train_batches(size_px=self.preprocess.size_px)),
            budget_s=left_s,
        )
        epochs = self.own.of_first(epochs, self.device)
        if epochs == 0 and self.run.probe_file.is_file():
            progress.notify(f"no epoch fits in the {left_s:.0f} s that are left: keeping the probe")
            return False
        progress.notify(
            f"{max(1, epochs)} of at most {most} epochs fit in the {left_s:.0f} s that are left"
        )
        self.recipe = self.recipe.replace(training={"epochs": max(1, epochs)})
        if self.own.rank == 0:
            self.run.write_recipe(self.recipe)
        return True

    # -- the end ---------------------------------------------------------------------------

    def bundle_stage(self) -> None:
        """Write the bundle."""
        clock = Clock()
        finetuned = self.run.reached("finetuned")
        # Texts lie among the images of the weights that they were trained with.
        frozen = not finetuned or self.recipe.training.mode == "frozen"
        model, backbone = self.build(
            tta_hflip=self.recipe.evaluation.tta_hflip,
            with_text=frozen and self.recipe.model.keep_text,
        )
        if finetuned:
            file = selected_checkpoint(self.run, self.recipe)
            load_state_dict_strict(model, read_weights(file, unwrap=False), where=str(file))
            if self.recipe.training.loss in PAIR_LOSSES:
                self._with_class_means(model, backbone)
        else:
            self._with_probe(model)
        if isinstance(model, TwoTowers):
            assert backbone.text is not None
            set_classes(model, backbone.text, self.catalog.labels, self.recipe.zero_shot.prompts)
            model, backbone = as_classifier(model, backbone)
        golden = golden_outputs(model, self.catalog)
        # The probe's backbone is everyone's; a fine-tuned one is useful to this run alone.
        logits = self._val_logits(model, backbone, golden, shared=not finetuned)
        val = self.audited.take(self.catalog.rows_of("val"))
        calibration = calibrate(logits, val.catalog, self.catalog.labels, families=val.families())
        build_bundle(
            self.run,
            model.to("cpu"),
            backbone=backbone,
            recipe=self.recipe,
            catalog=self.catalog,
            golden=golden,
            calibration=calibration,
            embeds_into=self._embeds_into(model, backbone),
        )
        self.run.update_state(stage="bundled", temperature=calibration.temperature_json())
        self.run.add_seconds("bundle", clock)

    def _embeds_into(self, model: ProductModel, backbone: Backbone) -> tuple[EmbedsInto, ...]:
        """How well a student's queries search its teacher's gallery, on the validation images."""
        if not self.recipe.distill.is_into_space:
            return ()
        rng = np.random.default_rng(self.recipe.seed)
        rows = {
            name: some_rows(self.catalog.rows_of(name), most, rng)
            for name, most in (("val", MOST_QUERIES), ("train", MOST_GALLERY))
        }
        if not len(rows["val"]):
            return ()
        images = {name: self.audited.take(some) for name, some in rows.items()}
        name, device = self.recipe.distill.teacher, str(self.device)
        opened = open_network(name)

        def embeddings(network: ProductModel, of: str, built: str) -> Float32[np.ndarray, "n w"]:
            part = images[of]
            return kept_embeddings(
                network, part.catalog, part.sha256.to_list(), backbone=built, device=device
            )

        found = declared(
            open_embedder(name, device="cpu").space.fingerprint,
            embeddings(model, "val", backbone.name),
            embeddings(opened.model, "val", opened.info.backbone),
            embeddings(opened.model, "train", opened.info.backbone),
        )
        for one in found:
            progress.notify(
                f"queries by this student find {one.recall:.1%} of what its teacher's do"
            )
        return found

    def _with_class_means(self, model: ProductModel, backbone: Backbone) -> None:
        """Give the head the mean directions of the classes' training images."""
        assert isinstance(model.head, CosineHead)
        rows = self.catalog.rows_of("train")
        engine = TorchEngine(model, device=str(self.device), precision="32")
        store = self._feature_store(model, backbone, rows, engine=engine.name, shared=False)
        compute_missing(engine, self.source, rows, store=store)
        # The engine moved the network to its device.
        model.to("cpu")
        labels = first_labels(self.targets)[rows]
        set_directions(model.head, summed_directions(store.blobs(rows), labels, model.head))

    def _val_logits(
        self, model: ProductModel, backbone: Backbone, golden: Golden, *, shared: bool
    ) -> Iterator[Float32[np.ndarray, "b classes"]]:
        """Logits of the validation images, in batches, as `shopsight.load` will compute them."""
        engine = self._prediction_engine(model, golden)
        rows = self.catalog.rows_of("val")
        store = self._feature_store(model, backbone, rows, engine=engine.name, shared=shared)
        return stored_logits(engine, self.source, rows, store=store)

    def _prediction_engine(self, model: ProductModel, golden: Golden) -> TorchEngine:
        """The engine that `shopsight.load` chooses: what is fitted is what will be predicted.

        Its device too: that of the training may be another, by `hardware.accelerator`.
        """
        exact = TorchEngine(model, precision="32")
        rows = choose_rows(self.catalog.rows_of("val"), seed=self.recipe.seed)
        images_file, readout = None, Readout(multilabel=self.catalog.multilabel)
        if len(rows):
            images_file = self.run.precision_images_file
            images = write_precision_images(images_file, self.source, rows)
            if fast_precisions(exact.device):
                # Answers are compared at about the temperature at which they will be given.
                first = self.catalog.take(rows[:FIRST_IMAGES])
                logits = logits_of(exact, images[:FIRST_IMAGES])
                readout = calibrate([logits], first, self.catalog.labels).readout(self.catalog)
        return fastest_faithful(exact, golden, model.preprocess, readout, images_file=images_file)
