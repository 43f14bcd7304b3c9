"""Units get into parts by their fractions, close to the best of all assignments."""

from __future__ import annotations

import hashlib
from itertools import groupby, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float64, Int64

from shopsight.catalog.part_assignment import COVER_ATTEMPTS
from shopsight.catalog.stratify import divide, divide_with_repairs
from shopsight.catalog.units import Units, gather_units
from shopsight.splitmix import mix64


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


def test_large_units_do_not_spoil_the_fractions() -> None:
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
def test_every_class_is_in_every_part_or_the_result_is_none(
    rows: list[tuple[int, int]], fractions: list[float]
) -> None:
    units = units_of([label for label, _ in rows], [[link for _, link in rows]])
    part = divide(units, fractions)
    present = units.units_of_label()[:-1] > 0
    if part is None:
        return
    assert (part >= 0).all()
    table = np.array(parts_of_labels(units, part))[:, :-1]
    assert (table[:, present] > 0).all()


def test_too_few_units_of_a_class_give_none() -> None:
    assert divide(units_of([0, 0, 1] + [0] * 10, []), [0.5, 0.5]) is None


def chi_square(units: Units, part: Int64[np.ndarray, "u"], fractions: list[float]) -> float:
    """X of the module's docstring, computed in the plainest way."""
    owner = np.repeat(part, np.diff(units.start))
    total = 0.0
    for index, fraction in enumerate(fractions):
        inside = owner == index
        rows = [units.size[part == index].sum(), units.size.sum()]
        labels = [
            [
                units.count[inside & (units.label == label)].sum()
                for label in range(units.num_labels)
            ],
            [units.count[units.label == label].sum() for label in range(units.num_labels)],
        ]
        for have, all_rows in [rows, *zip(*labels, strict=True)]:
            if all_rows:
                total += (have - fraction * all_rows) ** 2 / (fraction * all_rows)
    return total


def covers(units: Units, part: Int64[np.ndarray, "u"], num_parts: int) -> bool:
    owner = np.repeat(part, np.diff(units.start))
    found = [set(owner[units.label == label].tolist()) for label in range(units.num_labels - 1)]
    return all(len(parts) in {0, num_parts} for parts in found)


def random_units(seed: int, *, rows: int, labels: int, groups: int) -> Units:
    rng = np.random.default_rng(seed)
    codes = np.append(rng.integers(0, labels, rows - 1), labels - 1)
    return units_of(codes.tolist(), [rng.integers(0, groups, rows).tolist()])


def test_the_best_of_all_assignments_is_often_found() -> None:
    """Every covering that exists is found, and X is the least possible in half of the cases."""
    excesses = []
    for seed in range(60):
        fractions = [[0.5, 0.5], [0.6, 0.2, 0.2]][seed % 2]
        units = random_units(seed, rows=8 + seed % 13, labels=1 + seed % 3, groups=5 + seed % 2)
        every = product(range(len(fractions)), repeat=len(units.size))
        covering = [part for part in map(np.array, every) if covers(units, part, len(fractions))]
        part = divide(units, fractions)
        assert (part is None) == (not covering)
        if part is not None:
            assert covers(units, part, len(fractions))
            best = min(chi_square(units, other, fractions) for other in covering)
            excesses.append(chi_square(units, part, fractions) - best)
    assert min(excesses) > -1e-9
    assert np.mean(np.array(excesses) < 1e-9) >= 0.5
    # Measured: 0.9655.
    assert np.mean(excesses) < 0.966


def test_repairs_bring_every_label_that_is_not_named_into_every_part() -> None:
    found = []
    for seed in range(200):
        fractions = [[0.5, 0.5], [0.6, 0.2, 0.2]][seed % 2]
        units = random_units(seed, rows=30 + seed % 40, labels=12, groups=14 + seed % 10)
        part, lacking = divide_with_repairs(units, fractions)
        found.append(len(lacking))
        if part is not None:
            assert lacking == []
            assert covers(units, part, len(fractions))
            assert set(part.tolist()) == set(range(len(fractions)))
            continue
        # Some of the labels that it names are in the way in every one of the orders, too.
        assert lacking
        assert divide(units, fractions) is None
    assert 0 < found.count(0) < 200


