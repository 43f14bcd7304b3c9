"""Checks of single files: broken, missing, blank, tiny, elongated, misnamed, unlisted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from shopsight.audit.audit_data import AuditData
from shopsight.audit.findings import Finding
from shopsight.catalog.catalog import Catalog
from shopsight.images.kinds import IMAGE_SUFFIXES, SUFFIXES_OF_FORMAT
from shopsight.io.addresses import host_of
from shopsight.io.reasons import count_by_host
from shopsight.text import counted

BLANK_CONTRAST_LEVELS = 1.5
"""Standard deviation of the strongest channel, in levels of 255, below which an image is blank."""

TINY_PX = 32
TINY_FRACTION_OF_MEDIAN = 0.25
"""The shorter side of a tiny image is below both: `TINY_PX` and this fraction of the median."""

ODD_ASPECT = 3.0
"""Longer over shorter side, above which an aspect is odd."""

MISSING_FRACTION = 0.5
"""When more than this fraction of the files is missing, the folder is the wrong one; of a host's,
the host is not reached."""

# Of `shop/a.JPG` the `.JPG`; `.jpg` alone is a hidden file without a suffix.
_SUFFIX = r"[^/](\.[^./]+)/*$"
_KIND_OF_STATUS = {"unreadable": "unreadable", "missing": "missing-file", "damaged": "damaged"}


def check_files(data: AuditData) -> Iterator[Finding]:
    """Find files that are missing, broken or unlike the others, in the order of the catalog."""
    catalog, files = data.catalog, data.files
    refs = catalog.refs()
    yield from _most_missing(catalog, files, refs)
    yield from _hosts(files, refs)
    rows = files.with_row_index("row")
    for row, image, status, problem in (
        rows.filter(pl.col("status") != "ok")
        .select("row", "image", "status", "problem")
        .iter_rows()
    ):
        yield Finding(_KIND_OF_STATUS[status], image, detail=problem, row=row)
    decoded = rows.filter(pl.col("width").is_not_null()).with_columns(
        short=pl.min_horizontal("width", "height"), long=pl.max_horizontal("width", "height")
    )
    yield from _blank(decoded)
    yield from _tiny(decoded)
    yield from _odd_aspect(decoded)
    yield from _wrong_extension(decoded)
    for name in catalog.unlisted:
        yield Finding("unlisted-file", name)


def _most_missing(catalog: Catalog, files: pl.DataFrame, refs: Sequence[str]) -> Iterator[Finding]:
    missing = [
        row for row in (files["status"] == "missing").arg_true() if host_of(refs[row]) is None
    ]
    if len(missing) > MISSING_FRACTION * len(catalog):
        sought = refs[missing[0]]
        folder = f" in {catalog.root}" * bool(catalog.root)
        lacking = f"{len(missing):,} of {counted(len(catalog), 'row')}"
        yield Finding(
            "most-missing", "", detail=f"{lacking} without a file; looked{folder} for {sought}"
        )


def _hosts(files: pl.DataFrame, refs: Sequence[str]) -> Iterator[Finding]:
    """What each host did not give: another folder would not help."""
    for count in count_by_host(refs, files["reason"]):
        failed = count.failed.total()
        if failed:
            most = failed > MISSING_FRACTION * count.asked
            yield Finding("unreachable" if most else "host-failures", "", detail=count.line)


def _blank(decoded: pl.DataFrame) -> Iterator[Finding]:
    blank = decoded.filter(pl.col("contrast") < BLANK_CONTRAST_LEVELS)
    for row, image in blank.select("row", "image").iter_rows():
        yield Finding("blank", image, row=row)


def _tiny(decoded: pl.DataFrame) -> Iterator[Finding]:
    """Small by itself and against the others: in a data set of 28 px images none is tiny."""
    median = decoded["short"].median()
    if not isinstance(median, float | int):
        return
    limit = min(TINY_PX, TINY_FRACTION_OF_MEDIAN * median)
    tiny = decoded.filter(pl.col("short") < limit)
    for row, image, width, height in tiny.select("row", "image", "width", "height").iter_rows():
        yield Finding("tiny", image, detail=f"{width} x {height} px", row=row)


def _odd_aspect(decoded: pl.DataFrame) -> Iterator[Finding]:
    odd = decoded.filter(pl.col("long") > ODD_ASPECT * pl.col("short"))
    for row, image, width, height in odd.select("row", "image", "width", "height").iter_rows():
        yield Finding("odd-aspect", image, detail=f"{width} x {height} px", row=row)


def _wrong_extension(decoded: pl.DataFrame) -> Iterator[Finding]:
    named = decoded.with_columns(suffix=pl.col("image").str.extract(_SUFFIX).str.to_lowercase())
    pairs = named.select("suffix", "format").unique().drop_nulls()
    wrong = pairs.filter(
        [
            suffix in IMAGE_SUFFIXES and suffix not in SUFFIXES_OF_FORMAT[kind]
            for suffix, kind in pairs.iter_rows()
        ]
    )
    odd = named.join(wrong, on=["suffix", "format"], how="semi", maintain_order="left")
    for row, image, kind in odd.select("row", "image", "format").iter_rows():
        yield Finding("wrong-extension", image, detail=f"holds {kind}", row=row)
