"""The second stage of a run: fine-tuning, in the time and the memory that there are."""

from __future__ import annotations

from shopsight import progress
from shopsight.config.recipe import Recipe
from shopsight.files import sha256_file
from shopsight.models.two_towers import TwoTowers
from shopsight.runs.history import PROBE, read_history
from shopsight.runs.run_folder import Clock
from shopsight.runtime import is_out_of_memory
from shopsight.training.captions import Captions
from shopsight.training.compile import compiling_pays
from shopsight.training.contrastive import ContrastiveTraining
from shopsight.training.distill import DistillTraining
from shopsight.training.finetune import deadline_of, finetune
from shopsight.training.first_classifier import take_classifier
from shopsight.training.memory import free_memory, halve_batch_size
from shopsight.training.module import ClassifierTraining
from shopsight.training.precision import training_arithmetic
from shopsight.training.run_data import training_data
from shopsight.training.time_budget import StepTimes, measure_steps, plan_epochs
from shopsight.training.training_run import TrainingRun


def finetune_stage(training: TrainingRun) -> None:
    """Fine-tune in this process, in smaller batches as long as one does not fit in memory."""
    clock = Clock()
    try:
        while True:
            spent_s = training.run.spent_s() + clock.elapsed()[0]
            try:
                with training_arithmetic(training.recipe.hardware, training.device):
                    finetuned = finetune_once(training, spent_s=spent_s)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                # The error itself holds the network and the batch.
                why = MemoryError(str(error))
            free_memory(training.device)
            training.recipe = halve_batch_size(training.recipe, why)
            training.run.write_recipe(training.recipe)
    finally:
        # Interrupted too: the time limit counts what went before.
        training.run.add_seconds("finetune", clock)
    if finetuned:
        training.run.update_state(stage="finetuned")


def finetune_once(training: TrainingRun, *, spent_s: float) -> bool:
    """Plan the epochs if time is limited, and fine-tune with this batch size.

    Args:
        training: the run; its recipe is changed to what was planned.
        spent_s: seconds of the time limit that are over.

    Returns:
        False when the probe is all that fits in the time limit.

    Raises:
        torch.OutOfMemoryError: see `is_out_of_memory`.
    """
    return _Finetuning(training, spent_s).once()


class _Finetuning:
    """One try with one batch size.

    Args:
        training: the run.
        spent_before_s: seconds of the time limit that are over.
    """

    def __init__(self, training: TrainingRun, spent_before_s: float) -> None:
        self._training = training
        self._spent_before_s = spent_before_s
        self._clock = Clock()

    def once(self) -> bool:
        """See `finetune_once`."""
        training = self._training
        checkpoint = training.run.last_checkpoint
        begun = checkpoint.is_file()
        seen = int(sha256_file(checkpoint)[:15], 16) if begun else 0
        training.own.check_same(seen, training.device, what=f"{checkpoint.name}")
        if training.recipe.training.compile == "auto":
            self._settle_compile()
        limited = training.recipe.training.time_limit_s is not None
        if limited and not begun and not self._plan():
            return False
        finetune(self._module(), training.run, training.own)
        return True

    def _spent_s(self) -> float:
        """Seconds of the stages before, and of this one so far: planning and failed tries too."""
        return self._spent_before_s + self._clock.elapsed()[0]

    def _settle_compile(self) -> None:
        training = self._training
        limit = training.recipe.training.time_limit_s

        def measure(recipe: Recipe) -> StepTimes:
            module = self._module(recipe)
            return measure_steps(module, training.device, recipe.training.precision)

        pays = compiling_pays(
            training.recipe,
            measure,
            steps_per_epoch=len(self._module().train_dataloader()),
            budget_s=None if limit is None else limit - self._spent_s(),
        )
        training.recipe = training.recipe.replace(training={"compile": pays})
        training.run.write_recipe(training.recipe)

    def _plan(self) -> bool:
        """Set the epochs that fit in the time limit; False when the probe is all that fits."""
        training, settings = self._training, self._training.recipe.training
        assert settings.time_limit_s is not None
        module = self._module()
        times = measure_steps(module, training.device, settings.precision)
        # All wait for the slowest, and all do what the first one plans.
        times = times.with_seconds(training.own.largest(times.all_seconds(), training.device))
        left_s = settings.time_limit_s - self._spent_s()
        epochs = plan_epochs(
            times,
            sizes=settings.progressive_sizes_px,
            most=settings.epochs,
            steps_per_epoch=len(module.train_batches(size_px=training.preprocess.size_px)),
            budget_s=left_s,
        )
        epochs = training.own.of_first(epochs, training.device)
        left = f"in the {left_s:.0f} s that are left"
        if epochs == 0 and training.run.probe_file.is_file():
            progress.notify(f"no epoch fits {left}: keeping the probe")
            return False
        epochs = max(1, epochs)
        progress.notify(f"{epochs} of at most {settings.epochs} epochs fit {left}")
        training.recipe = training.recipe.replace(training={"epochs": epochs})
        if training.own.rank == 0:
            training.run.write_recipe(training.recipe)
        return True

    def _module(self, recipe: Recipe | None = None) -> ClassifierTraining:
        """What Lightning trains, by the run's recipe or another one."""
        training, recipe = self._training, recipe or self._training.recipe
        model, backbone = training.build()
        if recipe.training.mode.endswith("-then-finetune"):
            take_classifier(training.run, model)
        rows = [row for row in read_history(training.run.metrics_file) if row.stage == PROBE]
        deadline = deadline_of(recipe, self._spent_s())
        given = (model, backbone.stages, training_data(training), recipe, training.run)
        if recipe.distill.teacher:
            teacher = training.teacher()
            if recipe.distill.copy_head:
                teacher.copy_head(model.head)
            return DistillTraining(*given, teacher=teacher, first_rows=rows, deadline=deadline)
        if backbone.text is None or not isinstance(model, TwoTowers):
            return ClassifierTraining(*given, first_rows=rows, deadline=deadline)
        return ContrastiveTraining(
            *given,
            first_rows=rows,
            deadline=deadline,
            captions=Captions(training.catalog, recipe),
            tower=backbone.text,
            labels=training.catalog.labels,
        )
