"""What `train` says of adapt, before it fine-tunes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.progress import use_listener
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.training.adapt_outlook import adapt_outlook
from tests.helpers import Recorder, make_products, train_small


def audited_of(labels: list[str], **columns: list[str]) -> AuditedCatalog:
    count = len(labels)
    names = [f"{row}.jpg" for row in range(count)]
    table = pl.DataFrame({"image": names, "label": labels, **columns})
    sha256 = pl.Series([f"{row:064x}" for row in range(count)])
    return AuditedCatalog(Catalog(table, "photos", ""), sha256, np.arange(count))


def features_of(labels: list[str], num_train: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Classes in 3 of 24 directions, under noise in the others."""
    rng = np.random.default_rng(0)
    target = np.unique(labels, return_inverse=True)[1]
    means = 2 * rng.normal(size=(target.max() + 1, 3))
    vectors = 2 * rng.normal(size=(len(labels), 24))
    vectors[:, :3] = means[target] + 0.5 * rng.normal(size=(len(labels), 3))
    rows = np.arange(len(labels))
    parts = {"train": rows[:num_train], "val": rows[num_train:]}
    return {name: (some, vectors[some].astype(np.float32)) for name, some in parts.items()}


def test_a_gain_is_judged_on_validation_images() -> None:
    labels = [f"label-{row % 6}" for row in range(400)]
    change = adapt_outlook(audited_of(labels), features_of(labels, 300), seed=0)
    assert change is not None
    assert change.images == 100
    assert change.is_gain


@pytest.mark.parametrize(
    ("labels", "num_train"),
    [(["a", "b"] * 40, 40), (["a", "b"] * 60, 110), (["a"] * 200, 150)],
    ids=["few images", "few that validate", "one class"],
)
def test_too_little_data_says_nothing(labels: list[str], num_train: int) -> None:
    assert adapt_outlook(audited_of(labels), features_of(labels, num_train), seed=0) is None


def test_train_says_it_before_it_fine_tunes_and_keeps_it(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=66).folder
    notes = Recorder()
    settings = ("training.mode=probe-then-finetune", "model.weights=random", "data.val=0.2")
    with use_listener(notes):
        run = train_small(photos, tmp_path / "run", *settings)
        quiet = train_small(photos, tmp_path / "quiet", *settings, "probe.adapt=false")
    line = RunFolder(run).state()["adapt"]["line"]
    assert notes.lines.count(line) == 1
    assert "shopsight adapt shopsight:fashion_cnn" in line
    assert line.replace("'", "&#39;") in (run / "report.html").read_text(encoding="utf-8")
    assert "adapt" not in RunFolder(quiet).state()
    assert RunFolder(run).seconds()["adapt"]["wall"] < 5.0
