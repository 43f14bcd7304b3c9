"""What became of the rows of each part of a merge; the counts add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight.catalog.catalog import SPLITS, Catalog
from shopsight.catalog.merge_parts import PART, REPEAT
from shopsight.text import counted


@dataclass(frozen=True, eq=False)
class MergedRows:
    """The rows that are still there, and how many of each part went, and why.

    Attributes:
        catalog: the rows.
        left_out: rows by the name of their part and the reason.
    """

    catalog: Catalog
    left_out: Mapping[tuple[str, str], int]

    @classmethod
    def of(cls, catalog: Catalog) -> MergedRows:
        """All rows."""
        return cls(catalog, {})

    def without(self, gone: Bool[np.ndarray, "n"], reason: str) -> MergedRows:
        """Leave rows out, and count them."""
        if not gone.any():
            return self
        parts = Counter(self.catalog.table[PART].filter(pl.Series(gone)).to_list())
        left_out = {**self.left_out, **{(part, reason): count for part, count in parts.items()}}
        return MergedRows(self.catalog.take(np.flatnonzero(~gone)), left_out)

    def with_catalog(self, catalog: Catalog) -> MergedRows:
        """The same rows, changed otherwise."""
        assert len(catalog) == len(self.catalog), "rows are left out by `without`"
        return replace(self, catalog=catalog)


@dataclass(frozen=True)
class PartCounts:
    """Rows of one part: `read` = `written` + all of `left_out`; `repeats` come on top.

    Attributes:
        name: of the part.
        read: rows.
        left_out: rows, by reason.
        written: rows that are no repeats.
        repeats: rows that repeat another one.
        classes: that have a row in the merged catalog.
    """

    name: str
    read: int
    left_out: dict[str, int]
    written: int
    repeats: int
    classes: int


@dataclass(frozen=True)
class MergeCounts:
    """Rows of all parts, and what the merged catalog holds.

    Attributes:
        parts: in order.
        classes: of the merged catalog; fewer than the parts' together where they share some.
        splits: rows of each part of its split; empty without one.
    """

    parts: tuple[PartCounts, ...]
    classes: int
    splits: dict[str, int]

    @classmethod
    def of(
        cls, whole: Catalog, left_out: Mapping[tuple[str, str], int], written: Catalog
    ) -> MergeCounts:
        """Count.

        Args:
            whole: all rows that were read.
            left_out: see `MergedRows`.
            written: the rows that stay, and repeats.
        """
        table = written.table
        is_repeat = (
            table[REPEAT] > 0
            if REPEAT in table.columns
            else pl.repeat(False, len(table), eager=True)
        )
        parts = []
        for name, read in Counter(whole.table[PART].to_list()).items():
            own = table[PART] == name
            part = PartCounts(
                name=name,
                read=read,
                left_out={why: count for (of, why), count in left_out.items() if of == name},
                written=int((own & ~is_repeat).sum()),
                repeats=int((own & is_repeat).sum()),
                classes=table["label"].filter(own).n_unique(),
            )
            assert part.read == part.written + sum(part.left_out.values()), part
            parts.append(part)
        splits: dict[str, int] = {}
        if written.has("split"):
            found = Counter(table["split"].to_list())
            splits = {split: found[split] for split in SPLITS if found[split]}
        return cls(tuple(parts), len(written.labels), splits)

    @property
    def rows(self) -> int:
        """Rows of the merged catalog, repeats too."""
        return sum(part.written + part.repeats for part in self.parts)

    def left_out(self) -> dict[str, int]:
        """Rows that were left out, by reason."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part.left_out)
        return dict(total.most_common())

    def lines(self) -> list[str]:
        """The merged catalog in lines for a terminal."""
        repeats = sum(part.repeats for part in self.parts)
        of_them = f", {repeats:,} of them repeats" if repeats else ""
        lines = [f"catalog: {counted(self.rows, 'row')}{of_them}; {counted(self.classes, 'class')}"]
        if self.splits:
            lines.append("split: " + ", ".join(f"{k} {n:,}" for k, n in self.splits.items()))
        return [*lines, *(f"left out, {why}: {count:,}" for why, count in self.left_out().items())]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rows": self.rows,
            "classes": self.classes,
            "splits": self.splits,
            "left_out": self.left_out(),
            "parts": [asdict(part) for part in self.parts],
        }
