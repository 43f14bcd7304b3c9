"""audit.html: every kind of finding with thumbnails, and an overview of the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from markupsafe import Markup

from shopsight.audit.check_rules import RuleSection
from shopsight.audit.class_counts import (
    LABEL,
    USED,
    shown_classes,
)
from shopsight.audit.findings import BLOCKING_KINDS, KINDS, Finding, FindingKind
from shopsight.audit.statistics import AuditStatistics, SizeRange
from shopsight.audit.verdict import Verdict
from shopsight.catalog.catalog import Catalog
from shopsight.charts.bars import Bar, bar_chart
from shopsight.errors import ImageError
from shopsight.images.decode import decode, read_bytes
from shopsight.pages import thumbnail, write_page
from shopsight.prefetch import core_count, prefetch
from shopsight.progress import task
from shopsight.text import count_text, counted, human_bytes

SHOWN_PAIRS, SHOWN_IMAGES, SHOWN_LINES = 12, 18, 100
SHOWN_CLASSES = 100
_THUMBNAIL_PX = 160
# Kinds that the sections of rules show.
_KINDS_OF_RULES = frozenset({"image-rule", "image-advice"})
# Kinds shown as lines of a table: there is no image to show, or nothing to see in it.
_LISTED_KINDS = frozenset(
    {
        "most-missing",
        "unreachable",
        "host-failures",
        "one-class",
        "lost-class",
        "untrained-class",
        "unmeasured-class",
        "unreadable",
        "missing-file",
        "unlisted-file",
        "rare-class",
        "imbalance",
        "wrong-extension",
    }
)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image on the page.

    Attributes:
        src: the thumbnail as a data URI, empty where the file does not decode.
        image: name of the image in the catalog.
        label: its label, empty where it has none.
    """

    src: str
    image: str
    label: str


@dataclass(frozen=True, slots=True)
class KindSection:
    """One kind of finding on the page: as pairs, single images, or lines of a table.

    Attributes:
        name: key of the kind.
        kind: its title, severity and meaning.
        count: number of findings of this kind.
        pairs: findings about two images, with both thumbnails.
        images: findings about one image, with its thumbnail.
        lines: findings without thumbnails.
    """

    name: str
    kind: FindingKind
    count: int
    pairs: Sequence[tuple[Finding, Thumbnail, Thumbnail]] = ()
    images: Sequence[tuple[Finding, Thumbnail]] = ()
    lines: Sequence[Finding] = ()

    @property
    def hidden(self) -> int:
        """Number of findings that the page does not show."""
        return self.count - len(self.pairs) - len(self.images) - len(self.lines)

    @property
    def lines_have_image(self) -> bool:
        """Whether the findings in the table are about an image each."""
        return any(finding.image for finding in self.lines[:1])

    @property
    def lines_have_detail(self) -> bool:
        """Whether the findings in the table have more to say than their file."""
        return any(finding.detail for finding in self.lines[:1])


def write_audit_page(
    path: Path | str,
    *,
    catalog: Catalog,
    findings: Sequence[Finding],
    statistics: AuditStatistics,
    classes: pl.DataFrame,
    verdict: Verdict,
    rule_lines: Sequence[str] = (),
    rule_sections: Sequence[RuleSection] = (),
) -> Path:
    """Write the page.

    Args:
        path: the HTML file.
        catalog: the audited images.
        findings: in the order of `KINDS`.
        statistics: the counts.
        classes: see `class_counts.class_table`.
        verdict: whether the audit fails.
        rule_lines: what rules about images come to, in sentences.
        rule_sections: these rules.

    Returns:
        The path.
    """
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.kind not in _KINDS_OF_RULES:
            by_kind[finding.kind].append(finding)
    shown = [finding for kind in by_kind for finding in _shown(kind, by_kind[kind])]
    shown += [finding for section in rule_sections for finding in section.findings]
    images = _images(catalog, {row for f in shown for row in (f.row, f.other_row) if row >= 0})
    context = {
        "title": f"Audit of {catalog.name}",
        "lead": _lead(catalog, statistics),
        "verdict": banner(verdict),
        "tiles": _tiles(statistics),
        "sizes": _sizes(statistics),
        "notes": catalog.notes,
        "sections": [
            _section(kind, by_kind[kind], catalog, images) for kind in KINDS if kind in by_kind
        ],
        "rule_lines": rule_lines,
        "rules": [
            (
                section,
                [(f, Thumbnail(images.get(f.row, ""), f.image, "")) for f in section.findings],
            )
            for section in rule_sections
        ],
        "classes": _bars(
            dict(classes.select(LABEL, USED).iter_rows()),
            int(classes[USED].sum()),
            "Images used of each class",
        ),
        "class_table": shown_classes(classes, most=SHOWN_CLASSES),
        "formats": _bars(statistics.rows_per_format, statistics.num_rows, "Formats by content"),
        "splits": _bars(
            {name or "none": count for name, count in statistics.rows_per_split.items()},
            statistics.num_rows,
            "Rows of each given split",
        ),
    }
    return write_page(path, "audit", context)


