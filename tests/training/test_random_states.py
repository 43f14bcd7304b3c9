"""The random generators continue where they were."""

import random

import numpy as np
import pytest
import torch

from shopsight.training.random_states import random_states, restore_random_states

CPU = torch.device("cpu")


def numbers() -> list[float]:
    """From all generators, odd counts of normal numbers, of which they make pairs."""
    normal = [random.gauss(0, 1), float(np.random.normal()), float(torch.randn(()))]
    return [*normal, random.random(), float(np.random.rand()), float(torch.rand(()))]


@pytest.mark.parametrize("before", [0, 1, 2])
def test_restored_generators_draw_the_same_numbers(before: int) -> None:
    for _ in range(before):
        numbers()
    states = random_states(CPU)
    expected = [numbers() for _ in range(3)]
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    # As a process takes its own from those of all.
    tables = {name: torch.stack([state, state]) for name, state in states.items()}
    restore_random_states({name: table[1] for name, table in tables.items()}, CPU)
    assert [numbers() for _ in range(3)] == expected


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("numpy", torch.tensor([*range(624), 1_000_000])),
        ("numpy", torch.tensor([*range(624), -5])),
        ("numpy", torch.tensor([*range(5), 3])),
        ("numpy", torch.tensor(3)),
        ("torch", torch.full((5056,), 255, dtype=torch.uint8)),
        ("torch", torch.zeros(3, dtype=torch.uint8)),
        ("python", torch.tensor([*range(624), 1_000_000])),
    ],
)
def test_what_is_no_state_is_refused(name: str, state: torch.Tensor) -> None:
    """NumPy would read the memory behind its words."""
    states = random_states(CPU)
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        restore_random_states(states | {name: state}, CPU)
    restore_random_states(states, CPU)


def test_states_have_the_same_shapes_in_every_process() -> None:
    """They are gathered over processes, whose generators may differ in what they hold."""
    first = {name: (state.shape, state.dtype) for name, state in random_states(CPU).items()}
    numbers()
    second = {name: (state.shape, state.dtype) for name, state in random_states(CPU).items()}
    assert first == second
