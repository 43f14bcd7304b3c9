from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from shopsight.head_settings import HeadKind, HeadSettings
from shopsight.models.heads import CosineHead, create_head, divide_logits


@pytest.mark.parametrize("kind", get_args(HeadKind))
def test_every_head_gives_a_logit_per_class(kind: HeadKind) -> None:
    head = create_head(HeadSettings(kind=kind, hidden_dim=16), embedding_dim=12, num_classes=5)
    logits = head(torch.randn(3, 12))
    assert logits.shape == (3, 5)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("kind", get_args(HeadKind))
def test_logits_are_divided_by_a_temperature(kind: HeadKind) -> None:
    head = create_head(HeadSettings(kind=kind), embedding_dim=8, num_classes=3).eval()
    embedding = torch.randn(5, 8)
    before = head(embedding)
    divide_logits(head, 1.7)
    torch.testing.assert_close(head(embedding), before / 1.7)


def test_mlp_is_twice_linear_batchnorm_relu_dropout() -> None:
    head = create_head(HeadSettings(kind="mlp"), embedding_dim=512, num_classes=19)
    kinds = [type(layer) for layer in head.hidden]  # type: ignore[union-attr]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout] * 2
    assert [layer.p for layer in head.modules() if isinstance(layer, nn.Dropout)] == [0.4, 0.5]


def test_cosine_logits_ignore_the_length_of_the_embedding() -> None:
    head = CosineHead(8, 3, scale=10.0).eval()
    embedding = torch.randn(4, 8)
    expected = 10.0 * torch.nn.functional.cosine_similarity(
        embedding[:, None], head.weight[None], dim=2
    )
    torch.testing.assert_close(head(embedding), expected)
    torch.testing.assert_close(head(embedding * 7), expected)
