"""Recipes compared by short trainings on a part of the training images, by successive halving.

All contestants are trained for a few steps and judged by the log loss of images that they did not
see; the better half is trained anew for twice as many steps, and so on. Trained anew, and not on:
each training passes its whole schedule, whose end is what counts, and none has to be kept. Twice
the steps cost as much as all rounds before, so that training on would save less than half.

**Common random numbers.** Every contestant of a round sees the same images in the same order, with
the same augmentation as far as the recipes agree, from the same weights, and is judged by the same
images: what makes these hard for both cancels in their differences, whose standard error is by
families (`framing_losses.compared`).

The result depends on the seed and the numbers of steps alone. What a training gave is kept in the
run as soon as it is there: a race that was stopped goes on.

Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
optimization".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float64

from shopsight import progress
from shopsight.config.recipe import Recipe
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.runtime import is_out_of_memory, retain_freed_memory, single_threaded_opencv
from shopsight.training.finetune import training_device
from shopsight.training.framing_losses import compared
from shopsight.training.memory import free_memory, halve_batch_size
from shopsight.training.precision import reproducible, training_arithmetic
from shopsight.training.race_losses import RaceLosses
from shopsight.training.race_sample import RaceSample
from shopsight.training.short_training import ShortTraining

T = TypeVar("T")
FEWEST_JUDGES = 20
"""Images without which nothing is judged."""


@dataclass(frozen=True)
class Contestant:
    """A recipe that races.

    Attributes:
        name: what differs in it, by which it is known.
        recipe: resolved.
    """

    name: str
    recipe: Recipe = field(compare=False, repr=False)


@dataclass(frozen=True)
class Raced:
    """What a contestant reached in its last round.

    Attributes:
        contestant: which.
        steps: that it was trained for.
        images: that judged it.
        loss: their mean log loss, nats.
        worse: by how much it exceeds that of the round's best.
        error: standard error of that.
    """

    contestant: Contestant
    steps: int
    images: int
    loss: float
    worse: float
    error: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "contestant": self.contestant.name,
            "steps": self.steps,
            "images": self.images,
            "loss": round(self.loss, 4),
            "worse": round(self.worse, 4),
            "error": round(self.error, 4),
        }


class Race:
    """Trains and judges contestants on one sample.

    Args:
        title: of the progress that is shown.
        sample: its images.
        kept: what trainings of this run gave already.
        device: where to compute.
        world: processes that will train the run.
    """

    def __init__(
        self,
        title: str,
        sample: RaceSample,
        kept: RaceLosses,
        device: torch.device,
        *,
        world: int = 1,
    ) -> None:
        self._title, self._sample, self._kept = title, sample, kept
        self._device, self._world = device, world

    @property
    def can_judge(self) -> bool:
        """Whether there are enough images to train and to judge with."""
        return len(self._sample.judged_rows) >= FEWEST_JUDGES

    def compare(self, contestants: Sequence[Contestant], steps: int) -> list[Raced]:
        """Train each for so many steps, and judge them; best first.

        Raises:
            ImageError: a file that cannot be decoded, or that changed since the audit.
        """
        for one in contestants:
            self._sample.prepare(one.recipe)
        losses = {}
        total = steps * len(contestants)
        with progress.task(self._title, total=total, unit="steps") as advance:
            for one in contestants:
                losses[one] = self._losses(one, steps, advance)
        best = min(contestants, key=lambda one: float(losses[one].mean()))
        found = []
        for one in contestants:
            worse, error = compared(losses[one], losses[best], self._sample.judges)
            mean = float(losses[one].mean())
            found.append(Raced(one, steps, len(losses[one]), mean, worse, error))
        return sorted(found, key=lambda raced: raced.loss)

    def seconds(self, contestant: Contestant) -> tuple[float, float]:
        """Measure what a step takes, and what a training takes beside its steps.

        Raises:
            ImageError: as `compare`.
        """
        self._sample.prepare(contestant.recipe)
        clock = Clock()
        with self._arithmetic(contestant):
            training = self._training(contestant)
            built_s = clock.elapsed()[0]
            step_s, judging_s = training.seconds()
        return step_s, built_s + judging_s

    def _losses(
        self, one: Contestant, steps: int, advance: Callable[[int], None]
    ) -> Float64[np.ndarray, "m"]:
        key = self._key(one, steps)
        found = self._kept.of(key)
        if found is not None:
            advance(steps)
            return found
        with self._arithmetic(one):
            found = self._training(one).losses(steps, advance)
        self._kept.add(key, one.name, steps, found)
        return found

    def _training(self, one: Contestant) -> ShortTraining:
        # What the one before it has left.
        free_memory(self._device)
        return ShortTraining(
            one.recipe,
            self._sample.data(one.recipe),
            self._device,
            probe=self._sample.probe(one.recipe),
            world=self._world,
        )

    @contextmanager
    def _arithmetic(self, one: Contestant) -> Iterator[None]:
        hardware = one.recipe.hardware
        with (
            retain_freed_memory(),
            single_threaded_opencv(),
            reproducible(hardware, self._device),
            training_arithmetic(hardware, self._device),
        ):
            yield

    def _key(self, one: Contestant, steps: int) -> str:
        """What the result of a training depends on."""
        given = [one.recipe.to_toml(), steps, self._world, self._sample.sha256s]
        return sha256(json.dumps(given).encode()).hexdigest()[:32]


def until_it_fits(run: RunFolder, work: Callable[[], T]) -> T:
    """Do some work, with half the batch in the run's recipe as long as memory does not suffice.

    Args:
        run: its recipe is read by the work, each time anew.
        work: what is done.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # The error itself holds the network and the batch.
            why = MemoryError(str(error))
        free_memory(training_device(run.recipe()))
        run.write_recipe(halve_batch_size(run.recipe(), why))


def halving(
    race: Race,
    contestants: Sequence[Contestant],
    *,
    rounds: Sequence[int],
    own: Contestant,
    after_first: Callable[[Sequence[Raced]], Sequence[Contestant]] | None = None,
) -> list[Raced]:
    """Race in rounds of more and more steps, each with the better half of the one before.

    Args:
        race: trains and judges.
        contestants: of the first round.
        rounds: steps of each.
        own: what the others are compared with: it is in every round.
        after_first: further contestants of the second round, by what the first one gave.

    Returns:
        The last round, best first, then those that fell out, the latest first.
    """
    fallen: list[Raced] = []
    running = list(contestants)
    for number, steps in enumerate(rounds):
        found = race.compare(running, steps)
        if number + 1 == len(rounds):
            return [*found, *fallen]
        half = [one.contestant for one in found[: math.ceil(len(found) / 2)]]
        running = list(dict.fromkeys([*half, own]))
        fallen = [one for one in found if one.contestant not in running] + fallen
        if number == 0 and after_first is not None:
            running += after_first(found)
    return fallen
