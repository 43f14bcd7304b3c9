"""The gradient of a step in parts against that of the whole batch, with dropout."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shopsight.training.cached_gradients import Vectors, cached_backward
from shopsight.training.contrastive_loss import Kind, Meaning, contrastive_gradients

DEVICE = torch.device("cpu")


class Tower(nn.Module):
    """A small transformer with dropout and layer norm."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.3, batch_first=True)
        self.out = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(self.out(self.layer(x).mean(1)), dim=1)


def whole_gradient(
    towers: list[Tower], inputs: list[Tensor], meaning: Meaning, scale: Tensor, part: int,
    kind: Kind, seed: int,
) -> tuple[float, list[Tensor]]:  # fmt: skip
    """By autograd through one graph of all parts, whose dropout is that of `cached`."""
    torch.manual_seed(seed)
    vectors = [[], []]  # type: list[list[Tensor]]
    for start in range(0, len(inputs[0]), part):
        for number, tower in enumerate(towers):
            vectors[number].append(tower(inputs[number][start : start + part]))
    x, t = (torch.cat(one) for one in vectors)
    logits = scale.exp() * x @ t.T
    belongs = meaning.positives(0, len(x))
    if kind == "sigmoid":
        loss = -functional.logsigmoid((belongs * 2.0 - 1) * logits).sum() / len(x)
    else:
        target = belongs / belongs.sum(1, keepdim=True)
        loss = (functional.cross_entropy(logits, target)
                + functional.cross_entropy(logits.T, target)) / 2  # fmt: skip
    return float(loss.detach()), list(torch.autograd.grad(loss, [*parameters(towers), scale]))


def parameters(towers: list[Tower]) -> list[nn.Parameter]:
    return [one for tower in towers for one in tower.parameters()]


def cached(
    towers: list[Tower], inputs: list[Tensor], meaning: Meaning, scale: Tensor, part: int,
    kind: Kind, seed: int,
) -> list[Tensor]:  # fmt: skip
    torch.manual_seed(seed)
    passes = []

    def encode(number: int) -> Vectors:
        rows = slice(number * part, (number + 1) * part)
        passes.append(number)
        return tuple(tower(one[rows]) for tower, one in zip(towers, inputs, strict=True))

    def gradients_of(vectors: Vectors) -> tuple[Vectors, Tensor]:
        found = contrastive_gradients(*vectors, meaning, scale, torch.zeros(()), kind=kind)
        return (found.images, found.texts), found.log_scale * scale

    for one in [*parameters(towers), scale]:
        one.grad = None
    parts = -(-len(inputs[0]) // part)
    cached_backward(encode, parts, gradients_of, lambda loss, _last: loss.backward(),
                    device=DEVICE)  # fmt: skip
    assert len(passes) == (1 if parts == 1 else 2 * parts)
    return [one.grad for one in [*parameters(towers), scale] if one.grad is not None]


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("part", [1, 7, 16, 48])
def test_the_gradient_is_that_of_the_whole_batch(kind: Kind, part: int) -> None:
    towers = [Tower(0).train(), Tower(1).train()]
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(48, 5, 16, generator=generator) for _ in range(2)]
    labels = torch.randint(0, 20, (48,), generator=generator)
    meaning = Meaning(labels, torch.arange(48))
    scale = torch.tensor(2.0, requires_grad=True)
    _, wanted = whole_gradient(towers, inputs, meaning, scale, part, kind, seed=3)
    found = cached(towers, inputs, meaning, scale, part, kind, seed=3)
    assert relative_error(found, wanted) < 1e-6
    # The random numbers that follow are those that would have followed.
    after = torch.rand(3)
    whole_gradient(towers, inputs, meaning, scale, part, kind, seed=3)
    assert torch.equal(after, torch.rand(3))
    # Without the same dropout in both passes it would be another gradient.
    _, other = whole_gradient(towers, inputs, meaning, scale, part, kind, seed=4)
    assert relative_error(found, other) > 0.1


def relative_error(found: list[Tensor], wanted: list[Tensor]) -> float:
    difference = torch.cat([(a - b).flatten() for a, b in zip(found, wanted, strict=True)])
    return float(difference.norm() / torch.cat([one.flatten() for one in wanted]).norm())


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_both_batches(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.contrastive_ranks", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    errors = json.loads(done.stdout.splitlines()[-1])
    assert sorted(errors) == ["sigmoid", "softmax"]
    assert all(error < 1e-6 for error in errors.values()), errors