def test_a_unit_moves_for_a_label_and_leaves_another_one_in_its_place() -> None:
    # Three units of label 0, two of them taken for val and test by the rarer labels 1 and 2.
    units = units_of([0, 0, 0, 1, 1, 1, 1], [[0, 1, 2, 0, 1, 3, 4]])
    part, lacking = divide_with_repairs(units, [0.6, 0.2, 0.2])
    assert lacking == []
    assert part is not None
    assert covers(units, part, 3)


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=40),
    st.sampled_from([[0.8, 0.1, 0.1], [0.5, 0.5], [0.25] * 4, [0.6, 0.3, 0.1]]),
)
def test_one_label_is_off_by_no_more_than_the_bound(
    sizes: list[int], fractions: list[float]
) -> None:
    link = [unit for unit, size in enumerate(sizes) for _ in range(size)]
    units = units_of([0] * len(link), [link])
    part = divide(units, fractions)
    if part is None:
        assert len(sizes) < len(fractions)
        return
    have = np.bincount(part, units.size, len(fractions))
    for index, fraction in enumerate(fractions):
        bound = max(sizes) / 2 * (1 + fraction / min(fractions))
        assert have[index] - fraction * len(link) < bound + 1


def many_labels(seed: int) -> Units:
    """600 single images of 30 labels: ten of each, the rest mostly of a few frequent ones."""
    rng = np.random.default_rng(seed)
    others = rng.choice(30, 300, p=rng.dirichlet(np.full(30, 0.5)))
    return units_of([*(10 * [*range(30)]), *others.tolist()], [])


def test_sizes_are_right_as_a_whole_and_labels_within_two_images() -> None:
    fractions = [0.8, 0.1, 0.1]
    distances = []
    for seed in range(30):
        units = many_labels(seed)
        part = divide(units, fractions)
        assert part is not None
        totals = units.units_of_label()
        for index, fraction in enumerate(fractions):
            assert (part == index).sum() == fraction * 600
            have = np.bincount(units.label[part == index], minlength=units.num_labels)
            assert np.abs(have - fraction * totals).max() < 2.0
        distances.append(chi_square(units, part, fractions))
    # Measured: 2.702. A slip in the criterion, or in the choice of a move, makes it larger.
    assert np.mean(distances) < 2.703


def test_units_of_each_size_are_in_each_part() -> None:
    """Ten classes of 20 images, 30 % in threes: a tenth of the classes is less than one three."""
    labels, link = [], []
    for label in range(10):
        labels += [label] * 20
        link += [2 * label] * 3 + [2 * label + 1] * 3 + [-1] * 14
    fractions, lone = [0.8, 0.1, 0.1], np.zeros(3)
    for seed in range(100):
        units = units_of(labels, [link], salt=str(seed))
        part = divide(units, fractions)
        assert part is not None
        assert np.bincount(part, units.size).tolist() == [160, 20, 20]
        alone = units.size == 1
        lone += np.bincount(part[alone], minlength=3) / [160, 20, 20] / 100
        for row, fraction in zip(parts_of_labels(units, part), fractions, strict=True):
            assert np.abs(np.array(row[:-1]) - 20 * fraction).max() <= 2
    # 70 % of the images, within three standard errors: of a part about .06 by seed.
    assert np.abs(lone - 0.7).max() < 0.022


