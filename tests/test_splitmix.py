from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shopsight.splitmix import GOLDEN_GAMMA, mix64, mix64_int

# The first numbers of the reference implementation (Vigna 2015, splitmix64.c) for seed 1234567.
REFERENCE = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]


def test_the_reference_sequence_comes_out() -> None:
    states = [1234567 + (1 + step) * GOLDEN_GAMMA for step in range(len(REFERENCE))]
    assert [mix64_int(state) for state in states] == REFERENCE


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_arrays_and_integers_are_mixed_alike(values: list[int]) -> None:
    mixed = mix64(np.array(values, np.uint64))
    assert mixed.tolist() == [mix64_int(value) for value in values]
    assert mixed.dtype == np.uint64
