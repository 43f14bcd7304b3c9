from __future__ import annotations

import pytest

from shopsight.errors import ConfigError
from shopsight.profiling.profile import backbone_with_classifier
from shopsight.profiling.speed import profile_and_time


def test_speed_is_measured_per_batch_size() -> None:
    model, num_classes = backbone_with_classifier("shopsight:fashion_cnn")
    profile = profile_and_time(
        model, name="shopsight:fashion_cnn", num_classes=num_classes, batches=(1, 4), device="cpu"
    )
    one, four = profile.speed(1), profile.speed(4)
    assert one is not None
    assert four is not None
    assert one.images_per_s == pytest.approx(1000 / one.latency_ms)
    assert four.images_per_s == pytest.approx(4000 / four.latency_ms)
    assert profile.speed(32) is None
    assert profile.measured_on.startswith("torch on the CPU, ")
    assert profile.measured_on.endswith(", 1 thread")
    assert ", 32, " not in profile.measured_on
    assert profile.parameters == 142_474


def test_nothing_is_timed_by_default() -> None:
    model, num_classes = backbone_with_classifier("shopsight:fashion_cnn", num_classes=3)
    profile = profile_and_time(model, name="net", num_classes=num_classes, batches=())
    assert profile.speeds == ()
    assert profile.measured_on == ""
    assert profile.num_classes == 3
    with pytest.raises(ConfigError, match="no device"):
        profile_and_time(model, name="net", num_classes=num_classes, device="abacus")