def banner(verdict: Verdict) -> tuple[str, str]:
    """Tone and text of the banner: whether the audit fails, and by what."""
    failed, accepted = verdict.failed_by, verdict.accepted
    errors = sum(number for kind, number in failed.items() if kind in BLOCKING_KINDS)
    if errors:
        would = f"{counted(errors, 'finding')} would corrupt a score. Training refuses to start"
        return "error", (
            f"{would} until the data is fixed, the files are excluded, or the findings are "
            "accepted by name."
        )
    if failed:
        number = counted(sum(failed.values()), "finding")
        return "error", f"{number} that --fail-on refuses: {', '.join(failed)}."
    if accepted:
        number = counted(sum(accepted.values()), "finding")
        return "warning", f"{number} that would fail the audit, accepted: {', '.join(accepted)}."
    return "good", "Nothing here would corrupt a score."


def _lead(catalog: Catalog, statistics: AuditStatistics) -> str:
    lead = f"{count_text(statistics.num_rows)} rows. Every file was read once and decoded strictly."
    synthetic = " These images are synthetic: rendered, not photographed."
    return lead + synthetic if catalog.synthetic else lead


def _tiles(statistics: AuditStatistics) -> list[tuple[str, str]]:
    counts = [
        ("Rows", statistics.num_rows),
        ("Ok", statistics.num_ok),
        ("Damaged", statistics.num_damaged),
        ("Unreadable", statistics.num_unreadable),
        ("Missing", statistics.num_missing),
        *[("Unlabeled", statistics.num_unlabeled)] * bool(statistics.num_unlabeled),
        ("Files without a row", statistics.num_unlisted),
        ("Duplicate groups", statistics.num_duplicate_groups),
    ]
    size = ("Size of the files", human_bytes(statistics.total_bytes))
    return [*((name, count_text(count)) for name, count in counts), size]


def _sizes(statistics: AuditStatistics) -> list[tuple[str, str]]:
    """Names and values about the sizes of images; empty where none could be decoded."""
    if statistics.width is None or statistics.height is None:
        return []
    groups = count_text(statistics.num_groups) if statistics.num_groups else "none"
    return [
        ("Width, px", _range_text(statistics.width)),
        ("Height, px", _range_text(statistics.height)),
        ("Groups", groups),
    ]


def _range_text(size: SizeRange) -> str:
    return f"{size.smallest_px} to {size.largest_px}, median {size.median_px}"


def _shown(kind: str, findings: Sequence[Finding]) -> Sequence[Finding]:
    """The findings that are shown with thumbnails."""
    if kind in _LISTED_KINDS:
        return ()
    return findings[: SHOWN_PAIRS if findings[0].other_row >= 0 else SHOWN_IMAGES]


def _section(
    name: str, findings: Sequence[Finding], catalog: Catalog, images: Mapping[int, str]
) -> KindSection:
    def thumbnail_of(row: int, image: str) -> Thumbnail:
        return Thumbnail(images.get(row, ""), image, _label(catalog, row))

    kind, count, shown = KINDS[name], len(findings), _shown(name, findings)
    if not shown:
        return KindSection(name, kind, count, lines=findings[:SHOWN_LINES])
    if shown[0].other_row >= 0:
        pairs = [
            (f, thumbnail_of(f.row, f.image), thumbnail_of(f.other_row, f.other)) for f in shown
        ]
        return KindSection(name, kind, count, pairs=pairs)
    return KindSection(name, kind, count, images=[(f, thumbnail_of(f.row, f.image)) for f in shown])


def _label(catalog: Catalog, row: int) -> str:
    if not catalog.labels:
        return ""
    label = catalog.table["label"][row]
    if catalog.multilabel:
        return "" if label is None else " + ".join(label)
    return label or ""


def _images(catalog: Catalog, rows: Collection[int]) -> dict[int, str]:
    """Thumbnails of these rows; a row whose file cannot be decoded has none."""
    chosen = sorted(rows)
    refs = catalog.take(chosen).refs() if chosen else []

    def image(number: int) -> str:
        try:
            return thumbnail(
                decode(read_bytes(refs[number], catalog.access), at_least_px=_THUMBNAIL_PX),
                side_px=_THUMBNAIL_PX,
            )
        except ImageError:
            return ""

    with task("Writing the audit page", total=len(chosen)) as advance:
        made = {}
        for row, uri in zip(
            chosen, prefetch(image, range(len(chosen)), threads=core_count()), strict=True
        ):
            made[row] = uri
            advance(1)
    return made


def _bars(counts: Mapping[str, int], total: int, description: str) -> Markup:
    bars = [
        Bar(name, count, f"{count:,} ({count / max(total, 1):.1%})")
        for name, count in counts.items()
    ]
    return bar_chart(bars, description=description)
