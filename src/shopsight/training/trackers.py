"""Trackers: where the metrics of each epoch go beside `metrics.csv`."""

from __future__ import annotations

from lightning.pytorch.loggers import Logger

from shopsight.config.recipe import Recipe
from shopsight.extras import require
from shopsight.runs.history import EpochRow
from shopsight.runs.run_folder import RunFolder
from shopsight.training.tensorboard_events import EventLogger


def loggers(recipe: Recipe, run: RunFolder) -> list[Logger]:
    """Lightning's loggers for TensorBoard and for the tracker that the recipe names.

    Args:
        recipe: `tracking` names the tracker, its project and its location.
        run: the folder that holds TensorBoard's events, and the tracker's where no location is set.

    Raises:
        ExtraMissingError: the tracker is not installed.
    """
    made: list[Logger] = [EventLogger(run.path / "tensorboard")]
    tracking = recipe.tracking
    if tracking.tracker == "mlflow":
        require("mlflow")
        from lightning.pytorch.loggers import MLFlowLogger

        # A database file: current MLflow refuses a folder of files.
        where = tracking.location or f"sqlite:///{run.tracking_file.absolute().as_posix()}"
        made.append(
            MLFlowLogger(
                experiment_name=tracking.project, run_name=run.path.name, tracking_uri=where
            )
        )
    elif tracking.tracker == "wandb":
        require("wandb")
        from lightning.pytorch.loggers import WandbLogger

        where = tracking.location or str(run.path)
        made.append(WandbLogger(project=tracking.project, name=run.path.name, save_dir=where))
    for logger in made[1:]:
        logger.log_hyperparams(recipe.model_dump(mode="json"))
    return made


def log_once(recipe: Recipe, run: RunFolder, row: EpochRow) -> None:
    """Log the metrics of a run that has only this row: a probe."""
    for logger in loggers(recipe, run):
        logger.log_metrics(row.figures(), step=row.epoch)
        logger.finalize("success")
