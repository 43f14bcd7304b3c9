"""Parameter groups and learning-rate schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shopsight.config.optimizer_settings import OptimizerSettings, ScheduleSettings
from shopsight.training.optim import create_optimizer, parameter_groups, schedule_factor


class TwoStages(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Linear(3, 4)
        self.top = torch.nn.Linear(4, 5)


STAGES = (("stem.weight", "stem.bias"), ("top.weight", "top.bias"))


def rate_of(groups: list[dict[str, object]], wanted: torch.Tensor) -> tuple[float, float]:
    for group in groups:
        if any(parameter is wanted for parameter in group["params"]):  # type: ignore[attr-defined]
            return group["lr"], group["weight_decay"]  # type: ignore[return-value]
    raise AssertionError("not in any group")


def test_rates_fall_towards_the_input_and_biases_do_not_decay() -> None:
    body, head = TwoStages(), torch.nn.Linear(5, 2)
    settings = OptimizerSettings(lr=0.1, layer_decay=0.5, head_lr_factor=10, weight_decay=0.03)
    groups = parameter_groups(body, STAGES, head.parameters(), settings)
    assert rate_of(groups, body.stem.weight) == (0.05, 0.03)
    assert rate_of(groups, body.stem.bias) == (0.05, 0.0)
    assert rate_of(groups, body.top.weight) == (0.1, 0.03)
    assert rate_of(groups, head.weight) == (1.0, 0.03)


def test_frozen_parameters_are_left_out() -> None:
    body, head = TwoStages(), torch.nn.Linear(5, 2)
    body.stem.requires_grad_(False)
    groups = parameter_groups(body, STAGES, head.parameters(), OptimizerSettings())
    members = [parameter for group in groups for parameter in group["params"]]
    assert len(members) == 4
    assert all(parameter is not body.stem.weight for parameter in members)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_each_optimizer_lowers_a_loss(name: str) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(5, 1)
    settings = OptimizerSettings.model_validate({"name": name, "lr": 0.01})
    optimizer = create_optimizer(
        parameter_groups(torch.nn.Module(), (), head.parameters(), settings), settings
    )
    x = torch.randn(16, 5)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (head(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_schedules_at_known_points() -> None:
    def at(step: int, **settings: object) -> float:
        schedule = ScheduleSettings.model_validate(settings)
        return schedule_factor(schedule, steps_per_epoch=10, epochs=20)(step)

    assert at(150, name="constant") == 1.0
    assert at(0, name="cosine") == 1.0
    assert at(100, name="cosine") == pytest.approx(0.5)
    assert at(200, name="cosine", final_factor=0.1) == pytest.approx(0.1)
    assert at(100, name="linear", final_factor=0.1) == pytest.approx(0.55)
    assert at(99, name="step", step_epochs=10, gamma=0.1) == 1.0
    assert at(100, name="step", step_epochs=10, gamma=0.1) == pytest.approx(0.1)
    assert at(25, name="exponential", gamma=0.8) == pytest.approx(0.8**2.5)
    assert at(25, name="exponential", gamma=0.8, per="epoch") == pytest.approx(0.8**2)
    assert at(4, name="cosine", warmup_epochs=1.0) == pytest.approx(0.5)
    assert at(109, name="linear", per="epoch") == at(100, name="linear", per="epoch")
    # 200 steps: all of the rate, or half of it where four times as many have all of it.
    assert at(100, name="cosine", full_rate_steps=200) == pytest.approx(0.5)
    assert at(100, name="cosine", full_rate_steps=800) == pytest.approx(0.25)
    assert at(4, name="cosine", warmup_epochs=1.0, full_rate_steps=800) == pytest.approx(0.25)


@given(
    st.sampled_from(["constant", "cosine", "linear", "step", "exponential"]),
    st.sampled_from(["step", "epoch"]),
    st.floats(0, 3),
    st.integers(1, 7),
    st.integers(1, 9),
)
def test_factors_stay_between_zero_and_one(
    name: str, per: str, warmup: float, steps: int, epochs: int
) -> None:
    settings = ScheduleSettings.model_validate({"name": name, "per": per, "warmup_epochs": warmup})
    factor = schedule_factor(settings, steps_per_epoch=steps, epochs=epochs)
    values = [factor(step) for step in range(steps * epochs + 1)]
    assert all(0.0 <= value <= 1.0 and math.isfinite(value) for value in values)
    first = round(warmup * steps)
    assert values[first:] == sorted(values[first:], reverse=True)
