"""Runs followed by a tracker, with the real trackers and no network."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest

from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.errors import ExtraMissingError, WriteError
from shopsight.runs.history import read_history
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fit import fit
from shopsight.training.tensorboard_events import EventLogger
from tests.helpers import ProductPhotos

# The trackers' own, on import and in their file formats.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SMALL = """
[data]
val = 0.2
test = 0.2
[preprocess]
size_px = 28
[model]
backbone = "shopsight:fashion_cnn"
[training]
mode = "scratch"
epochs = 2
batch_size = 12
precision = "32"
"""


def recipe(tracker: str) -> Recipe:
    return parse_recipe(SMALL).replace(tracking={"tracker": tracker, "project": "products"})


def test_tensorboard_holds_the_figures_of_a_probe(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    """A run without a single epoch is in it too."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = RunFolder(tmp_path / "run")
    probe = recipe("none").replace(
        model={"weights": "random"},
        training={"mode": "probe"},
    )
    fit(open_catalog(product_photos.folder), probe, run.path)
    events = accumulator.EventAccumulator(str(run.path / "tensorboard")).Reload()
    (row,) = read_history(run.metrics_file)
    (logged,) = events.Scalars("val_accuracy")
    assert (logged.step, logged.value) == (0, pytest.approx(row.val_accuracy))


def test_tensorboard_reads_each_epoch_from_a_file_that_nobody_closed(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = EventLogger(tmp_path / "tensorboard")
    for epoch in range(3):
        logger.log_metrics({"val_loss": 1.0 / (epoch + 1), "val_accuracy": math.nan}, step=epoch)
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
        assert events.file_version == 2.0
        losses = [(logged.step, logged.value) for logged in events.Scalars("val_loss")]
        assert losses == [(step, pytest.approx(1.0 / (step + 1))) for step in range(epoch + 1)]
        assert all(math.isnan(logged.value) for logged in events.Scalars("val_accuracy"))
    # TensorBoard goes by the name.
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert re.fullmatch(r"events\.out\.tfevents\.\d{10,}\.\d+", file.name)


@pytest.mark.posix("symbolic links need a privilege on Windows")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk_is_one_error_that_names_the_events(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = EventLogger(tmp_path / "tensorboard")
    logger.log_metrics({"val_loss": 1.0}, step=0)
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.unlink()
    file.symlink_to("/dev/full")
    with pytest.raises(WriteError, match="the disk is full") as caught:
        logger.log_metrics({"val_loss": 0.5}, step=1)
    assert caught.value.where == str(file)
    logger.finalize("failed")
    # No thread prints its stack.
    assert capfd.readouterr() == ("", "")


def test_mlflow_holds_the_settings_and_every_epoch(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    mlflow = pytest.importorskip("mlflow")
    run = RunFolder(tmp_path / "run")
    fit(open_catalog(product_photos.folder), recipe("mlflow"), run.path)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{run.path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("products")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.run_name == "run"
    assert logged.info.status == "FINISHED"
    assert logged.data.params["training/epochs"] == "2"
    history = client.get_metric_history(logged.info.run_id, "val_loss")
    rows = read_history(run.metrics_file)
    assert [(metric.step, metric.value) for metric in history] == [
        (row.epoch, pytest.approx(row.val_loss)) for row in rows
    ]


@pytest.mark.enable_socket  # its writer is a process on the same machine
def test_wandb_offline_leaves_its_record_in_the_run(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = RunFolder(tmp_path / "run")
    fit(open_catalog(product_photos.folder), recipe("wandb"), run.path)
    wandb.finish()
    (record,) = (run.path / "wandb").glob("offline-run-*/*.wandb")
    assert record.stat().st_size > 0
    assert b"val_accuracy" in record.read_bytes()


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ExtraMissingError, match="mlflow is not installed") as caught:
        fit(open_catalog(product_photos.folder), recipe("mlflow"), tmp_path / "run")
    assert "shopsight[track]" in str(caught.value)
