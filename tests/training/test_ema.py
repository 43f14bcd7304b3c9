"""The average of the weights."""

import math

import pytest
import torch

from shopsight.training.ema import ModelEma


def test_follows_the_formula_and_swaps_back() -> None:
    layer = torch.nn.BatchNorm1d(1)
    average = ModelEma(layer, decay=0.9)
    expected = 1.0
    for step, value in enumerate((3.0, 5.0, -2.0), start=1):
        with torch.no_grad():
            layer.weight.fill_(value)
        average.update(layer)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    average.swap(layer)
    assert float(layer.weight.detach()) == pytest.approx(expected, abs=1e-6)
    average.swap(layer)
    assert float(layer.weight.detach()) == -2.0


@pytest.mark.parametrize("steps", [1, 5, 30])
def test_the_first_weights_are_forgotten_as_fast_as_the_docstring_says(steps: int) -> None:
    layer = torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.ones_(layer.weight)
    average = ModelEma(layer, decay=0.9999)
    torch.nn.init.zeros_(layer.weight)
    for _ in range(steps):
        average.update(layer)
    left = math.factorial(10) * math.factorial(steps + 1) / math.factorial(steps + 10)
    assert float(average.average["weight"]) == pytest.approx(left, rel=1e-9)
    assert left < math.factorial(10) / steps**9


def test_state_round_trip() -> None:
    layer = torch.nn.Linear(2, 2)
    first = ModelEma(layer, decay=0.5)
    with torch.no_grad():
        layer.weight.add_(1.0)
    first.update(layer)
    second = ModelEma(layer, decay=0.5)
    second.load_state_dict(first.state_dict())
    assert second.step == 1
    assert torch.equal(first.average["weight"], second.average["weight"])


def test_the_averages_take_the_networks_memory_layout() -> None:
    layer = torch.nn.Conv2d(3, 4, 3)
    average = ModelEma(layer, decay=0.5)
    layer.to(memory_format=torch.channels_last)
    assert average.average["weight"].stride() != layer.weight.stride()
    before = average.average["weight"].clone()
    average.follow(layer)
    assert average.average["weight"].stride() == layer.weight.stride()
    assert torch.equal(average.average["weight"], before)
