"""Dividing units among parts so that every class is everywhere in its share.

A unit is what must stay together: an image, or all images that a group, a duplicate family or
a common file ties to each other. Nothing depends on the order of the rows.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# How much the size of a part counts beside the sizes of its classes.
TOTAL_WEIGHT = 1.0
COVER_ATTEMPTS = 16


@dataclass(frozen=True)
class Units:
    """Units in a random order that the salt and the image names alone decide.

    Attributes:
        of_row: the unit of each row.
        size: rows of each unit.
        start: of unit u, the entries start[u]:start[u + 1] of `label` and `count`.
        label: label codes, ascending within a unit.
        count: how many rows of the unit have that label.
        labels: number of label codes; the last one is "no label" and need not be everywhere.
    """

    of_row: Int64[np.ndarray, "n"]
    size: Int64[np.ndarray, "u"]
    start: Int64[np.ndarray, "u_1"]
    label: Int64[np.ndarray, "e"]
    count: Int64[np.ndarray, "e"]
    labels: int

    def units_of_label(self) -> Int64[np.ndarray, "c"]:
        """In how many units each label occurs."""
        return np.bincount(self.label, minlength=self.labels).astype(np.int64)


def gather_units(
    images: Sequence[str],
    row_of_label: Int64[np.ndarray, "e"],
    label: Int64[np.ndarray, "e"],
    *,
    labels: int,
    links: Sequence[Int64[np.ndarray, "n"]],
    salt: str,
) -> Units:
    """Units from links between rows.

    Args:
        images: names; they and the salt order the units.
        row_of_label, label: which row has which label code, below `labels`.
        links: for each row a code of what it shares with the other rows of that code; -1: nothing.
    """
    keys = _keys(images, salt)
    tied = _tied(len(images), links)
    # A unit goes by its smallest key, so that its place is free of the rows' order.
    smallest = np.full(int(tied.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, tied, keys)
    place = np.empty(len(smallest), np.int64)
    place[np.argsort(smallest, kind="stable")] = np.arange(len(smallest))
    of_row = place[tied]
    pairs = (
        pl.DataFrame({"unit": of_row[row_of_label], "label": label})
        .group_by("unit", "label")
        .len("count")
        .sort("unit", "label")
    )
    unit = pairs["unit"].to_numpy()
    return Units(
        of_row=of_row,
        size=np.bincount(of_row, minlength=len(smallest)).astype(np.int64),
        start=np.searchsorted(unit, np.arange(len(smallest) + 1)).astype(np.int64),
        label=pairs["label"].to_numpy().astype(np.int64),
        count=pairs["count"].to_numpy().astype(np.int64),
        labels=labels,
    )


def divide(units: Units, shares: Sequence[float]) -> Int64[np.ndarray, "u"] | None:
    """The part of each unit; parts get near to their shares, as a whole and in every class.

    Every class is first put into every part, rarest class and smallest units first; the rest is
    handed out from large units to small, each to the part whose chi-square distance to its
    wanted counts it lowers most. Units alike (same labels, same size) are handed out at once.

    Returns None when a class that has as many units as there are parts did not get everywhere
    (groups that tie rare classes together can make it impossible).

    Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-Label Data",
    for rarest-first; the handling of groups is ours.
    """
    assert abs(sum(shares) - 1.0) < 1e-9
    for attempt in range(COVER_ATTEMPTS):
        state = _State(units, shares)
        if state.cover(attempt):
            state.fill()
            return state.part
    return None


def _keys(images: Sequence[str], salt: str) -> UInt64[np.ndarray, "n"]:
    salted = hashlib.blake2b(salt.encode(), digest_size=16).digest()
    blake2b = hashlib.blake2b
    digests = [blake2b(name.encode(), digest_size=8, key=salted).digest() for name in images]
    return np.frombuffer(b"".join(digests), np.uint64)


def _tied(rows: int, links: Sequence[Int64[np.ndarray, "n"]]) -> Int64[np.ndarray, "n"]:
    """Connected components of rows and what links them."""
    sources, targets, nodes = [], [], rows
    for codes in links:
        tied = np.flatnonzero(codes >= 0)
        sources.append(tied)
        targets.append(codes[tied] + nodes)
        nodes += int(codes.max(initial=-1)) + 1
    source = np.concatenate([*sources, np.empty(0, np.int64)])
    target = np.concatenate([*targets, np.empty(0, np.int64)])
    ones = np.ones(len(source), np.int8)
    graph = coo_array((ones, (source, target)), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return np.unique(component[:rows], return_inverse=True)[1].astype(np.int64)


class _State:
    """What has been handed out so far."""

    def __init__(self, units: Units, shares: Sequence[float]) -> None:
        totals = np.bincount(units.label, weights=units.count, minlength=units.labels)
        self.units = units
        self.parts = range(len(shares))
        self.shares = list(shares)
        self.totals = totals
        self.part = np.full(len(units.size), -1, np.int64)
        # Plain lists: the innermost loop looks at a few numbers at a time.
        self.size: list[int] = units.size.tolist()
        self.start: list[int] = units.start.tolist()
        self.entries = list(zip(units.label.tolist(), units.count.tolist(), strict=True))
        self.want = [[share * total for total in totals.tolist()] for share in shares]
        self.have = [[0.0] * units.labels for _ in shares]
        self.want_rows = [share * float(units.size.sum()) for share in shares]
        self.have_rows = [0.0 for _ in shares]

    def labels_of(self, unit: int) -> list[tuple[int, int]]:
        return self.entries[self.start[unit] : self.start[unit + 1]]

    def give(self, unit: int, part: int) -> None:
        self.part[unit] = part
        have = self.have[part]
        for label, count in self.labels_of(unit):
            have[label] += count
        self.have_rows[part] += self.size[unit]

    def cover(self, attempt: int) -> bool:
        """Put every class into every part, if it can be; later attempts shuffle the units."""
        units = self.units
        owner = np.repeat(np.arange(len(units.size)), np.diff(units.start))
        mixed = np.random.default_rng(attempt).permutation(len(units.size))
        # Small units first: they leave the most freedom. Failing that, any order.
        first = units.size[owner] if attempt < COVER_ATTEMPTS // 2 else np.zeros(len(owner))
        second = owner if attempt == 0 else mixed[owner]
        order = np.lexsort((second, first, units.label))
        by_label, owners = units.label[order], owner[order]
        starts = np.searchsorted(by_label, np.arange(units.labels + 1))
        occurrences = units.units_of_label()
        smallest_share_first = sorted(self.parts, key=lambda part: self.shares[part])
        for label in np.argsort(occurrences[:-1], kind="stable"):
            if not occurrences[label]:
                continue
            waiting = iter(owners[starts[label] : starts[label + 1]].tolist())
            for part in smallest_share_first:
                if self.have[part][label]:
                    continue
                unit = next((unit for unit in waiting if self.part[unit] < 0), None)
                if unit is None:
                    return False
                self.give(unit, part)
        return True

    def fill(self) -> None:
        """Hand out the rest."""
        rest = np.flatnonzero(self.part < 0)
        if not len(rest):
            return
        kind = self._kinds(rest)
        size = self.units.size[rest]
        rarest = np.minimum.reduceat(
            np.append(self.totals[self.units.label], np.inf), self.units.start[:-1]
        )[rest]
        # Large before small, rare before common; units of a kind together, in their random order.
        order = np.lexsort((rest, kind, rarest, -size))
        ranked, kinds = rest[order], kind[order]
        edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(ranked)]
        for begin, end in itertools.pairwise(edges):
            if end == begin + 1:
                self._hand_out_one(int(ranked[begin]))
            else:
                self._assign(ranked[begin:end])
        self._rebalance()

    def _kinds(self, rest: Int64[np.ndarray, "r"]) -> UInt64[np.ndarray, "r"]:
        """A 64-bit code for each unit: equal where the labels and their counts are equal."""
        units = self.units
        code = units.label.astype(np.uint64) * np.uint64(1 << 24) + units.count.astype(np.uint64)
        # Mixed as splitmix64 does, so that sums of different entries differ.
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            code = (code ^ (code >> np.uint64(shift))) * np.uint64(factor)
        mixed: UInt64[np.ndarray, "e"] = code ^ (code >> np.uint64(31))
        of_unit: UInt64[np.ndarray, "u"] = np.add.reduceat(mixed, units.start[:-1])
        kinds: UInt64[np.ndarray, "r"] = of_unit[rest]
        return kinds

    def _assign(self, similar: Int64[np.ndarray, "m"]) -> None:
        labels = self.labels_of(int(similar[0]))
        size = self.size[int(similar[0])]
        done = 0
        if len(similar) >= len(self.parts):
            for part, many in enumerate(self._whole_shares(labels, len(similar))):
                self.part[similar[done : done + many]] = part
                for label, count in labels:
                    self.have[part][label] += count * many
                self.have_rows[part] += size * many
                done += many
        for unit in similar[done:].tolist():
            self._hand_out_one(unit)

    def _hand_out_one(self, unit: int) -> None:
        labels, size = self.labels_of(unit), self.size[unit]
        self.give(unit, min(self.parts, key=lambda part: self._cost(part, labels, size)))

    def _whole_shares(self, labels: list[tuple[int, int]], many: int) -> list[int]:
        """How many of `many` like units each part surely gets, by what it still lacks."""
        lacking = [
            sum(
                count * max(self.want[part][label] - self.have[part][label], 0.0)
                for label, count in labels
            )
            for part in self.parts
        ]
        total = sum(lacking)
        if total <= 0.0:
            return [0 for _ in self.parts]
        return [int(many * lack / total + 1e-9) for lack in lacking]

    def _cost(self, part: int, labels: list[tuple[int, int]], size: int) -> float:
        """Change of the chi-square distance when the part gets a unit of these labels."""
        have, want = self.have[part], self.want[part]
        rows, wanted = self.have_rows[part], self.want_rows[part]
        cost = TOTAL_WEIGHT * size * (2.0 * (rows - wanted) + size) / wanted
        for label, count in labels:
            cost += count * (2.0 * (have[label] - want[label]) + count) / want[label]
        return cost

    def _rebalance(self) -> None:
        """Move lone images from parts that are too large to parts that are too small.

        Each class gives at most one image per move, where that changes its shares least, and
        never its last one.
        """
        units = self.units
        single = (units.size == 1) & (np.diff(units.start) == 1)
        label_of = units.label[units.start[:-1]]
        over = [have - want for have, want in zip(self.have_rows, self.want_rows, strict=True)]
        for giver in self.parts:
            for taker in self.parts:
                moves = int(min(over[giver], -over[taker]) + 0.5)
                if moves < 1:
                    continue
                movable = np.flatnonzero(single & (self.part == giver))
                moved = self._move(movable, label_of[movable], giver, taker, moves)
                over[giver] -= moved
                over[taker] += moved

    def _move(
        self,
        movable: Int64[np.ndarray, "m"],
        label: Int64[np.ndarray, "m"],
        giver: int,
        taker: int,
        moves: int,
    ) -> int:
        labels, first = np.unique(label, return_index=True)
        have_giver, have_taker, want_giver, want_taker = (
            np.array(table)[labels]
            for table in (self.have[giver], self.have[taker], self.want[giver], self.want[taker])
        )
        change = (1.0 - 2.0 * (have_giver - want_giver)) / want_giver
        change += (1.0 + 2.0 * (have_taker - want_taker)) / want_taker
        free = np.flatnonzero(have_giver > 1)
        cheapest = free[np.argsort(change[free], kind="stable")[:moves]]
        for unit in movable[first[cheapest]].tolist():
            for code, count in self.labels_of(unit):
                self.have[giver][code] -= count
            self.have_rows[giver] -= 1
            self.give(unit, taker)
        return len(cheapest)
