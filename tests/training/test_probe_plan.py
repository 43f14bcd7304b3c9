"""What is spared of a probe that would take hours, and that a time limit holds."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pytest
import torch

from shopsight.config.model_settings import ProbeSettings
from shopsight.progress import use_listener
from shopsight.training import probe as probe_module
from shopsight.training import probe_plan as module
from shopsight.training.probe import Probe, fit_probe
from shopsight.training.probe_plan import ProbePlan, plan_probe
from tests.helpers import Recorder

WIDTH, CLASSES = 16, 20
PENALTIES = ProbeSettings(penalties=(1e-3, 3e-3, 1e-2, 3e-2), within=0.0)
plan = partial(plan_probe, num_rows=500_000, num_classes=10_000, width=1280, num_penalties=4)
A_PASS = 2.0 * 500_000 * 10_000 * 1280


def photos(count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Features of classes that overlap."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
    classes = rng.integers(0, CLASSES, count)
    features = centers[classes] + 0.8 * rng.normal(size=(count, WIDTH))
    return torch.tensor(features, dtype=torch.float32), classes


def fitted(**changes: object) -> Probe:
    (x, y), (v, w) = photos(3000, 1), photos(1000, 2)
    return fit_probe(x, y, v, w, num_classes=CLASSES, settings=PENALTIES, **changes)  # type: ignore[arg-type]


def test_what_is_affordable_is_not_spared() -> None:
    assert plan(most_products=1000 * A_PASS) == ProbePlan(60)
    assert plan(most_products=150 * A_PASS) == ProbePlan(29)
    assert plan(most_products=105 * A_PASS) == ProbePlan(20)


def test_then_images_are_spared() -> None:
    found = plan(most_products=46.81 * A_PASS)
    assert found == ProbePlan(20, sample_rows=100_048, last_iterations=20)
    assert found.passes(500_000, 4) == pytest.approx(46.81, abs=0.01)


def test_then_steps_of_all_images_and_last_all_images() -> None:
    """Under a time limit, where the smallest sample and few steps are what fits."""
    found = plan(most_products=20 * A_PASS)
    assert found == ProbePlan(20, sample_rows=20_000, last_iterations=11)
    assert found.passes(500_000, 4) < 20
    found = plan(most_products=12 * A_PASS)
    assert found == ProbePlan(20, sample_rows=57_692, last_iterations=0)
    assert found.passes(500_000, 4) < 12
    assert plan(most_products=0.1 * A_PASS) == ProbePlan(20, sample_rows=20_000)


def test_two_images_of_each_class_are_no_sample() -> None:
    found = plan(num_rows=20_000, most_products=20 * A_PASS / 25)
    assert found == ProbePlan(6)


def test_a_probe_of_a_sample_is_nearly_as_good(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted()
    recorder = Recorder()
    products = 2.0 * 3000 * CLASSES * WIDTH
    monkeypatch.setitem(module.MOST_PRODUCTS, "cpu", 46 * products)
    monkeypatch.setattr(module, "MEASURED_FROM_PRODUCTS", 0)
    with use_listener(recorder):
        spared = fitted()
    assert spared.val_accuracy == pytest.approx(whole.val_accuracy, abs=0.02)
    assert spared.val_loss == pytest.approx(whole.val_loss, rel=0.05)
    (line,) = recorder.lines
    assert line.startswith("probe: about ")
    assert "for 3,000 images and 20 classes, of which 576 of the images choose the penalty" in line


def test_a_probe_ends_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    with use_listener(recorder):
        untrained = fitted(seconds=0.0)
    assert untrained.penalty == max(PENALTIES.penalties)
    assert not untrained.weight.any()
    assert recorder.lines == [probe_module.NO_STEP]
    now, steps = time.monotonic(), iter(range(10_000))
    # Each look at the clock is a second later: the time is up within the second penalty.
    monkeypatch.setattr(probe_module.time, "monotonic", lambda: now + next(steps))
    found = fitted(seconds=80.0)
    assert found.penalty < max(PENALTIES.penalties)
    assert found.val_accuracy > 0.5
    assert next(steps) < 200


def test_a_time_limit_spares_by_what_a_pass_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEASURED_FROM_PRODUCTS", 0)
    monkeypatch.setattr(probe_module, "_seconds_of_pass", lambda _rows: 2.0)
    recorder = Recorder()
    with use_listener(recorder):
        found = fitted(seconds=40.0)
    assert "of the images choose the penalty" in recorder.lines[0]
    assert found.val_accuracy > 0.8