def test_a_unit_is_in_a_part_by_its_fraction() -> None:
    """200 products of 1 to 6 photos: whatever their size, a tenth of them is tested."""
    sizes = [1 + unit % 6 for unit in range(200)]
    link = np.repeat(np.arange(200), sizes).tolist()
    tested = np.zeros(7)
    for seed in range(100):
        units = units_of([0] * len(link), [link], salt=str(seed))
        part = divide(units, [0.8, 0.1, 0.1])
        assert part is not None
        tested += np.bincount(units.size[part == 2], minlength=7) / 100
    each = np.bincount(sizes)
    assert np.abs(tested[1:] / each[1:] - 0.1).max() < 0.02


def mixed_sizes(seed: int) -> Units:
    """400 images of 6 labels: a third in groups of about four, of one label or several."""
    rng = np.random.default_rng(seed)
    link = np.where(rng.random(400) < 0.33, rng.integers(0, 33, 400), -1)
    return units_of([*range(6), *rng.integers(0, 6, 394).tolist()], [link.tolist()])


def test_groups_of_several_sizes_and_labels_come_close_to_the_fractions() -> None:
    fractions = [0.7, 0.2, 0.1]
    distances = []
    for seed in range(30):
        units = mixed_sizes(seed)
        part = divide(units, fractions)
        assert part is not None
        have = np.bincount(part, units.size, len(fractions))
        assert np.abs(have - 400 * np.array(fractions)).max() < 1.0
        distances.append(chi_square(units, part, fractions))
    # Measured: 0.1733. Without quotas, which keep sizes apart, 0.1532.
    assert np.mean(distances) < 0.1734


def test_the_order_of_the_units_is_the_same_in_every_release() -> None:
    """A seed that is written down must give the same split later: the hash is fixed."""
    units = units_of([0] * 8, [[0, 0, 1, 1, -1, -1, -1, -1]], salt="split 0")
    keys = [
        hashlib.blake2b(
            f"{row}.jpg".encode(),
            digest_size=8,
            key=hashlib.blake2b(b"split 0", digest_size=16).digest(),
        ).digest()
        for row in range(8)
    ]
    number = [int.from_bytes(key, "little") for key in keys]
    smallest = [min(number[0:2])] * 2 + [min(number[2:4])] * 2 + number[4:]
    smallest = mix64(np.array(smallest, np.uint64)).tolist()
    ranks = {value: rank for rank, value in enumerate(sorted(set(smallest)))}
    assert units.of_row.tolist() == [ranks[value] for value in smallest]
    assert units.size[units.of_row].tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
    assert units.of_row.dtype == units.size.dtype == units.start.dtype == np.int64
    assert units.label.dtype == units.count.dtype == np.int64


