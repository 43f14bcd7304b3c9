"""ArcFace and CosFace: the mathematics, finite gradients, the schedule and its limit."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from shopsight.config.loss_settings import MetricSettings
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.config.training_settings import TrainingSettings
from shopsight.errors import ConfigError
from shopsight.models.heads import CosineHead
from shopsight.training.margins import (
    MarginObjective,
    arcface_cosine,
    check_margin,
    largest_margin,
    margin_of,
)

ARCFACE = """
[training]
mode = "finetune"
loss = "arcface"
epochs = 10
[model.head]
kind = "cosine"
scale = 30.0
learned_scale = false
"""


def head_of(classes: int = 5, **changes: Any) -> CosineHead:
    torch.manual_seed(0)
    return CosineHead(8, classes, scale=30.0, learned_scale=False, **changes)


def objective(head: CosineHead, loss: Any = "arcface", **metric: Any) -> MarginObjective:
    settings = TrainingSettings(loss=loss)
    return MarginObjective(settings, MetricSettings(**metric), head, None)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.8, 1.5])
def test_the_angle_is_turned_by_the_margin_and_always_falls(margin: float) -> None:
    angle = torch.linspace(0.01, math.pi - 0.01, 2000, dtype=torch.float64)
    turned = arcface_cosine(angle.cos(), margin)
    within = angle < math.pi - margin
    torch.testing.assert_close(turned[within], (angle[within] + margin).cos())
    assert (turned.diff() < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("loss", ["arcface", "cosface"])
def test_gradients_are_finite_where_an_image_lies_on_its_class_or_opposite(
    dtype: torch.dtype, loss: str
) -> None:
    head = head_of()
    objective_of = objective(head, loss)
    for sign in (1.0, -1.0):
        embedding = (sign * 3.0 * head.weight.detach()).to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
            logits = head(embedding)
            assert logits.dtype == torch.float32
            value = objective_of(embedding, logits, torch.eye(5))
        value.backward()
        assert torch.isfinite(value)
        assert embedding.grad is not None
        assert torch.isfinite(embedding.grad).all()
        assert head.weight.grad is not None
        assert torch.isfinite(head.weight.grad).all()


def test_without_a_margin_it_is_cross_entropy() -> None:
    head, embedding = head_of(), torch.randn(6, 8)
    target = functional.one_hot(torch.tensor([0, 1, 2, 3, 4, 0]), 5).float()
    logits = head(embedding)
    expected = functional.cross_entropy(logits, target)
    for loss in ("arcface", "cosface"):
        found = objective(head, loss, margin=0.0)(embedding, logits, target)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_margin_lowers_the_right_class_alone() -> None:
    head, embedding = head_of(), torch.randn(1, 8)
    logits = head(embedding)
    angle = (logits[0, 2] / 30.0).acos()
    moved = logits.clone()
    moved[0, 2] = 30.0 * (angle + 0.3).cos()
    target = functional.one_hot(torch.tensor([2]), 5).float()
    expected = functional.cross_entropy(moved, target)
    torch.testing.assert_close(objective(head, margin=0.3)(embedding, logits, target), expected)
    moved[0, 2] = logits[0, 2] - 30.0 * 0.35
    expected = functional.cross_entropy(moved, target)
    cosface = objective(head, "cosface", margin=0.35)
    torch.testing.assert_close(cosface(embedding, logits, target), expected)


def test_smoothing_and_a_learned_scale_go_with_a_margin() -> None:
    head = CosineHead(8, 5, scale=30.0)
    settings = TrainingSettings(loss="arcface", label_smoothing=0.1)
    smoothed = MarginObjective(settings, MetricSettings(), head, None)
    logits = head(torch.randn(4, 8))
    smoothed(torch.zeros(4, 8), logits, torch.eye(5)[:4]).backward()
    assert head.log_scale.grad is not None
    assert float(head.log_scale.grad) != 0.0


def test_the_mean_angle_to_the_right_class_is_measured() -> None:
    head = CosineHead(2, 2, scale=30.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    embedding = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    found = objective(head, margin=0.4)
    margin, angle = found.measure(embedding, head(embedding), torch.eye(2)).tolist()
    assert found.figures == ("margin", "target_angle_deg")
    assert margin == pytest.approx(0.4)
    assert angle == pytest.approx(22.5, abs=0.02)


def test_the_margin_grows_by_epochs_up_to_its_most() -> None:
    settings = MetricSettings(margin=0.3, margin_step=0.05)
    margins = [margin_of("arcface", settings, epoch) for epoch in range(20)]
    assert margins[:3] == pytest.approx([0.3, 0.35, 0.4])
    assert margins[10:] == pytest.approx([0.8] * 10)
    assert margin_of("cosface", MetricSettings(), 7) == 0.2
    growing = objective(head_of(), margin=0.3, margin_step=0.05)
    growing.begin_epoch(4)
    assert growing.margin == pytest.approx(0.5)


def test_the_largest_margin_leaves_an_image_on_its_class_half_of_the_probability() -> None:
    classes, scale = 10_300, 30.0
    for loss, logit in (("arcface", math.cos), ("cosface", lambda m: 1.0 - m)):
        margin = largest_margin(loss, scale=scale, num_classes=classes)
        right = math.exp(scale * logit(margin))
        assert right / (right + classes - 1) == pytest.approx(0.5)
    assert largest_margin("arcface", scale=30.0, num_classes=2) == pytest.approx(math.pi / 2)
    assert largest_margin("arcface", scale=4.0, num_classes=10_300) == 0.0


def test_a_margin_that_grows_past_what_the_loss_allows_is_refused_with_the_number() -> None:
    recipe = parse_recipe(ARCFACE, overrides=["metric.margin=0.3", "metric.margin_step=0.05"])
    check_margin(recipe, num_classes=10_300)
    far = recipe.replace(metric={"margin_most": 1.5, "margin_step": 0.2})
    with pytest.raises(ConfigError) as caught:
        check_margin(far, num_classes=10_300)
    assert caught.value.where == "metric.margin_most"
    assert "the margin of arcface is 1.3 in epoch 6, but 10,300 classes" in caught.value.what
    assert "at scale 30 allow less than 1.26" in caught.value.what
    assert "--set metric.margin_most=1.13" in str(caught.value.fix)
    small = far.replace(model={"head": {"scale": 8.0}})
    with pytest.raises(ConfigError, match="allow less than 0:") as caught:
        check_margin(small, num_classes=10_300)
    assert caught.value.where == "metric.margin"
    fixed = small.replace(model={"head": {"scale": 19.0}}, metric={"margin_most": 0.9})
    check_margin(fixed, num_classes=10_300)


def test_of_several_directions_of_a_class_the_nearest_counts() -> None:
    head = head_of(3, subcenters=4)
    embedding = torch.randn(6, 8)
    cosines = functional.cosine_similarity(embedding[:, None], head.weight[None], dim=2)
    expected = 30.0 * cosines.view(6, 3, 4).amax(2)
    torch.testing.assert_close(head(embedding), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.head.kind=linear", r"needs model\.head\.kind = 'cosine'"),
        ("augment.mixup=0.2", r"does not go with augment\.mixup"),
        ("training.loss=proxy-anchor,training.label_smoothing=0.1", "has no training.label_smooth"),
        ("training.loss=supcon,model.head.subcenters=2", r"has no model\.head\.subcenters"),
        ("training.loss=supcon,training.class_weights=balanced", r"has no training\.class_weights"),
        ("training.loss=supcon,training.mode=frozen", "nothing to train"),
        ("training.loss=cross-entropy,model.head.kind=linear,model.head.subcenters=2", "has none"),
    ],
)
def test_settings_that_contradict_a_metric_loss(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(ARCFACE, overrides=change.split(","))
    assert parse_recipe(ARCFACE).training.loss == "arcface"


def test_a_recipe_with_a_metric_is_read_back() -> None:
    recipe = parse_recipe(ARCFACE, overrides=["metric.margin=0.5"])
    assert parse_recipe(recipe.to_toml()) == recipe
    assert Recipe().metric.margin is None
