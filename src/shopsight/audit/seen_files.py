"""What is known of the files so far, while they are inspected."""

from __future__ import annotations

import numpy as np
import polars as pl

from shopsight.audit.thumb_rows import empty_thumbs
from shopsight.image_rules.file_measures import MEASURES
from shopsight.images.thumbnails import unpacked

FILE = "file"
"""Column of the number of a file among those that are inspected."""


class SeenFiles:
    """What is known of the files so far.

    Args:
        count: number of files.
        like: a table of what is known of a file, without its thumbnail.

    Attributes:
        thumbs: thumbnail of each file, zeros where there is none.
        has_thumb: where there is one.
        has_file: which files are known.
        has_measures: of which files the measures are.
    """

    def __init__(self, count: int, like: pl.DataFrame) -> None:
        self.thumbs = empty_thumbs(count)
        self.has_thumb, self.has_file = np.zeros(count, bool), np.zeros(count, bool)
        self.has_measures = np.zeros(count, bool)
        self._like = like.clear()
        self._parts: list[pl.DataFrame] = []
        self._measures: list[pl.DataFrame] = []

    def add(self, part: pl.DataFrame) -> None:
        """Add what is known of some files; what is known already stays."""
        part = part.filter(~pl.Series(self.has_file[part[FILE].to_numpy()]))
        with_thumb = part.filter(pl.col("thumb").is_not_null())
        file = with_thumb[FILE].to_numpy()
        self.thumbs[file] = unpacked(with_thumb["thumb"])
        self.has_thumb[file] = self.has_file[part[FILE].to_numpy()] = True
        self._parts.append(part.select(FILE, *self._like.columns).rechunk())

    def add_measures(self, part: pl.DataFrame) -> None:
        """Add the measures of some files; those that are known already stay."""
        part = part.filter(~pl.Series(self.has_measures[part[FILE].to_numpy()]))
        self.has_measures[part[FILE].to_numpy()] = True
        self._measures.append(part.select(FILE, *MEASURES).rechunk())

    def files(self) -> pl.DataFrame:
        """The facts of all files, without thumbnails, in order."""
        return _in_order(self._parts, self._like)

    def measures(self) -> pl.DataFrame:
        """The measures of all files, in order."""
        return _in_order(self._measures, pl.DataFrame(schema=MEASURES))


def _in_order(parts: list[pl.DataFrame], like: pl.DataFrame) -> pl.DataFrame:
    empty = pl.DataFrame(schema={FILE: pl.UInt32, **like.schema})
    return pl.concat([empty, *parts], rechunk=True).sort(FILE).drop(FILE)
