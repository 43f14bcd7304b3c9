from __future__ import annotations

import torch

from shopsight.training.lion import Lion


def test_steps_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, 3))
    optimizer = Lion([weight], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    expected, average = weight.detach().clone(), torch.zeros(5, 3)
    for _ in range(4):
        gradient = torch.randn(5, 3)
        weight.grad = gradient.clone()
        optimizer.step()
        step = torch.sign(0.9 * average + 0.1 * gradient)
        expected = expected - 0.01 * (step + 0.1 * expected)
        average = 0.99 * average + 0.01 * gradient
        torch.testing.assert_close(weight.detach(), expected)


def test_a_weight_without_a_gradient_stands_still_and_state_is_restored() -> None:
    still, moved = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = Lion([still, moved], lr=0.1)
    moved.grad = torch.tensor([1.0, -1.0])
    optimizer.step()
    assert still.tolist() == [1.0, 1.0]
    torch.testing.assert_close(moved.detach(), torch.tensor([0.9, 1.1]))
    other = Lion([still, moved], lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    torch.testing.assert_close(other.state[moved]["average"], 0.01 * moved.grad)
