"""What must stay together in a split: images that a file, a group or a duplicate group connects."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64, UInt64

from shopsight.metrics.families import connected
from shopsight.splitmix import mix64


@dataclass(frozen=True)
class Units:
    """Units in a random order that only the salt and the image names decide.

    Attributes:
        of_row: index of the unit of each row.
        size: number of rows of each unit.
        start: the entries of unit u are start[u]:start[u + 1] of `label` and `count`.
        label: label codes, ascending within a unit.
        count: number of rows of the unit that have the label.
        num_labels: number of label codes; the last code means "no label" and need not be in every
            part.
        seed: of whatever else is drawn for these units; the salt decides it.
    """

    of_row: Int64[np.ndarray, "n"]
    size: Int64[np.ndarray, "u"]
    start: Int64[np.ndarray, "u_1"]
    label: Int64[np.ndarray, "e"]
    count: Int64[np.ndarray, "e"]
    num_labels: int
    seed: int

    def units_of_label(self) -> Int64[np.ndarray, "c"]:
        """Number of units in which each label occurs."""
        return np.bincount(self.label, minlength=self.num_labels).astype(np.int64)

    def only(self, kept: Bool[np.ndarray, "u"]) -> Units:
        """These units alone, in their order; `of_row` is -1 for the rows of the others."""
        if kept.all():
            return self
        inside = np.repeat(kept, np.diff(self.start))
        index = np.where(kept, np.cumsum(kept) - 1, -1)
        return Units(
            of_row=index[self.of_row],
            size=self.size[kept],
            start=np.append(0, np.cumsum(np.diff(self.start)[kept])),
            label=self.label[inside],
            count=self.count[inside],
            num_labels=self.num_labels,
            seed=self.seed,
        )


def gather_units(
    images: Sequence[str],
    row_of_label: Int64[np.ndarray, "e"],
    label: Int64[np.ndarray, "e"],
    *,
    num_labels: int,
    links: Sequence[Int64[np.ndarray, "n"]],
    salt: str,
) -> Units:
    """Join rows to units along the links between them.

    Args:
        images: names of the rows' images; with the salt they order the units.
        row_of_label: row of each (row, label) pair.
        label: label code of each pair, below `num_labels`.
        num_labels: number of label codes, see `Units`.
        links: each gives every row a code; rows with the same code stay together, -1 links nothing.
        salt: another salt gives another order.
    """
    keys = _keys(images, salt)
    component = connected(len(images), links)
    # A unit is known by the smallest key among its rows, so its index does not depend on their
    # order.
    smallest = np.full(int(component.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, component, keys)
    index = np.empty(len(smallest), np.int64)
    # Mixed: of many rows one is likely to have a small key, and large units would come first.
    index[np.argsort(mix64(smallest), kind="stable")] = np.arange(len(smallest))
    of_row = index[component]
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
        num_labels=num_labels,
        seed=int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=8).digest()),
    )


def _keys(images: Sequence[str], salt: str) -> UInt64[np.ndarray, "n"]:
    """A 64-bit hash of each name; two of a million names collide with probability 3e-8."""
    salted = hashlib.blake2b(salt.encode(), digest_size=16).digest()
    blake2b = hashlib.blake2b
    keys = bytearray()
    for name in images:
        keys += blake2b(name.encode(), digest_size=8, key=salted).digest()
    return np.frombuffer(keys, np.uint64)
