"""The run folder: the one place that knows the names of a run's files and how they are read.

    recipe.toml              the resolved recipe
    catalog.parquet          the images with their split (or fold) and the audit's facts
    held_out.parquet         likewise, the images of classes that a split by label holds out
    unseen.parquet           the images of classes that only retrieval is scored on
    audit/                   audit.html, audit.json, findings.csv, left_out.csv, thumbs.parquet
    split.json               what the parts of the split share
    race.parquet             losses of the images that judged a race, by training
    metrics.csv              one row per epoch
    checkpoints/             weights and training state
    features/                embeddings by a fine-tuned network, see shopsight.inference.features
    precision_images.npz     validation images to find a precision by
    predictions/PART.parquet what the model predicted for each image of a part; PART-*.scores
                             beside it, see shopsight.evaluation.score_files
    metrics.json             the scores of each part
    report.html              the same, to read
    model/                   the bundle
    folds/K/, refit/         of a K-fold run: a run folder for each training
    run.json                 the stage reached; written last, it makes the folder a run

No other module spells these names; a test refuses it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from shopsight.bundle.format import BUNDLE_FOLDER, INFO_FILE, library_versions
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.seal import sealed_recipe
from shopsight.config.recipe import RECIPE_BYTES, Recipe, parse_recipe
from shopsight.errors import TrainingError
from shopsight.files import damage_named, write_json, write_text
from shopsight.io.json_files import read_json_table
from shopsight.io.local_files import read_file
from shopsight.output_paths import check_output_path
from shopsight.paths import is_file, is_folder
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_access import is_own_catalog
from shopsight.text import command_line

RunStage = Literal["prepared", "probed", "finetuned", "bundled"]

FORMAT_VERSION = 1
"""Version of the run folder, in `run.json`; raised when an older one can no longer be read."""

LONGEST_NAME = 90
"""Characters of the longest path within a run folder, and some more: TensorBoard's event files
hold the machine's name, those of a K-fold run below `folds/K`."""

OUT_OF_FOLD = "out-of-fold"
"""The part of a K-fold run's predictions: every image, by the network that never saw it."""


