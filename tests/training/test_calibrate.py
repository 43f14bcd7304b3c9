"""What is fitted on validation images whose logits pass by."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

from shopsight.catalog.catalog import Catalog
from shopsight.metrics.temperature import fit_temperature
from shopsight.training import calibrate as module
from shopsight.training.calibrate import calibrate, calibration_sample

LABELS = ("a", "b", "c")


def one_label(count: int) -> tuple[np.ndarray, Catalog]:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, count)
    logits = rng.normal(size=(count, 3)) + 2 * np.eye(3)[codes]
    names = [LABELS[code] for code in codes]
    table = pl.DataFrame({"image": [f"{i}.jpg" for i in range(count)], "label": names})
    return logits.astype(np.float32), Catalog(table, "shop")


def several_labels(count: int) -> tuple[np.ndarray, Catalog]:
    rng = np.random.default_rng(1)
    held = rng.random((count, 3)) < 0.3
    logits = rng.normal(size=(count, 3)) + 2 * held - 1
    names = [[LABELS[at] for at in np.flatnonzero(row)] for row in held]
    table = pl.DataFrame(
        {"image": [f"{i}.jpg" for i in range(count)], "label": names},
        schema_overrides={"label": pl.List(pl.String)},
    )
    return logits.astype(np.float32), Catalog(table, "shop")


@pytest.mark.parametrize("made", [one_label, several_labels])
def test_batches_give_what_all_logits_at_once_give(made: object) -> None:
    logits, images = made(500)  # type: ignore[operator]
    whole = calibrate([logits], images, LABELS)
    assert calibrate(np.array_split(logits, 17), images, LABELS) == whole
    assert whole.temperature == fit_temperature(logits, images.targets(LABELS)).value
    assert whole.metrics["val_images"] == 500
    assert set(whole.thresholds) == (set(LABELS) if images.multilabel else set())


def test_the_score_is_of_all_images_and_the_temperature_of_a_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, images = one_label(4000)
    whole = calibrate([logits], images, LABELS)
    monkeypatch.setattr(module, "MOST_IMAGES", 1000)
    sampled = calibrate(np.array_split(logits, 9), images, LABELS)
    right = (logits.argmax(1) == images.targets(LABELS)).mean()
    assert sampled.metrics == {
        "val_images": 4000,
        "val_accuracy": pytest.approx(right),
        "temperature_low": pytest.approx(sampled.fitted.low),  # type: ignore[union-attr]
        "temperature_high": pytest.approx(sampled.fitted.high),  # type: ignore[union-attr]
        "temperature_families": 1000,
    }
    assert sampled.doubt == whole.doubt
    assert sampled.temperature != whole.temperature
    assert sampled.temperature == pytest.approx(whole.temperature, rel=0.1)


def test_in_the_sample_each_class_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_IMAGES", 100)
    targets = np.random.default_rng(2).permutation(np.repeat([0, 1, 2], [700, 250, 50]))
    chosen = calibration_sample(targets, num_classes=3)
    assert np.bincount(targets[chosen]).tolist() == [70, 25, 5]
    assert (chosen == calibration_sample(targets, num_classes=3)).all()
    several = csr_array((np.ones(1000, np.uint8), (np.arange(1000), targets)), shape=(1000, 3))
    assert np.bincount(targets[calibration_sample(several, num_classes=3)]).tolist() == [70, 25, 5]


def test_the_more_classes_the_fewer_images_are_sampled() -> None:
    chosen = calibration_sample(np.arange(20_000) % 10_000, num_classes=10_000)
    assert chosen.sum() == module.MOST_LOGITS // 10_000
    assert calibration_sample(np.zeros(300, np.int64), num_classes=2).all()


def test_without_validation_images_nothing_is_fitted() -> None:
    _, images = one_label(1)
    assert calibrate([], images.take([]), LABELS).metrics == {}
