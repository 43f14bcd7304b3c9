from __future__ import annotations

from dataclasses import fields

from shopsight.read_options import ReadOptions
from tests.fuzz.budget import INPUTS
from tests.fuzz.options import values_of


def test_two_thousand_inputs_of_which_a_hundred_are_trained_on() -> None:
    trained = sum(count for kind, count in INPUTS.items() if kind.startswith("train"))
    assert (sum(INPUTS.values()), trained) == (2000, 100)


def test_every_flag_of_data_is_tried_with_several_values() -> None:
    untried = [one.name for one in fields(ReadOptions) if not all(values_of(one.name))]
    assert untried == []