class PlainAssignment:
    """The three steps of the module's docstring; every count is taken anew from the units."""

    def __init__(self, units: Units, fractions: list[float]) -> None:
        self.size = units.size
        self.parts = range(len(fractions))
        self.table = np.zeros((len(units.size), units.num_labels))
        owner = np.repeat(np.arange(len(units.size)), np.diff(units.start))
        self.table[owner, units.label] = units.count
        self.fractions = fractions
        self.part = np.full(len(units.size), -1)
        self.small = max(1.0, min(fractions) * float(units.size.sum()) / 4)
        self.random = np.random.default_rng(units.seed)

    def lack(self, part: int) -> tuple[Float64[np.ndarray, "l"], float]:
        """How much the part is short of each label, and of rows."""
        inside, fraction = self.part == part, self.fractions[part]
        labels = fraction * self.table.sum(axis=0) - self.table[inside].sum(axis=0)
        return labels, fraction * float(self.size.sum()) - float(self.size[inside].sum())

    def cover(self, attempt: int) -> bool:
        order = np.random.default_rng(attempt).permutation(len(self.size))
        rank = order if attempt else np.arange(len(self.size))
        size = self.size if attempt < COVER_ATTEMPTS // 2 else 0 * self.size
        if not attempt:
            size = np.where(size <= self.small, 0, size)
        num_units = (self.table > 0).sum(axis=0)
        for label in sorted(range(self.table.shape[1] - 1), key=lambda label: num_units[label]):
            for part in sorted(self.parts, key=lambda part: self.fractions[part]):
                if not num_units[label] or self.table[self.part == part, label].any():
                    continue
                free = np.flatnonzero((self.table[:, label] > 0) & (self.part < 0)).tolist()
                if not free:
                    return False
                self.part[min(free, key=lambda unit: (size[unit], rank[unit]))] = part
        return True

    def fill(self) -> None:
        totals = self.table.sum(axis=0)

        def kind(unit: int) -> tuple[int, float, int]:
            labels = np.flatnonzero(self.table[unit])
            code = labels * 2**24 + self.table[unit, labels]
            mixed = int(mix64(code.astype(np.uint64)).sum(dtype=np.uint64))
            return -int(self.size[unit]), float(totals[labels].min()), mixed

        rest = sorted(np.flatnonzero(self.part < 0).tolist(), key=kind)
        for size, equal in groupby(rest, key=lambda unit: int(self.size[unit])):
            several = list(equal)
            room = self.quota(size, len(several))
            left = []
            for _, alike in groupby(several, key=kind):
                units = self.in_bulk(list(alike), room)
                if room is None:
                    for unit in units:
                        self.part[unit] = min(self.parts, key=lambda p: self.growth(unit, p))
                left += units
            if room is not None:
                self.within(left, room)

    def in_bulk(self, units: list[int], room: list[int] | None) -> list[int]:
        if len(units) < len(self.parts):
            return units
        count = self.table[units[0]]
        lacks = [float(count @ np.maximum(self.lack(p)[0], 0)) for p in self.parts]
        numbers = [int(len(units) * lack / sum(lacks) + 1e-9) for lack in lacks]
        for part, share in enumerate(numbers):
            number = share if room is None else min(share, room[part])
            if room is not None:
                room[part] -= number
            self.part[units[:number]] = part
            units = units[number:]
        return units

    def within(self, units: list[int], room: list[int]) -> None:
        *choosing, largest = sorted(self.parts, key=lambda part: self.fractions[part])
        for part in choosing:
            for _ in range(room[part]):
                gain = {
                    unit: self.growth(unit, part) - self.growth(unit, largest) for unit in units
                }
                best = min(units, key=lambda unit: (round(gain[unit], 7), unit))
                units = [unit for unit in units if unit != best]
                self.part[best] = part
        self.part[units] = largest

    def quota(self, size: int, number: int) -> list[int] | None:
        """Units that each part takes: of the rows in units at least so large its fraction."""
        if size > self.small or size == min(self.size):
            return None
        large = self.size >= size
        wanted = [
            max(0.0, fraction * self.size[large].sum() - self.size[large & (self.part == p)].sum())
            for p, fraction in enumerate(self.fractions)
        ]
        wanted = [number * one / sum(wanted) for one in wanted]
        room = [int(one + 1e-9) for one in wanted]
        reached = self.random.uniform()
        for p, one in enumerate(wanted):
            before, reached = reached, reached + one - int(one + 1e-9)
            room[p] += int(reached + 1e-9) - int(before + 1e-9)
        return room

    def growth(self, unit: int, part: int) -> float:
        """By how much X grows when the part gets the unit."""
        labels, rows = self.lack(part)
        change = float((rows - self.size[unit]) ** 2 - rows**2)
        growth = change / (self.fractions[part] * float(self.size.sum()))
        for label in np.flatnonzero(self.table[unit]):
            change = (labels[label] - self.table[unit, label]) ** 2 - labels[label] ** 2
            growth += change / (self.fractions[part] * self.table[:, label].sum())
        return round(growth, 9)

    def rebalance(self) -> None:
        single = (self.size == 1) & (self.table.sum(axis=1) == 1)
        for source, target in product(self.parts, repeat=2):
            moves = int(min(-self.lack(source)[1], self.lack(target)[1]) + 0.5)
            cheapest = []
            for label in range(self.table.shape[1]):
                held = (self.part == source) & (self.table[:, label] > 0)
                if (held & single).any() and self.table[held, label].sum() > 1:
                    total = self.table[:, label].sum()
                    growth = (1 + 2 * self.lack(source)[0][label]) / (
                        self.fractions[source] * total
                    ) + (1 - 2 * self.lack(target)[0][label]) / (self.fractions[target] * total)
                    cheapest.append((round(growth, 9), label, np.flatnonzero(held & single)[0]))
            for _, _, unit in sorted(cheapest)[: max(moves, 0)]:
                self.part[unit] = target


