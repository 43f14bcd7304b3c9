"""Contrastive losses against a slow reference, whole and in chunks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shopsight.training.contrastive_loss import Kind, Meaning, contrastive_gradients

KINDS: list[Kind] = ["softmax", "sigmoid"]


def unit(count: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return functional.normalize(vectors, dim=1)


def slow(images: Tensor, texts: Tensor, belongs: list[list[bool]], s: Tensor, b: Tensor,
         kind: Kind) -> Tensor:  # fmt: skip
    """The definition, pair by pair, in float64."""
    count = len(images)
    total = torch.zeros((), dtype=torch.float64)
    logit = [[s.exp() * (images[i] @ texts[j]) for j in range(count)] for i in range(count)]
    if kind == "sigmoid":
        for i in range(count):
            for j in range(count):
                sign = 1.0 if belongs[i][j] else -1.0
                total = total - torch.log(1 / (1 + torch.exp(-sign * (logit[i][j] + b))))
        return total / count
    for i in range(count):
        row = torch.stack(logit[i])
        column = torch.stack([logit[j][i] for j in range(count)])
        for one in (row, column):
            p = one.exp() / one.exp().sum()
            terms = [-torch.log(p[j]) for j in range(count) if belongs[i][j]]
            total = total + sum(terms, torch.zeros(())) / len(terms) / 2
    return total / count


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 3, 7, None])
def test_loss_and_gradients_are_those_of_the_definition(kind: Kind, chunk: int | None) -> None:
    labels, captions = [0, 1, 0, 2, 3, 3, 4], [9, 8, 7, 6, 5, 4, 8]
    belongs = [
        [labels[i] == labels[j] or captions[i] == captions[j] for j in range(7)] for i in range(7)
    ]
    assert sum(map(sum, belongs)) == 7 + 3 * 2
    values = [unit(7, 5, 0), unit(7, 5, 1), torch.tensor(1.5, dtype=torch.float64),
              torch.tensor(-2.0, dtype=torch.float64)]  # fmt: skip
    leaves = [value.clone().requires_grad_() for value in values]
    wanted = slow(leaves[0], leaves[1], belongs, leaves[2], leaves[3], kind)
    wanted.backward()
    meaning = Meaning(torch.tensor(labels), torch.tensor(captions))
    found = contrastive_gradients(*values[:2], meaning, *values[2:], kind=kind, chunk=chunk)
    assert found.loss == pytest.approx(float(wanted.detach()), rel=1e-6)
    for ours, leaf in zip((found.images, found.texts, found.log_scale, found.bias), leaves,
                          strict=True):  # fmt: skip
        theirs = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
        assert (ours - theirs).abs().max() <= 3e-6 * theirs.abs().max().clamp(min=1e-3)


def test_distinct_labels_make_it_clips_loss() -> None:
    images, texts, scale = unit(6, 4, 2).float(), unit(6, 4, 3).float(), torch.tensor(2.0)
    meaning = Meaning(torch.arange(6), torch.arange(6))
    logits = scale.exp() * images @ texts.T
    wanted = (functional.cross_entropy(logits, torch.arange(6))
              + functional.cross_entropy(logits.T, torch.arange(6))) / 2  # fmt: skip
    found = contrastive_gradients(images, texts, meaning, scale, torch.zeros(()), kind="softmax")
    assert found.loss == pytest.approx(float(wanted.detach()), rel=1e-6)
    assert int(found.right) == int((logits.argmax(1) == torch.arange(6)).sum())


def test_a_batch_of_one_label_is_no_error() -> None:
    meaning = Meaning(torch.zeros(4, dtype=torch.int64), torch.arange(4))
    for kind in KINDS:
        found = contrastive_gradients(unit(4, 3, 4), unit(4, 3, 5), meaning, torch.tensor(1.0),
                                      torch.tensor(0.0), kind=kind)  # fmt: skip
        assert torch.isfinite(found.images).all()
        assert int(found.right) == 4