_EPOCH = "epoch"
_TRAIN_ANEW = "shopsight train DATA --out ANOTHER_RUN   (trains it anew)"


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run, and its `run.json`.

    `run.json` holds the format version, the stage reached, the seconds spent in each stage (wall
    and CPU), the command that repeats the run, and versions. It is written whole after each
    stage, so that a run that was stopped at any moment resumes after the last finished stage.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe: no "auto" is left in it."""
        return self.path / "recipe.toml"

    @property
    def catalog_file(self) -> Path:
        """See `AuditedCatalog`."""
        return self.path / "catalog.parquet"

    @property
    def held_out_file(self) -> Path:
        """See `AuditedCatalog`; there only where a split by label holds classes out."""
        return self.path / "held_out.parquet"

    @property
    def audit(self) -> Path:
        """Where `shopsight.audit.audit.AuditReport.write` writes."""
        return self.path / "audit"

    @property
    def left_out_file(self) -> Path:
        """Image and reason of each file that training leaves out."""
        return self.audit / "left_out.csv"

    @property
    def thumbs_file(self) -> Path:
        """Thumbnails of the images, see `shopsight.images.thumbnails`."""
        return self.audit / "thumbs.parquet"

    @property
    def split_file(self) -> Path:
        """What the parts of the split share, see `shopsight.catalog.split.SplitReport`."""
        return self.path / "split.json"

    @property
    def race_file(self) -> Path:
        """See `shopsight.training.race_losses`; there only where recipes raced."""
        return self.path / "race.parquet"

    @property
    def metrics_file(self) -> Path:
        """One row per epoch, see `shopsight.runs.history`."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of weights and training state."""
        return self.path / "checkpoints"

    @property
    def probe_file(self) -> Path:
        """Weight and bias of the linear probe."""
        return self.checkpoints / "probe.safetensors"

    @property
    def best_weights_file(self) -> Path:
        """Weights of the epoch with the best validation score; absent without such images."""
        return self.checkpoints / "best.safetensors"

    @property
    def final_weights_file(self) -> Path:
        """Weights after the last epoch."""
        return self.checkpoints / "final.safetensors"

    def epoch_weights_file(self, epoch: int) -> Path:
        """Weights after an epoch, counted from 1, where `training.keep_epochs` keeps them."""
        return self.checkpoints / f"{_EPOCH}-{epoch:04d}.safetensors"

    @property
    def unseen_file(self) -> Path:
        """Images of the classes that `data.val_classes` holds out, as `catalog_file`."""
        return self.path / "unseen.parquet"

    @property
    def kept_epoch_files(self) -> tuple[Path, ...]:
        """Weights after each epoch that is kept, the first one first."""
        return tuple(sorted(self.checkpoints.glob(f"{_EPOCH}-*.safetensors")))

    @property
    def last_checkpoint(self) -> Path:
        """State of the training after its last whole epoch."""
        return self.checkpoints / "last.json"

    @property
    def tracking_file(self) -> Path:
        """MLflow's database, where the recipe names no other."""
        return self.path / "mlflow.db"

    @property
    def precision_images_file(self) -> Path:
        """Images to find a precision by, see `shopsight.inference.precision_images`."""
        return self.path / "precision_images.npz"

    def find_precision_images(self) -> Path | None:
        """`precision_images_file` of this run, else of the first of its folds that has one."""
        files = (run.precision_images_file for run in self.trainings())
        return next((file for file in files if file.is_file()), None)

    @property
    def predictions(self) -> Path:
        """The folder of predictions, a file per part."""
        return self.path / "predictions"

    def predictions_file(self, split: str) -> Path:
        """Predictions of one part, see `shopsight.evaluation.predictions`."""
        return self.predictions / f"{split}.parquet"

    @property
    def scores_file(self) -> Path:
        """Scores by part."""
        return self.path / "metrics.json"

    @property
    def report_file(self) -> Path:
        """The report to read."""
        return self.path / "report.html"

    @property
    def model(self) -> Path:
        """The bundle."""
        return self.path / BUNDLE_FOLDER

    @property
    def state_file(self) -> Path:
        """`run.json`."""
        return self.path / "run.json"

    @property
    def refit(self) -> RunFolder:
        """The training on all images of a K-fold run."""
        return RunFolder(self.path / "refit")

    def fold(self, number: int) -> RunFolder:
        """The training of a K-fold run that is tested on this fold, counted from 0."""
        return RunFolder(self.path / "folds" / str(number))

    def folds(self) -> tuple[RunFolder, ...]:
        """The trainings of a K-fold run, begun or not; empty for another run."""
        return tuple(self.fold(number) for number in range(self.recipe().folds.count))

    def trainings(self) -> Iterator[RunFolder]:
        """Every run folder in which this run trains: itself, its folds, its refit."""
        yield self
        for run in (*self.folds(), self.refit):
            if run.exists():
                yield run

    def check_path_length(self) -> None:
        """Refuse, before any work, a folder whose files would have paths too long for Windows.

        Raises:
            WriteError: They would.
        """
        check_output_path(self.path, reserve=LONGEST_NAME)

    def exists(self) -> bool:
        """Whether the folder holds a run of any version."""
        return is_file(self.state_file)

    def is_current(self) -> bool:
        """Whether the folder holds a run that this version of shopsight reads.

        Raises:
            DamagedFileError: `run.json` cannot be read.
        """
        return self.exists() and _version_of(self._written_state()) == FORMAT_VERSION

    def is_begun(self) -> bool:
        """Whether there is anything of a run, even of one stopped before `run.json` was there."""
        return self.exists() or is_folder(self.audit)

    def has_model(self) -> bool:
        """Whether the run has a bundle."""
        return (self.model / INFO_FILE).is_file()

    def is_evaluated(self) -> bool:
        """Whether the run has the predictions that it is compared by."""
        return any(self.predictions_file(split).is_file() for split in ("test", OUT_OF_FOLD))

    def is_folds_run(self) -> bool:
        """Whether this is a K-fold training.

        Raises:
            TrainingError: the folder holds no run that this version reads.
        """
        return self.recipe().folds.count > 0

    def recipe(self) -> Recipe:
        """The resolved recipe.

        Raises:
            TrainingError: the folder holds no run that this version reads.
        """
        self.state()
        return parse_recipe(self.recipe_text(), where=str(self.recipe_file))

    def recipe_text(self) -> str:
        """The content of `recipe.toml`.

        Raises:
            DamagedFileError: it cannot be read.
        """
        with damage_named(self.recipe_file, fix=_TRAIN_ANEW):
            return read_file(self.recipe_file, most_bytes=RECIPE_BYTES).decode()

    def write_recipe(self, recipe: Recipe) -> None:
        """Write `recipe.toml`, with this user's mark on what it reaches."""
        write_text(self.recipe_file, sealed_recipe(recipe))

    def audited_catalog(self) -> AuditedCatalog:
        """The images that training uses, with the audit's facts about them.

        Raises:
            TrainingError: the folder holds no run that this version reads.
        """
        self.state()
        return AuditedCatalog.read(self.catalog_file)

    def held_out(self) -> AuditedCatalog | None:
        """The images of classes that no training saw, or None where none are held out."""
        return AuditedCatalog.read(self.held_out_file) if is_file(self.held_out_file) else None

    def catalog(self) -> Catalog:
        """The images that training uses, with `split` (or `fold`).

        Raises:
            TrainingError: the folder holds no run that this version reads.
        """
        return self.audited_catalog().catalog

    def is_own(self) -> bool:
        """Whether this user's shopsight made the run, on a machine with the same home."""
        images = Catalog.read(self.catalog_file, with_access=True).table["image"]
        return is_own_catalog(self.catalog_file, images)

    def state(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            TrainingError: the folder holds no run, or one of another format version.
            DamagedFileError: `run.json` cannot be read.
        """
        if not self.exists():
            raise TrainingError(
                f"is not a run folder: it has no {self.state_file.name}",
                where=str(self.path),
                fix="shopsight train DATA --out RUN starts one",
            )
        state = self._written_state()
        found = _version_of(state)
        if found != FORMAT_VERSION:
            raise self._other_version(found, state)
        return state

    def _written_state(self) -> dict[str, Any]:
        state = read_json_table(self.state_file, fix=_TRAIN_ANEW)
        with damage_named(self.state_file, fix=_TRAIN_ANEW):
            for spent in state.get("seconds", {}).values():
                float(spent["wall"]), float(spent["cpu"])
        return state

    def update_state(self, **changes: Any) -> None:
        """Set top-level keys of `run.json`, atomically."""
        new = {"format_version": FORMAT_VERSION, "versions": versions()}
        state = self.state() if self.exists() else new
        write_json(self.state_file, state | changes)

    def reached(self, stage: RunStage) -> bool:
        """Whether the run has finished this stage."""
        order: tuple[RunStage, ...] = ("prepared", "probed", "finetuned", "bundled")
        last = self.state().get("stage")
        return last in order and order.index(last) >= order.index(stage)

    def seconds(self) -> dict[str, dict[str, float]]:
        """Wall and CPU seconds ("wall", "cpu") of each stage so far."""
        spent: dict[str, dict[str, float]] = self.state().get("seconds", {})
        return spent

    def spent_s(self) -> float:
        """Wall seconds of all stages together."""
        return sum(stage["wall"] for stage in self.seconds().values())

    def add_seconds(self, stage: str, clock: Clock) -> None:
        """Add the time since `clock` to what `stage` has taken, over all resumed parts."""
        spent = self.seconds()
        before = spent.get(stage, {"wall": 0.0, "cpu": 0.0})
        wall, cpu = clock.elapsed()
        spent[stage] = {
            "wall": round(before["wall"] + wall, 2),
            "cpu": round(before["cpu"] + cpu, 2),
        }
        self.update_state(seconds=spent)

    def _other_version(self, found: object, state: dict[str, Any]) -> TrainingError:
        newer = isinstance(found, int) and found > FORMAT_VERSION
        words = ["shopsight", "train", "DATA", "--recipe", "RECIPE", "--out", self.path]
        command = state.get("command")
        return TrainingError(
            f"was written by {'a newer' if newer else 'an earlier'} version of shopsight: run "
            f"format {'none' if found is None else found}; this version reads {FORMAT_VERSION}",
            where=str(self.path),
            details=[f"it was made by: {command}"] if command else [],
            fix="pip install --upgrade shopsight"
            if newer
            else f"delete the folder, then make it anew: {command_line(words)}",
        )


def _version_of(state: dict[str, Any]) -> object:
    return state.get("format_version")


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def elapsed(self) -> tuple[float, float]:
        """Wall and CPU seconds."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the machine's kind."""
    training = {name: version(name) for name in ("torchvision", "lightning", "polars")}
    machine = {"machine": platform.machine(), "cores": str(os.cpu_count())}
    return library_versions() | training | machine
