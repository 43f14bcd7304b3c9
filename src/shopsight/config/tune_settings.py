"""The section `[tune]`: settings that are found on the data, by a race before training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shopsight.config.loss_settings import METRIC_LOSSES
from shopsight.config.section import Positive, Section
from shopsight.config.training_settings import TrainingSettings

TuneKey = Literal["optimizer.lr", "augment.scale", "training.frozen_stages"]
TUNE_KEYS: tuple[TuneKey, ...] = ("optimizer.lr", "augment.scale", "training.frozen_stages")


class TuneSettings(Section):
    """A race of short trainings with other values of some settings, before the run trains.

    Attributes:
        time_s: The most that the race may take; unset: there is none, and the recipe stays.
        keys: Settings that the race may change; the first ones are raced where time is short.
        images: Of the training part, that the race trains and judges with; a quarter judges.
    """

    time_s: Positive | None = None
    keys: Annotated[tuple[TuneKey, ...], Field(min_length=1, max_length=3)] = TUNE_KEYS
    images: Annotated[int, Field(ge=100, le=100_000)] = 1_600

    def check(self, training: TrainingSettings, *, weights: str, has_teacher: bool) -> None:
        """Refuse a race where none can be judged: by log loss, from where the run itself begins.

        Args:
            training: of the recipe.
            weights: `model.weights`.
            has_teacher: whether the recipe learns from one.

        Raises:
            ValueError: there is to be a race, and it makes no sense.
        """
        if self.time_s is None:
            return
        limit = training.time_limit_s
        modes = ("probe-then-finetune", "finetune", "frozen")
        wrong = {
            f"training.mode = {training.mode!r}": training.mode not in modes,
            "model.weights = 'random': few steps tell nothing of them": weights == "random",
            f"training.loss = {training.loss!r}": training.loss in METRIC_LOSSES,
            "training.sampling = 'pxk'": training.sampling == "pxk",
            "distill.teacher": has_teacher,
            f"training.time_limit_s = {limit}: it leaves nothing to train in":
                limit is not None and self.time_s >= limit,
        }  # fmt: skip
        for name, given in wrong.items():
            if given:
                raise ValueError(f"tune.time_s (--tune) does not go with {name}")
