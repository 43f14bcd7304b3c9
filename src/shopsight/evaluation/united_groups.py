"""Groups and duplicate groups of several runs on the same images, joined into one.

A run that was trained without groups has none to give, and one whose copies were not searched for
knows no duplicates. What one run knows about the images holds for all of them: images that vary
together do so whichever model looks at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.linked_rows import codes_of
from shopsight.errors import CompareError
from shopsight.metrics.families import connected
from shopsight.runs.audited_catalog import DUPLICATE_GROUP
from shopsight.text import counted

GROUP = "group"
Codes = Int64[np.ndarray, "n"]


def with_united_groups(tables: Sequence[pl.DataFrame], names: Sequence[str]) -> list[pl.DataFrame]:
    """The tables with equal columns `group` and `duplicate_group`, where any of them has one.

    Images are in a group together if a run says so, and a group may be known to one run and not
    to another. Duplicate groups are joined: what one search missed another may have found.

    Args:
        tables: of predictions, with the same images in the same order.
        names: of the models, for messages.

    Raises:
        CompareError: images are in one group of a run and in several of another. Neither is
            taken: the finer groups could hide that images vary together, and where they are
            right the coarser ones are not this catalog's.
    """
    columns = []
    for column, must_agree in ((GROUP, True), (DUPLICATE_GROUP, False)):
        links = {
            name: codes_of(table[column])
            for table, name in zip(tables, names, strict=True)
            if column in table.columns
        }
        if not links:
            continue
        united = connected(len(tables[0]), list(links.values()))
        if must_agree:
            _check_groups(links, united, tables[0]["image"])
        columns.append(_column(column, united, links))
    return [
        table.drop(GROUP, DUPLICATE_GROUP, strict=False).with_columns(columns) for table in tables
    ]


def _column(name: str, united: Codes, links: dict[str, Codes]) -> pl.Series:
    """The united codes in the kind that predictions have: text for groups, null without one."""
    codes = pl.Series(name, united)
    if name == DUPLICATE_GROUP:
        return codes
    known = pl.Series(np.any([own >= 0 for own in links.values()], axis=0))
    blank = pl.Series([None], dtype=pl.String)
    return codes.cast(pl.String).zip_with(known, blank.new_from_index(0, len(codes))).alias(name)


def _check_groups(links: dict[str, Codes], united: Codes, images: pl.Series) -> None:
    """Refuse groups of a run that the groups of the others put together."""
    conflicts = list(_conflicts(links, united))
    if not conflicts:
        return
    run, pairs = max(conflicts, key=lambda conflict: len(conflict[1]))
    others = " and ".join(name for name in links if name != run)
    raise CompareError(
        f"{run} groups the images differently from {others}: "
        f"{counted(len(pairs), 'pair')} of images in two groups here are in one there",
        details=[_pair_text(links, run, images, *pair) for pair in pairs],
        fix="train all of them on one catalog with one column of groups (--group COLUMN)",
    )


def _conflicts(
    links: dict[str, Codes], united: Codes
) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Per run the pairs of images in two of its groups that are one group over all runs."""
    for name, own in links.items():
        rows = np.flatnonzero(own >= 0)
        # Of each group of the run its first image: a united group may hold but one of them.
        first = rows[np.unique(own[rows], return_index=True)[1]]
        first = first[np.lexsort((first, united[first]))]
        same = np.flatnonzero(united[first][1:] == united[first][:-1])
        if len(same):
            yield name, [_direct(links, name, int(first[at]), int(first[at + 1])) for at in same]


def _direct(links: dict[str, Codes], run: str, first: int, second: int) -> tuple[int, int]:
    """A pair from the two images' groups that another run has in one group, if there is one."""
    own = links[run]
    ours, theirs = (np.flatnonzero(own == own[row]) for row in (first, second))
    for name, other in links.items():
        shared = np.intersect1d(other[ours], other[theirs])
        shared = shared[shared >= 0]
        if name != run and len(shared):
            return (
                int(ours[other[ours] == shared[0]][0]),
                int(theirs[other[theirs] == shared[0]][0]),
            )
    return int(first), int(second)


def _pair_text(
    links: dict[str, Codes], run: str, images: pl.Series, first: int, second: int
) -> str:
    pair = f"{images[first]} and {images[second]}: two groups in {run}"
    for name, codes in links.items():
        if codes[first] == codes[second] >= 0:
            return f"{pair}, one in {name}"
    return f"{pair}, joined through other images by the other runs"
