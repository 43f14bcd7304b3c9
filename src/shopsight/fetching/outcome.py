"""What became of the images and rows of a catalog, counted and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, get_args
from urllib.parse import urlsplit

from shopsight.fetching.fetch_images import in_a_line
from shopsight.fetching.image_content import suffix_of_kind
from shopsight.fetching.plan import FetchPlan
from shopsight.fetching.records import FetchRecord
from shopsight.images.kinds import KINDS, SUFFIXES_OF_FORMAT, has_image_suffix, suffix_of
from shopsight.text import counted, listed

Fate = Literal["fetched", "changed", "unchanged", "not asked", "kept", "failed"]
"""What became of an image: it is new; its file is another than before, or the same; it was fetched
before and not asked for again; it failed and has the file of an earlier command; it has none."""
FATES: tuple[Fate, ...] = get_args(Fate)


@dataclass(frozen=True)
class FailedImage:
    """An image that was not fetched.

    Attributes:
        url: as the table has it.
        reason: in a word.
        error: in a sentence.
        status: of the last answer; None where there was none.
        num_rows: rows of the catalog that name it.
        is_kept: an earlier command fetched it, and its file stays in the catalog.
    """

    url: str
    reason: str
    error: str
    status: int | None
    num_rows: int
    is_kept: bool = False


@dataclass(frozen=True)
class FetchCounts:
    """What became of the images; all of it adds up.

    Attributes:
        num_rows: of the catalog: one for each image of `fates`, `num_shared`, and `num_local`.
        fates: number of images, by what became of them.
        num_shared: further rows of an image that another row has too.
        num_local: rows whose image is no address of a web server; they stay as they are.
        reasons: number of images that failed, kept ones too, by reason.
        num_failed_rows: rows without an image, shared ones too; they are in failed.csv.
        num_files: different files of the images that are there.
    """

    num_rows: int
    fates: Mapping[Fate, int]
    num_shared: int
    num_local: int
    reasons: Mapping[str, int]
    num_failed_rows: int
    num_files: int


@dataclass(frozen=True)
class Outcome:
    """What became of every image and row.

    Attributes:
        counts: of images and rows.
        failed: the images that failed, in the order of their first rows.
        files: of each row, the path of its file below the folder of images; None without one.
        failures: of each row, why it has no file; None where it has one, or names no address.
        notes: what is odd about the files that came.
    """

    counts: FetchCounts
    failed: tuple[FailedImage, ...]
    files: list[str | None]
    failures: list[FailedImage | None]
    notes: tuple[str, ...]


def outcome_of(
    plan: FetchPlan,
    records: Mapping[str, FetchRecord],
    before: Mapping[str, str | None],
    not_asked: set[str],
) -> Outcome:
    """Say what became of the images.

    Args:
        plan: of the command.
        records: what is known of each image.
        before: sha256 of each image that a former command fetched and whose file was there.
        not_asked: images that this command did not ask for.
    """
    fates = {
        one.canonical: _fate(
            records[one.canonical], before.get(one.canonical), one.canonical in not_asked
        )
        for one in plan.wanted
    }
    failed, bad = _failed_images(plan, records, fates), _bad_addresses(plan)
    files = {name: records[name].file for name, fate in fates.items() if fate != "failed"}
    why = {name: one for name, one in failed.items() if not one.is_kept}
    failures = [
        why.get(canonical or "") or bad.get(ref)
        for ref, canonical in zip(plan.refs, plan.canonical, strict=True)
    ]
    num_local = plan.canonical.count(None) - sum(one.num_rows for one in bad.values())
    number = Counter([*fates.values(), *("failed" for _ in bad)])
    all_failed = (*failed.values(), *bad.values())
    counts = FetchCounts(
        num_rows=len(plan.refs),
        fates={fate: number[fate] for fate in FATES},
        num_shared=len(plan.refs) - num_local - number.total(),
        num_local=num_local,
        reasons=dict(Counter(one.reason for one in all_failed).most_common()),
        num_failed_rows=len(failures) - failures.count(None),
        num_files=len({*files.values()}),
    )
    return Outcome(
        counts,
        all_failed,
        [files.get(canonical or "") for canonical in plan.canonical],
        failures,
        tuple(_about_kinds([records[canonical] for canonical in files])),
    )


def _failed_images(
    plan: FetchPlan, records: Mapping[str, FetchRecord], fates: Mapping[str, Fate]
) -> dict[str, FailedImage]:
    rows = Counter(plan.canonical)
    return {
        one.canonical: FailedImage(
            one.url,
            record.reason or "",
            record.error or "",
            record.status,
            rows[one.canonical],
            is_kept=fates[one.canonical] == "kept",
        )
        for one in plan.wanted
        if fates[one.canonical] in {"kept", "failed"}
        for record in (records[one.canonical],)
    }


def _bad_addresses(plan: FetchPlan) -> dict[str, FailedImage]:
    rows = Counter(plan.refs) if plan.bad else Counter[str]()
    return {
        ref: FailedImage(ref, error.reason, in_a_line(error), None, rows[ref])
        for ref, error in plan.bad.items()
    }


def _fate(record: FetchRecord, before: str | None, not_asked: bool) -> Fate:
    if not_asked:
        return "not asked"
    if record.reason is not None:
        return "failed" if before is None else "kept"
    if before is None:
        return "fetched"
    return "unchanged" if record.sha256 == before else "changed"


def _about_kinds(records: list[FetchRecord]) -> list[str]:
    """What is said of files whose name promises another format, and of those that are not read."""
    renamed, unread = Counter[str](), Counter[str]()
    for record in records:
        assert record.format is not None
        suffix = suffix_of(PurePosixPath(urlsplit(record.url).path).name)
        if has_image_suffix(suffix) and suffix not in SUFFIXES_OF_FORMAT[record.format]:
            renamed[f"{suffix} as {suffix_of_kind(record.format)}"] += 1
        if record.width is None:
            unread[record.format] += 1
    notes = []
    if renamed:
        pairs = [f"{pair} ({count:,})" for pair, count in renamed.most_common()]
        notes.append(f"kept under the suffix of their content: {listed(pairs)}")
    for kind, count in unread.most_common():
        notes.append(f"{counted(count, 'file')}: {KINDS[kind].words}: {KINDS[kind].way_out}")
    return notes