def plain_divide(units: Units, fractions: list[float]) -> tuple[int, list[int]] | None:
    """The number of the attempt that covers, and the parts."""
    for attempt in range(COVER_ATTEMPTS):
        plain = PlainAssignment(units, fractions)
        if plain.cover(attempt):
            plain.fill()
            plain.rebalance()
            return attempt, [int(part) for part in plain.part]
    return None


@pytest.mark.parametrize("fractions", [[0.5, 0.25, 0.25], [0.125, 0.625, 0.25], [0.5, 0.5]])
def test_the_steps_are_those_of_the_docstring(fractions: list[float]) -> None:
    """Quarters and eighths of the counts are exact, so that ties are ties in both."""
    found = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        rows, labels = 12 + 5 * seed, 1 + seed % 5
        link = np.where(rng.random(rows) < 0.5, rng.integers(0, 2 + rows // 5, rows), -1)
        pairs = rng.random((rows, labels)) < rng.uniform(0.1, 0.6, labels)
        # With an odd seed, the first label has no image.
        unused = np.zeros((rows, seed % 2), bool)
        row, label = np.nonzero(np.column_stack([unused, pairs, ~pairs.any(axis=1)]))
        units = gather_units(
            [f"{name}.jpg" for name in range(rows)],
            row.astype(np.int64),
            label.astype(np.int64),
            num_labels=seed % 2 + labels + 1,
            links=[link.astype(np.int64)],
            salt=str(seed),
        )
        part = divide(units, fractions)
        found.append(part is not None)
        plain = plain_divide(units, fractions)
        assert (part is None) == (plain is None)
        assert part is None or plain is None or part.tolist() == plain[1]
        owner = np.repeat(np.arange(len(units.size)), np.diff(units.start))
        order = np.lexsort((units.label, owner))
        assert (order == np.arange(len(order))).all()
    assert sum(found) >= 12


def test_labels_that_are_equally_rare_are_taken_in_their_order() -> None:
    for seed in range(3):
        units, fractions = many_labels(seed), [0.5, 0.25, 0.25]
        part, plain = divide(units, fractions), plain_divide(units, fractions)
        assert part is not None
        assert plain is not None
        assert part.tolist() == plain[1]


def test_a_covering_that_the_first_order_misses_is_found_by_another() -> None:
    attempts = set()
    # Of the seeds below 500, only 72, 453 and 481 need a later order.
    for seed in [*range(20), 72, 453]:
        units = random_units(seed, rows=10 + seed % 10, labels=3, groups=6 + seed % 3)
        plain = plain_divide(units, [0.5, 0.25, 0.25])
        part = divide(units, [0.5, 0.25, 0.25])
        assert (part is None) == (plain is None)
        if part is not None and plain is not None:
            assert part.tolist() == plain[1]
            attempts.add(plain[0])
    assert attempts == {0, 8, 11}


def test_no_rows_are_no_units() -> None:
    empty = np.empty(0, np.int64)
    units = gather_units([], empty, empty, num_labels=2, links=[empty], salt="0")
    assert units.size.tolist() == units.of_row.tolist() == []
    assert units.start.tolist() == [0]


def test_fractions_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(AssertionError):
        divide(units_of([0] * 10, []), [0.5, 0.4])
