"""The average of the weights."""

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
