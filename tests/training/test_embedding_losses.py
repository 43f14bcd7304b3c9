"""Losses of embeddings: against slow references, with proxies that are the head's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shopsight.config.loss_settings import MetricSettings
from shopsight.config.recipe import Recipe
from shopsight.models.heads import CosineHead
from shopsight.training.create_objective import create_objective
from shopsight.training.objective import Objective
from shopsight.training.pairs import PairObjective, summed_directions
from shopsight.training.proxies import ProxyObjective

pytest.importorskip("pytorch_metric_learning")
LABELS = torch.tensor([0, 0, 1, 2, 2, 2])
TARGET = functional.one_hot(LABELS, 4).float()
ALL = ["softtriple", "proxy-anchor", "proxy-nca", "supcon", "multi-similarity"]


def made(loss: str, *, subcenters: int = 1) -> tuple[CosineHead, Tensor, Objective]:
    torch.manual_seed(0)
    recipe = Recipe().replace(
        training={"mode": "finetune", "loss": loss},
        model={"head": {"kind": "cosine", "subcenters": subcenters}},
    )
    head = CosineHead(8, 4, scale=20.0, subcenters=subcenters)
    embedding = torch.randn(6, 8, requires_grad=True)
    return head, embedding, create_objective(recipe, head, class_weights=None)


def cosines(head: CosineHead, embedding: Tensor) -> Tensor:
    return functional.normalize(embedding, dim=1) @ functional.normalize(head.weight, dim=1).T


def softtriple(head: CosineHead, embedding: Tensor) -> Tensor:
    """The mean over centers, weighted by how near they are; then a margin and cross-entropy."""
    near = cosines(head, embedding).view(6, 4, -1)
    similar = (functional.softmax(near / 0.1, dim=2) * near).sum(2)
    return functional.cross_entropy(20.0 * (similar - 0.01 * TARGET), LABELS)


def proxy_anchor(head: CosineHead, embedding: Tensor) -> Tensor:
    cosine = cosines(head, embedding)
    pull, push = torch.zeros(()), torch.zeros(())
    for label in range(4):
        own = label == LABELS
        pull = pull + torch.log1p(torch.exp(-32.0 * (cosine[own, label] - 0.1)).sum())
        push = push + torch.log1p(torch.exp(32.0 * (cosine[~own, label] + 0.1)).sum())
    return pull / 3 + push / 4


def proxy_nca(head: CosineHead, embedding: Tensor) -> Tensor:
    return functional.cross_entropy(20.0 * cosines(head, embedding), LABELS)


@pytest.mark.parametrize(
    ("loss", "reference", "subcenters"),
    [
        ("softtriple", softtriple, 3),
        ("proxy-anchor", proxy_anchor, 1),
        ("proxy-nca", proxy_nca, 1),
    ],
)
def test_proxies_are_the_heads_directions(loss: str, reference: Any, subcenters: int) -> None:
    head, embedding, objective = made(loss, subcenters=subcenters)
    assert isinstance(objective, ProxyObjective)
    value = objective(embedding, head(embedding), TARGET)
    expected = reference(head, embedding)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    value.backward()
    found = head.weight.grad
    assert found is not None
    (wanted,) = torch.autograd.grad(expected, head.weight)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
    assert dict(objective.named_parameters()) == {}
    assert not head.log_scale.requires_grad


def test_the_supervised_contrastive_loss_of_two_pairs() -> None:
    head, embedding, objective = made("supcon")
    value = objective(embedding, head(embedding), TARGET)
    unit = functional.normalize(embedding, dim=1)
    scores = (unit @ unit.T / 0.1).masked_fill(torch.eye(6, dtype=torch.bool), -math.inf)
    log_share = functional.log_softmax(scores, dim=1)
    terms = [
        -log_share[row, other].mean()
        for row in range(6)
        if (other := (LABELS[row] == LABELS) & (torch.arange(6) != row)).any()
    ]
    torch.testing.assert_close(value, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ALL)
def test_one_batch_in_bf16_leaves_master_weights_in_fp32(loss: str) -> None:
    head, embedding, objective = made(loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = embedding.bfloat16()
        value = objective(low, head(low), TARGET)
    value.backward()
    assert value.dtype == torch.float32
    assert head.weight.dtype == torch.float32
    assert head.weight.is_leaf
    assert embedding.grad is not None
    assert torch.isfinite(embedding.grad).all()


def test_the_head_of_a_pair_loss_is_the_mean_direction_of_each_class() -> None:
    head, embedding, objective = made("supcon")
    assert isinstance(objective, PairObjective)
    before = head.weight.detach().clone()
    objective.begin_epoch(0)
    for _ in range(2):
        objective(embedding, head(embedding), TARGET)
    objective.finish_epoch(lambda total: total)
    unit = functional.normalize(embedding.detach(), dim=1)
    means = torch.stack([unit[label == LABELS].mean(0) for label in range(3)])
    torch.testing.assert_close(head.weight[:3], functional.normalize(means, dim=1))
    torch.testing.assert_close(head.weight[3], before[3])  # a class that no batch had
    sums = summed_directions(embedding.detach().numpy(), np.asarray(LABELS), head)
    torch.testing.assert_close(functional.normalize(sums[:3], dim=1), head.weight[:3])
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_images_without_a_pair_are_counted() -> None:
    head, embedding, objective = made("multi-similarity")
    assert objective.figures == ("images_with_a_pair",)
    (share,) = objective.measure(embedding, head(embedding), TARGET).tolist()
    assert share == pytest.approx(5 / 6)


def test_a_batch_without_any_pair_has_a_gradient_of_zero() -> None:
    head, embedding, objective = made("multi-similarity")
    alone = torch.eye(4)[[0, 1, 2, 3, 0, 1]][:4]
    value = objective(embedding[:1], head(embedding[:1]), alone[:1])
    value.backward()
    assert embedding.grad is not None
    assert not embedding.grad.any()


def test_a_contrastive_loss_of_pairs_is_added_to_that_of_proxies() -> None:
    head, embedding, plain = made("softtriple")
    both = ProxyObjective("softtriple", MetricSettings(contrastive=0.5, base=0.1), head)
    added = both(embedding, head(embedding), TARGET) - plain(embedding, head(embedding), TARGET)
    unit = functional.normalize(embedding, dim=1)
    cosine = unit @ unit.T
    same = (LABELS[:, None] == LABELS) & ~torch.eye(6, dtype=torch.bool)
    pull = 1.0 - cosine[same]
    push = (cosine[LABELS[:, None] != LABELS] - 0.1).clamp_min(0.0)
    expected = 0.5 * (pull[pull > 0].mean() + push[push > 0].mean())
    torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-5)


def test_numbers_of_a_loss_are_the_recipes() -> None:
    head = CosineHead(8, 4, scale=20.0)
    sharp = PairObjective("supcon", MetricSettings(temperature=0.5), head)
    assert sharp.loss.temperature == 0.5
    proxy = ProxyObjective("proxy-anchor", MetricSettings(alpha=7.0, margin=0.3), head)
    assert (proxy._losses[0].alpha, proxy._losses[0].margin) == (7.0, 0.3)
