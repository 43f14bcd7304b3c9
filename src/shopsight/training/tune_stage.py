"""Before the first stage of a run: settings that hang on the data, found by a race.

Around the recipe, one setting at a time is changed: the learning rate to a third and to three
times, the smallest window of a training image, the stages that stand still. After the first round
the best values of all settings race together, too. The recipe's own values are in every round, and
stay unless they are clearly worse than the best.

**A race that is too short misleads.** The first steps from a probe spoil more than they improve,
the more the higher the rate is: a lower rate would win, and train worse in the end. So the last
round takes a good part of the training's steps, or there is no race; and where not even the best is
better than the probe that it began with, nothing was learned of the recipes, either. The number of
epochs is not raced: its effect would only show at its end, and `training.time_limit_s` plans it.

The time is a bound. What a step takes is measured once, the rounds are planned, and the plan is
written into the run: resumed, the race is the same, whatever else the machine has to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shopsight import progress
from shopsight.config.recipe import Recipe
from shopsight.config.tune_settings import TuneKey
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.text import counted
from shopsight.training.finetune import check_hardware
from shopsight.training.race import Contestant, Race, Raced, halving, until_it_fits
from shopsight.training.race_losses import RaceLosses
from shopsight.training.race_sample import RaceSample
from shopsight.training.start_network import start_network
from shopsight.training.time_budget import RESERVE
from shopsight.training.tune_values import other_values, value_of, value_text, with_values

CLEAR = 2.0
"""Standard errors by which a recipe must be worse than the best to be changed."""
MATTERS = 0.01
"""Part of the best's loss by which it must be worse, too: what is sure may be nothing."""
GROWTH = (1, 3)
"""Steps of the rounds, relative to the first."""
FEWEST_STEPS = 10
"""Of the first round; with fewer, nothing has moved."""
LEAST_PART = 0.2
"""Of the training's steps, that the last round takes at least."""
OWN = "the recipe"


@dataclass(frozen=True)
class TunePlan:
    """What fits in the time.

    Attributes:
        keys: settings that race.
        rounds: steps of each round.
        step_s: measured seconds of a step.
        judge_s: measured seconds of judging, and of building a network.
        needed_s: seconds that the shortest race would take in all.
    """

    keys: tuple[TuneKey, ...]
    rounds: tuple[int, ...]
    step_s: float
    judge_s: float
    needed_s: float


def settle_tuning(run: RunFolder) -> None:
    """Race for the settings of a run that is prepared, unless they are settled.

    Raises:
        ImageError: a file that cannot be decoded, or that changed since the audit.
    """
    if run.recipe().tune.time_s is None:
        return
    clock = Clock()
    try:
        recipe, found = until_it_fits(run, lambda: _Tuning(run, clock).once())
        progress.notify(found["line"])
        # First what was found: the recipe says that it is settled.
        run.update_state(tune=found)
        run.write_recipe(recipe.replace(tune={"time_s": None}))
    finally:
        # Interrupted too: the time limit counts what went before.
        run.add_seconds("tune", clock)


