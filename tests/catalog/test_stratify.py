from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Int64

from shopsight.catalog.stratify import Units, divide, gather_units


def units_of(labels: list[int], links: list[list[int]], *, salt: str = "0") -> Units:
    rows = np.arange(len(labels))
    return gather_units(
        [f"{row}.jpg" for row in rows],
        rows,
        np.array(labels, np.int64),
        num_labels=max(labels) + 2,
        links=[np.array(link, np.int64) for link in links],
        salt=salt,
    )


def test_units_are_connected_components() -> None:
    units = units_of([0, 0, 1, 1, 0], [[0, 0, -1, -1, -1], [-1, 5, 5, -1, -1]])
    assert len(units.size) == 3
    of_row = units.of_row
    assert of_row[0] == of_row[1] == of_row[2]
    assert len({of_row[0], of_row[3], of_row[4]}) == 3
    tied = of_row[0]
    begin, end = units.start[tied], units.start[tied + 1]
    assert dict(zip(units.label[begin:end], units.count[begin:end], strict=True)) == {0: 2, 1: 1}
    assert units.units_of_label().tolist() == [2, 2, 0]


def test_the_salt_decides_the_order() -> None:
    first, again, other = (units_of([0] * 20, [], salt=salt).of_row for salt in ("a", "a", "b"))
    assert (first == again).all()
    assert (first != other).any()
    assert sorted(first) == list(range(20))


def parts_of_labels(units: Units, part: Int64[np.ndarray, "u"]) -> list[list[int]]:
    owner = np.repeat(part, np.diff(units.start))
    return [
        np.bincount(units.label[owner == p], units.count[owner == p], units.num_labels)
        .astype(int)
        .tolist()
        for p in range(int(part.max()) + 1)
    ]


def test_large_units_do_not_spoil_the_shares() -> None:
    # One unit of 60, one of 20, and 120 lone rows, all of one class.
    link = [0] * 60 + [1] * 20 + [-1] * 120
    units = units_of([0] * 200, [link])
    part = divide(units, [0.8, 0.1, 0.1])
    assert part is not None
    assert [row[0] for row in parts_of_labels(units, part)] == [160, 20, 20]


def test_a_unit_larger_than_a_part_goes_where_it_fits() -> None:
    units = units_of([0] * 100, [[0] * 70 + [-1] * 30])
    part = divide(units, [0.1, 0.1, 0.8])
    assert part is not None
    assert [row[0] for row in parts_of_labels(units, part)] == [10, 10, 80]


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_alike_units_are_handed_out_evenly(folds: int) -> None:
    link = [row // 4 for row in range(4 * 42)]
    units = units_of([row // 4 % 3 for row in range(4 * 42)], [link])
    part = divide(units, [1 / folds] * folds)
    assert part is not None
    for row in parts_of_labels(units, part):
        assert max(row[:3]) - min(row[:3]) <= 4


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=20, max_size=120),
    st.sampled_from([[0.8, 0.1, 0.1], [0.5, 0.5], [0.25] * 4]),
)
def test_every_class_is_everywhere_or_the_answer_is_none(
    rows: list[tuple[int, int]], shares: list[float]
) -> None:
    units = units_of([label for label, _ in rows], [[link for _, link in rows]])
    part = divide(units, shares)
    present = units.units_of_label()[:-1] > 0
    if part is None:
        return
    assert (part >= 0).all()
    table = np.array(parts_of_labels(units, part))[:, :-1]
    assert (table[:, present] > 0).all()


def test_too_few_units_of_a_class_give_none() -> None:
    assert divide(units_of([0, 0, 1] + [0] * 10, []), [0.5, 0.5]) is None
