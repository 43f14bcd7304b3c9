from __future__ import annotations

import doctest

from shopsight import text


def test_examples() -> None:
    found = doctest.testmod(text)
    assert found.attempted >= 5
    assert found.failed == 0


def test_numbers() -> None:
    assert text.percent_text(float("nan")) == text.decimal_text(None) == "\N{EN DASH}"
    times = [text.duration_text(seconds) for seconds in (0.25, 42, 75, 3599.7, 5160)]
    assert times == ["0.2 s", "42 s", "1 min 15 s", "1 h 0 min", "1 h 26 min"]
