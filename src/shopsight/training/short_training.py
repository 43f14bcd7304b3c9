"""A training of few steps in memory, judged by images that it did not see.

It takes the steps of a run (its network, optimizer, schedule, augmentation, precision and averaged
weights), without Lightning, checkpoints or anything in a folder. The whole schedule of the
learning rate passes in these steps, from its warmup to its end: what is judged is a training that
has come to rest, as the run's will.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from shopsight.backbones.weights import load_state_dict_strict
from shopsight.config.recipe import Recipe
from shopsight.devices import copies_from_pinned, copy_to_device
from shopsight.loading.loader import Batch
from shopsight.models.heads import LinearHead
from shopsight.training.finetune import optimize_network
from shopsight.training.framing_losses import image_losses
from shopsight.training.module import STEP_SEED_FACTOR
from shopsight.training.optim import create_optimizer, may_fuse, schedule_factor
from shopsight.training.precision import autocast
from shopsight.training.probe import Probe
from shopsight.training.start_network import start_network
from shopsight.training.time_budget import time_batches
from shopsight.training.trained_parts import TrainedParts
from shopsight.training.training_data import ProcessPart, TrainingData

WORST = 100.0
"""Nats: the loss of an image by a training whose weights are no longer finite."""


class ShortTraining:
    """One training of few steps.

    Args:
        recipe: resolved.
        data: its validation images judge.
        device: where to compute.
        probe: the head to begin with; None: a new one.
        world: processes that train the run, whose batches together are a step's.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        device: torch.device,
        *,
        probe: Probe | None,
        world: int = 1,
    ) -> None:
        # Its steps are too few for a compiler, and for epochs of the head alone.
        recipe = recipe.replace(training={"compile": False, "head_epochs": 0})
        self._recipe, self._data, self._device = recipe, data, device
        self._accumulation = recipe.training.grad_accumulation * world
        model, backbone = start_network(recipe, num_classes=data.num_classes)
        if probe is not None:
            assert isinstance(model.head, LinearHead)
            head = {"weight": probe.weight, "bias": probe.bias}
            load_state_dict_strict(model.head.classifier, head, where="probe")
        optimize_network(model, recipe, device, recipe.training.precision)
        self._parts = TrainedParts(
            model, backbone.stages, recipe, class_weights=data.class_weights
        ).to(device)
        self._parts.on_fit_start()
        self._parts.train()
        self._optimizer = self._create_optimizer()
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.training.precision == "16")

    def losses(self, steps: int, advance: Any) -> Float64[np.ndarray, "m"]:
        """Train, and give the loss of each judging image, in nats.

        Args:
            steps: of the optimizer.
            advance: called with 1 after each step.
        """
        factor = self._schedule(steps)
        for number, batch in enumerate(self._batches(steps * self._accumulation)):
            step, part = divmod(number, self._accumulation)
            torch.manual_seed(self._recipe.seed * STEP_SEED_FACTOR + number)
            self._backward(batch)
            if part + 1 == self._accumulation:
                self._step(factor(step))
                advance(1)
        return self._judged()

    def seconds(self) -> tuple[float, float]:
        """Measure what a step takes, and judging; the network is of no use afterwards."""
        sizes = self._sizes()
        of_size = {}
        for size in set(sizes):
            with closing(self._batches_of(size, 1 << 30, epoch=0)) as batches:
                of_size[size], _ = time_batches(batches, self._timed_step, self._device)
        self._parts.eval()
        ordered = self._data.validation_batches(self._recipe, self._part)
        batch_s, _ = time_batches(ordered, self._timed_judging, self._device, least=3)
        step_s = self._accumulation * sum(of_size[size] for size in sizes) / len(sizes)
        return step_s, batch_s * len(ordered)

    @property
    def _part(self) -> ProcessPart:
        return ProcessPart(0, 1, pin_memory=copies_from_pinned(self._device))

    def _create_optimizer(self) -> torch.optim.Optimizer:
        training = self._recipe.training
        return create_optimizer(
            self._parts.optimizer_groups(),
            self._recipe.optimizer,
            fused=may_fuse(
                self._device,
                mixed_precision=training.precision != "32",
                clips=training.gradient_clip is not None,
            ),
        )

    def _schedule(self, steps: int) -> Any:
        """The factor of the rate at each of so few steps: of the step of the run that it is for."""
        training = self._recipe.training
        batch = training.resolved_batch_size * self._accumulation
        per_epoch = max(1, len(self._data.train_rows) // batch)
        whole = per_epoch * training.epochs
        factor = schedule_factor(
            self._recipe.schedule, steps_per_epoch=per_epoch, epochs=training.epochs
        )
        # The middle of what it stands for: neither only the zero of a warmup nor only the end.
        return lambda step: factor(min(whole - 1, int((step + 0.5) * whole / steps)))

    def _sizes(self) -> tuple[int, ...]:
        return self._recipe.training.progressive_sizes_px or (self._data.source.size_px,)

    def _batches(self, count: int) -> Iterator[Batch]:
        """So many batches, in the sizes that the run trains in; the same for every contestant."""
        sizes = self._sizes()
        for at, size in enumerate(sizes):
            first, after = count * at // len(sizes), count * (at + 1) // len(sizes)
            # No epoch is that of another size: each shows other images first.
            yield from self._batches_of(size, after - first, epoch=at * count)

    def _batches_of(self, size_px: int, count: int, *, epoch: int) -> Generator[Batch, None, None]:
        while count:
            batches = self._data.training_batches(self._recipe, self._part, size_px=size_px)
            batches.set_epoch(epoch)
            # Closed, its threads begin nothing more.
            with closing(cast("Any", iter(batches))) as made:
                for batch in islice(made, count):
                    count -= 1
                    yield batch
            epoch += 1

    def _backward(self, batch: Batch) -> Tensor:
        images = copy_to_device(batch.images, self._device)
        target = copy_to_device(self._data.targets_of(batch), self._device)
        with autocast(self._device, self._recipe.training.precision):
            embedding, logits = self._parts.model.embed_and_classify(images)
            loss = self._parts.objective(embedding, logits, target)
        self._scaler.scale(loss / self._accumulation).backward()
        return cast("Tensor", loss)

    def _step(self, factor: float) -> None:
        clip = self._recipe.training.gradient_clip
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        if clip is not None:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._parts.parameters(), clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        if self._parts.average is not None:
            self._parts.average.update(self._parts.model)

    def _timed_step(self, batch: Batch) -> None:
        self._backward(batch)
        self._step(0.0)

    def _timed_judging(self, batch: Batch) -> None:
        self._forward(batch)

    @torch.no_grad()
    def _forward(self, batch: Batch) -> Tensor:
        images = copy_to_device(batch.images, self._device)
        with autocast(self._device, self._recipe.training.precision):
            _, logits = self._parts.model.embed_and_classify(images)
        return logits.float().cpu()

    def _judged(self) -> Float64[np.ndarray, "m"]:
        found = []
        with self._parts.averaged():
            self._parts.eval()
            for batch in self._data.validation_batches(self._recipe, self._part):
                found.append(image_losses(self._forward(batch), self._data.targets[batch.rows]))
        losses = np.nan_to_num(np.concatenate(found), nan=WORST, posinf=WORST)
        return np.asarray(losses.clip(0.0, WORST))
