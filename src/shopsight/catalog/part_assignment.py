"""Units that are assigned to parts one after the other, see `shopsight.catalog.stratify`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from heapq import heapify, heappop, heapreplace

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from shopsight.catalog.size_quotas import SizeQuotas, small_rows
from shopsight.catalog.units import Units
from shopsight.splitmix import mix64

TOTAL_WEIGHT = 1.0
"""Weight of the size of a part beside the sizes of its labels."""

COVER_ATTEMPTS = 16
"""How many orders of the units are tried before a covering is given up."""


class Assignment:
    """The parts of the units assigned so far, with wanted and present counts.

    Args:
        units: what is divided.
        fractions: wanted fraction of each part.
        covered: labels that need not be brought into a part; None: none.

    Attributes:
        part: the part of each unit, -1 where it has none yet.
    """

    def __init__(
        self,
        units: Units,
        fractions: Sequence[float],
        covered: Bool[np.ndarray, "p l"] | None = None,
    ) -> None:
        totals = np.bincount(units.label, weights=units.count, minlength=units.num_labels)
        self.units = units
        self.parts = range(len(fractions))
        self.fractions = list(fractions)
        self.covered = covered
        self.totals = totals
        self.part = np.full(len(units.size), -1, np.int64)
        # Plain lists: the innermost loop reads a few numbers at a time, which NumPy does slowly.
        self.size: list[int] = units.size.tolist()
        self.start: list[int] = units.start.tolist()
        self.entries = list(zip(units.label.tolist(), units.count.tolist(), strict=True))
        # f_p T_l and h_pl, f_p N and h_p.
        self.want = [[fraction * total for total in totals.tolist()] for fraction in fractions]
        self.have = [[0.0] * units.num_labels for _ in fractions]
        self.want_rows = [fraction * float(units.size.sum()) for fraction in fractions]
        self.have_rows = [0.0 for _ in fractions]
        self.smallest_first = sorted(self.parts, key=lambda part: self.fractions[part])

    def cover(self, attempt: int) -> bool:
        """Bring every label into every part.

        Args:
            attempt: 0 takes small units in their random order and the others by size; the next
                take all by size, those of equal size shuffled, and the second half of the attempts
                shuffles all.

        Returns:
            False when a label finds no free unit for a part; another attempt may.
        """
        labels = self._by_label(attempt)
        return all(self._bring(label, units, repairs=False) for label, units in labels)

    def cover_most(self, attempt: int) -> list[int]:
        """Bring as many labels as can be into every part, with repairs; return the others."""
        labels = self._by_label(attempt)
        return [label for label, units in labels if not self._bring(label, units, repairs=True)]

    def _by_label(self, attempt: int) -> Iterator[tuple[int, list[int]]]:
        """The labels that units have, rarest first, each with its units; see `cover`."""
        units = self.units
        owner = np.repeat(np.arange(len(units.size)), np.diff(units.start))
        shuffled = np.random.default_rng(attempt).permutation(len(units.size))
        size = units.size[owner]
        if attempt == 0:
            small = small_rows(sum(self.want_rows), self.fractions)
            first = np.where(size <= small, 0, size)
        else:
            first = size if attempt < COVER_ATTEMPTS // 2 else np.zeros(len(owner), np.int64)
        second = owner if attempt == 0 else shuffled[owner]
        order = np.lexsort((second, first, units.label))
        by_label, owners = units.label[order], owner[order]
        starts = np.searchsorted(by_label, np.arange(units.num_labels + 1))
        occurrences = units.units_of_label()
        for label in np.argsort(occurrences[:-1], kind="stable").tolist():
            if occurrences[label]:
                yield label, owners[starts[label] : starts[label + 1]].tolist()

    def _bring(self, label: int, units: list[int], *, repairs: bool) -> bool:
        """Bring a label into every part, by free units of it; False where one finds none.

        With repairs, a unit of it may leave a part that has others.
        """
        waiting = iter(units)
        for part in self.smallest_first:
            if not self._lacks(part, label):
                continue
            unit = next((unit for unit in waiting if self.part[unit] < 0), None)
            if unit is not None:
                self._put(unit, part)
            elif not (repairs and any(self._moved(unit, label, part) for unit in units)):
                return False
        return True

    @cached_property
    def units_of(self) -> list[list[int]]:
        """The units of each label."""
        found = [list[int]() for _ in range(self.units.num_labels)]
        for label, units in self._by_label(0):
            found[label] = units
        return found

    def _lacks(self, part: int, label: int) -> bool:
        if self.have[part][label] or label == self.units.num_labels - 1:
            return False
        return self.covered is None or not self.covered[part, label]

    def _moved(self, unit: int, label: int, part: int) -> bool:
        """Move a unit where the label lacks one, if its old part does without or finds others.

        The part that it leaves may keep the label by another unit; a label that it held there
        alone gets a free unit instead.
        """
        source = int(self.part[unit])
        if self.have[source][label] == dict(self._labels_of(unit))[label]:
            # Then its old part would lack the label.
            return False
        self._put(unit, source, sign=-1)
        self._put(unit, part)
        placed = list[int]()
        for other, _ in self._labels_of(unit):
            if not self._lacks(source, other):
                continue
            free = next((one for one in self.units_of[other] if self.part[one] < 0), None)
            if free is None:
                for one in placed:
                    self._put(one, source, sign=-1)
                    self.part[one] = -1
                self._put(unit, part, sign=-1)
                self._put(unit, source)
                return False
            self._put(free, source)
            placed.append(free)
        return True

    def fill(self) -> None:
        """Assign the units that `cover` left: large before small, rare labels before common."""
        rest = np.flatnonzero(self.part < 0)
        if not len(rest):
            return
        kind = self._kinds(rest)
        size = self.units.size[rest]
        rarest = np.minimum.reduceat(
            np.append(self.totals[self.units.label], np.inf), self.units.start[:-1]
        )[rest]
        # Units of a kind stand together, in their random order.
        order = np.lexsort((rest, kind, rarest, -size))
        quotas = SizeQuotas(self.units.size, self.part, self.fractions, seed=self.units.seed)
        for equal in _runs(rest[order], size[order]):
            quota = quotas.of(self.size[int(equal[0])], len(equal), self.have_rows)
            kinds = list(_runs(equal, kind[np.searchsorted(rest, equal)]))
            if quota is None:
                for alike in kinds:
                    for unit in self._assign_in_bulk(alike, None):
                        self._put(unit, min(self.parts, key=partial(self._growth, unit)))
            else:
                left = [unit for alike in kinds for unit in self._assign_in_bulk(alike, quota)]
                self._assign_within(left, quota)

    def rebalance(self) -> None:
        """Move single images from parts that are too large to parts that are too small.

        Each label loses at most one image per pair of parts, where X grows least, and never its
        last one. One image moves only if the source has at least half a row too many and the target
        at least half a row too few, so |source excess| + |target excess| never grows; each pair of
        parts is visited once, so the loop ends.
        """
        units = self.units
        single = (units.size == 1) & (np.diff(units.start) == 1)
        label_of = units.label[units.start[:-1]]
        for source, target in itertools.product(self.parts, repeat=2):
            moves = int(min(self._excess(source), -self._excess(target)) + 0.5)
            if moves >= 1:
                movable = np.flatnonzero(single & (self.part == source))
                self._move(movable, label_of[movable], source, target, moves)

    def _excess(self, part: int) -> float:
        """How many rows more than wanted the part has."""
        return self.have_rows[part] - self.want_rows[part]

    def _labels_of(self, unit: int) -> list[tuple[int, int]]:
        """The (label, count) pairs of a unit."""
        return self.entries[self.start[unit] : self.start[unit + 1]]

    def _put(self, unit: int, part: int, *, sign: int = 1) -> None:
        """Put a unit into a part; with sign -1 take its counts out again."""
        self.part[unit] = part
        have = self.have[part]
        for label, count in self._labels_of(unit):
            have[label] += sign * count
        self.have_rows[part] += sign * self.size[unit]

    def _kinds(self, rest: Int64[np.ndarray, "r"]) -> UInt64[np.ndarray, "r"]:
        """A 64-bit code for each unit: equal where the labels and their counts are equal.

        A sum of mixed entries; units that differ get equal codes with a probability of about 2^-64
        for each pair, and would only be assigned in bulk as if they were alike.
        """
        units = self.units
        code = units.label.astype(np.uint64) * np.uint64(1 << 24) + units.count.astype(np.uint64)
        # Mixed, so that sums of different entries differ.
        of_unit: UInt64[np.ndarray, "u"] = np.add.reduceat(mix64(code), units.start[:-1])
        kinds: UInt64[np.ndarray, "r"] = of_unit[rest]
        return kinds

    def _assign_in_bulk(self, alike: Int64[np.ndarray, "m"], quota: list[int] | None) -> list[int]:
        """Assign most of the units of one kind; gives the others.

        Args:
            alike: the units.
            quota: how many units of their size each part may still take; it is counted down.
        """
        labels, size = self._labels_of(int(alike[0])), self.size[int(alike[0])]
        done = 0
        if len(alike) >= len(self.parts):
            for part, share in enumerate(self._bulk(labels, len(alike))):
                number = share if quota is None else min(share, quota[part])
                if quota is not None:
                    quota[part] -= number
                self.part[alike[done : done + number]] = part
                for label, count in labels:
                    self.have[part][label] += count * number
                self.have_rows[part] += size * number
                done += number
        rest: list[int] = alike[done:].tolist()
        return rest

    def _assign_within(self, units: list[int], quota: list[int]) -> None:
        """Assign units of one size, as many to each part as it may take.

        The smaller parts choose first, and the largest takes what is left: a part chooses the unit
        by which X grows least in comparison with the largest part. Its growth in a part only rises
        while that part fills, so that a unit that is still the first of the heap after its growth
        was computed anew is the best of all.
        """
        *choosing, largest = self.smallest_first
        left = dict.fromkeys(units)
        for part in choosing:
            heap = [(self._preference(unit, part, largest), unit) for unit in left]
            heapify(heap)
            for _ in range(quota[part]):
                while True:
                    unit = heap[0][1]
                    preference = self._preference(unit, part, largest)
                    if preference <= heap[0][0]:
                        break
                    heapreplace(heap, (preference, unit))
                heappop(heap)
                self._put(unit, part)
                del left[unit]
        for unit in left:
            self._put(unit, largest)

    def _preference(self, unit: int, part: int, largest: int) -> float:
        # Rounded, so that equals are taken in their random order.
        return round(self._growth(unit, part) - self._growth(unit, largest), 7)

    def _bulk(self, labels: list[tuple[int, int]], number: int) -> list[int]:
        """How many of `number` alike units each part gets at least, in proportion to its lack."""
        lacking = [
            sum(
                count * max(self.want[part][label] - self.have[part][label], 0.0)
                for label, count in labels
            )
            for part in self.parts
        ]
        # At least the rows of these units, which no part has yet; so it is positive.
        total = sum(lacking)
        # The tolerance keeps 10 * (3 / 10) from becoming 2.
        return [int(number * lack / total + 1e-9) for lack in lacking]

    def _growth(self, unit: int, part: int) -> float:
        """By how much X grows when the part gets the unit.

        (h + c - w)^2 - (h - w)^2 = c (2 (h - w) + c), divided by w.
        """
        size = self.size[unit]
        have, want = self.have[part], self.want[part]
        rows, wanted = self.have_rows[part], self.want_rows[part]
        growth = TOTAL_WEIGHT * size * (2.0 * (rows - wanted) + size) / wanted
        for label, count in self._labels_of(unit):
            growth += count * (2.0 * (have[label] - want[label]) + count) / want[label]
        return growth

    def _move(
        self,
        movable: Int64[np.ndarray, "m"],
        label: Int64[np.ndarray, "m"],
        source: int,
        target: int,
        moves: int,
    ) -> None:
        """Move up to `moves` single images of different labels.

        Args:
            movable: units of one row and one label in the source.
            label: their labels.
            source: part that they leave.
            target: part that they join.
            moves: how many are wanted.
        """
        labels, first = np.unique(label, return_index=True)
        have_source, have_target, want_source, want_target = (
            np.array(table)[labels]
            for table in (
                self.have[source],
                self.have[target],
                self.want[source],
                self.want[target],
            )
        )
        # Change of X, by (h - 1 - w)^2 - (h - w)^2 = 1 - 2 (h - w), and 1 + 2 (h - w) for h + 1.
        change = (1.0 - 2.0 * (have_source - want_source)) / want_source
        change += (1.0 + 2.0 * (have_target - want_target)) / want_target
        free = np.flatnonzero(have_source > 1)
        cheapest = free[np.argsort(change[free], kind="stable")[:moves]]
        for unit in movable[first[cheapest]].tolist():
            for code, count in self._labels_of(unit):
                self.have[source][code] -= count
            self.have_rows[source] -= 1
            self._put(unit, target)


def _runs(
    units: Int64[np.ndarray, "m"], value: Int64[np.ndarray, "m"] | UInt64[np.ndarray, "m"]
) -> Iterator[Int64[np.ndarray, "k"]]:
    """Neighbors of equal value."""
    edges = [0, *(np.flatnonzero(np.diff(value)) + 1).tolist(), len(units)]
    for begin, end in itertools.pairwise(edges):
        yield units[begin:end]