class _Tuning:
    """One try with one batch size."""

    def __init__(self, run: RunFolder, clock: Clock) -> None:
        self._run, self._clock = run, clock
        self._recipe = recipe = run.recipe()
        hardware = check_hardware(recipe)
        audited = run.audited_catalog()
        sample = RaceSample(
            audited,
            recipe,
            audited.catalog.rows_of("train"),
            images=recipe.tune.images,
            device=hardware.device,
        )
        self._num_train = len(sample.train_rows)
        self._num_rows = len(audited.catalog.rows_of("train"))
        self._world = hardware.world_size
        self._race = Race(
            "Tuning",
            sample,
            RaceLosses(run.race_file),
            hardware.device,
            world=hardware.world_size,
        )
        self._own = Contestant(OWN, recipe)
        self._stages = start_network(recipe, num_classes=sample.num_classes)[1].stages

    def once(self) -> tuple[Recipe, dict[str, Any]]:
        """The recipe that won, and what is said of it."""
        if not self._race.can_judge:
            return self._recipe, {"line": "tune: too few images to race; the recipe stays"}
        plan = self._plan()
        if not plan.keys:
            line = "tune: no setting of this recipe can race; it stays"
            if any(self._values(key) for key in self._recipe.tune.keys):
                line = f"tune: {self._recipe.tune.time_s:g} s are too short to learn anything; "
                line += f"the recipe stays ({plan.needed_s:.0f} s would do for the learning rate)"
            return self._recipe, {"line": line, "planned": asdict(plan)}
        changes = {key: self._changes(key) for key in plan.keys}
        singles = [one for some in changes.values() for one in some]
        found = halving(
            self._race,
            [self._own, *singles],
            rounds=plan.rounds,
            own=self._own,
            after_first=lambda first: self._joint(changes, first),
        )
        return self._judged(found, plan)

    # -- who races -------------------------------------------------------------------------

    def _changes(self, key: TuneKey) -> list[Contestant]:
        """The recipe with other values of one setting."""
        values = other_values(self._recipe, key, self._stages)
        return [self._contestant({key: value}) for value in values]

    def _contestant(self, values: Mapping[TuneKey, Any]) -> Contestant:
        name = ", ".join(f"{key} = {value_text(value)}" for key, value in values.items())
        return Contestant(name, with_values(self._recipe, values))

    def _joint(
        self, changes: Mapping[TuneKey, Sequence[Contestant]], first: Sequence[Raced]
    ) -> list[Contestant]:
        """The best value of each setting, where several are not the recipe's own."""
        order = [one.contestant for one in first]
        best: dict[TuneKey, Any] = {}
        for key, others in changes.items():
            winner = min([self._own, *others], key=order.index)
            if winner != self._own:
                best[key] = value_of(winner.recipe, key)
        return [self._contestant(best)] if len(best) > 1 else []

    # -- what fits in the time -------------------------------------------------------------

    def _plan(self) -> TunePlan:
        """Read the plan from the run, or measure and write it."""
        kept = self._run.state().get("tune_plan")
        batch = [self._recipe.training.resolved_batch_size]
        if kept is not None and kept["batch"] == batch:
            plan = kept["plan"]
            return TunePlan(**plan | {name: tuple(plan[name]) for name in ("keys", "rounds")})
        found = self._measured()
        self._run.update_state(tune_plan={"batch": batch, "plan": asdict(found)})
        return found

    def _measured(self) -> TunePlan:
        """As many settings and steps as fit in what is left of the time."""
        recipe = self._recipe
        assert recipe.tune.time_s is not None
        able = tuple(key for key in recipe.tune.keys if self._values(key))
        # Decoding and features, though the run's own, count.
        step_s, judge_s = self._race.seconds(self._own)
        dearest_s = step_s
        fewest = min(self._values("training.frozen_stages"), default=None)
        if fewest is not None and fewest < recipe.training.frozen_stages:
            dearest = self._contestant({"training.frozen_stages": fewest})
            dearest_s, _ = self._race.seconds(dearest)
        spent_s = self._clock.elapsed()[0]
        left_s = (recipe.tune.time_s - spent_s) * (1.0 - RESERVE)
        fewest_steps = max(FEWEST_STEPS, round(LEAST_PART * self._steps_of_run() / GROWTH[-1]))
        times, needed_s = (round(step_s, 4), round(judge_s, 4)), 0.0
        for count in range(len(able), 0, -1):
            keys = able[:count]
            others = [len(self._values(key)) for key in keys]
            # One that is dearer is in every round at worst.
            extra_s = dearest_s - step_s if "training.frozen_stages" in keys else 0.0
            sizes = most_in_rounds(1 + sum(others), joint=count > 1)
            each_s = sum(
                grown * (size * step_s + extra_s) for size, grown in zip(sizes, GROWTH, strict=True)
            )
            first = int((left_s - sum(sizes) * judge_s) / max(each_s, 1e-6))
            race_s = fewest_steps * each_s + sum(sizes) * judge_s
            needed_s = round(spent_s + race_s / (1.0 - RESERVE), 1)
            if first >= fewest_steps:
                steps = min(first, self._steps_of_run() // GROWTH[-1])
                return TunePlan(keys, tuple(steps * grown for grown in GROWTH), *times, needed_s)
        return TunePlan((), (), *times, needed_s)

    def _values(self, key: TuneKey) -> list[Any]:
        return other_values(self._recipe, key, self._stages)

    def _steps_of_run(self) -> int:
        """Of the whole training, which a race need not exceed."""
        training = self._recipe.training
        batch = training.resolved_batch_size * training.grad_accumulation * self._world
        return max(GROWTH[-1], self._num_rows // batch * training.epochs)

    # -- what came out ---------------------------------------------------------------------

    def _judged(self, found: Sequence[Raced], plan: TunePlan) -> tuple[Recipe, dict[str, Any]]:
        own = next(one for one in found if one.contestant == self._own)
        start = self._race.compare([self._own], 0)[0]
        best, learned = found[0], found[0].loss < start.loss
        stays = not learned or own.worse <= max(CLEAR * own.error, MATTERS * best.loss)
        chosen = own if stays else best
        line = f"tune: {chosen.contestant.name}"
        if not learned:
            line += " stays, as no training is better than what it began with"
        elif stays and best is not own:
            line += f" stays, not clearly worse than {best.contestant.name}"
        elif stays:
            line += " stays, the best"
        line += f"; log loss {chosen.loss:.3f} on {counted(chosen.images, 'image')}"
        line += f" after {chosen.steps} steps, {start.loss:.3f} before"
        if best is not own:
            line += f"; the recipe: worse by {own.worse:.3f} +- {own.error:.3f}"
        about = {
            "line": line,
            "chosen": chosen.contestant.name,
            "planned": asdict(plan),
            "train_images": self._num_train,
            "start_loss": round(start.loss, 4),
            "tried": [one.to_json() for one in found],
        }
        return chosen.contestant.recipe, about


def most_in_rounds(count: int, *, joint: bool) -> list[int]:
    """The most contestants of each round, with the recipe itself in all of them.

    Args:
        count: in the first one.
        joint: whether one more may join the second.
    """
    sizes = [count]
    for number in range(1, len(GROWTH)):
        kept = min(sizes[-1], -(-sizes[-1] // 2) + 1)
        sizes.append(kept + (joint and number == 1))
    return sizes
