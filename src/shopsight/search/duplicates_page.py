"""The page of duplicate products: each cluster with its images side by side."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight.audit.row_decisions import DROP, KEEP
from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.pages import Card, Shot, write_page
from shopsight.search.duplicate_products import KINDS, DuplicateProducts, Kind
from shopsight.text import count_text, counted

SHOWN_OF_EACH = 60
"""Clusters of a kind on the page: the surest and the least sure, since those are looked at."""
SHOWN_IMAGES = 10
SIDE_PX = 150

_ABOUT: dict[Kind, str] = {
    "same file": "Equal files.",
    "same image": "One image, encoded, scaled or brightened again.",
    "same product": "Other photos that are near. Many show another product: look at them.",
    "color variant": "One cut and one photo, other colors. Nothing is dropped.",
    "shared image": "Many rows or products share it, like a placeholder. Nothing is dropped.",
}


def write_duplicates_page(path: Path, found: DuplicateProducts, *, model: str) -> Path:
    """Write the page.

    Args:
        path: the .html file.
        found: what is shown.
        model: that compared the images.
    """
    counts = found.counts()
    context = {
        "title": "Duplicate products",
        "lead": _lead(found),
        "sections": [_section(found, kind, counts[kind]) for kind in KINDS if counts[kind]],
        "method": [
            ("model", model),
            ("threshold", found.threshold.line()),
            ("not compared", counted(len(found.failed), "image")),
        ],
    }
    return write_page(path, "duplicates", context)


def _lead(found: DuplicateProducts) -> str:
    of = " and ".join(f"{one.name} ({counted(len(one), 'image')})" for one in found.sides)
    clusters = counted(sum(found.counts().values()), "cluster")
    return f"{of}: {clusters}, {counted(found.dropped, 'image')} to drop."


def _section(found: DuplicateProducts, kind: Kind, count: int) -> tuple[str, str, list[Card]]:
    firsts = found.table.unique("cluster", keep="first", maintain_order=True)
    numbers = firsts.filter(pl.col("kind") == kind)["cluster"].to_list()
    about = _ABOUT[kind]
    if count > SHOWN_OF_EACH:
        half = SHOWN_OF_EACH // 2
        numbers = numbers[:half] + numbers[-half:]
        about += f" The {half} surest and the {half} least sure; all are in duplicates.csv."
    title = f"{kind.capitalize()}: {counted(count, 'cluster')}"
    return title, about, [_shown(found, number) for number in numbers]


def _shown(found: DuplicateProducts, number: int) -> Card:
    lines = found.table.filter(pl.col("cluster") == number)
    shots = [_shot(found, line) for line in lines.head(SHOWN_IMAGES).to_dicts()]
    more = lines.height - len(shots)
    said = f"cluster {number}, score {lines['score'][0]:.3f}"
    return Card(said, shots, f"{count_text(more)} more" if more > 0 else "")


def _shot(found: DuplicateProducts, line: dict[str, object]) -> Shot:
    side, row = int(str(line["side"])), int(str(line["row"]))
    decision = str(line["decision"])
    tone = {DROP: "bad", KEEP: "good"}.get(decision, "")
    size = f"{line['width']} x {line['height']} px, {line['score']:.3f}"
    of = f"{found.sides[side].name}: " if len(found.sides) > 1 else ""
    named = line["product"] or line["label"] or ""
    return Shot(
        image=row_thumbnail(found.sides[side], row, side_px=SIDE_PX),
        said=f"{decision}: {line['kind']}" if decision else str(line["kind"]),
        tone=tone,
        under=f"{named} {size}".strip(),
        file=f"{of}{line['id']}",
    )
