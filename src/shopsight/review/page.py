"""The page of a review: thumbnails with what is given and what is suggested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.pages import Card, Shot, percent_text, write_page
from shopsight.review.decide import DOUBT, FILL, SAME, UNKNOWN, UNSURE, Review
from shopsight.review.shop_products import PRODUCT, ShopProducts
from shopsight.review.summary import caution_lines, filled_line, measured_line, with_ends
from shopsight.text import count_text, counted

SHOWN_OF_EACH = 60
SIDE_PX = 150

_TITLES = {
    DOUBT: (
        "Doubtful categories",
        "The model says another one; the least likely given ones first.",
    ),
    FILL: (
        "Filled in",
        "The least sure of them first: looked at here, mistakes are found soonest.",
    ),
    UNSURE: ("Without a category", "The suggestion is not sure enough; the surest first."),
    UNKNOWN: ("Categories that the model does not know", "Nothing is said of them."),
}


def write_review_page(
    path: Path, review: Review, shop: ShopProducts, *, method: Mapping[str, str]
) -> Path:
    """Write the page.

    Args:
        path: the .html file.
        review: the products.
        shop: where their photos are.
        method: how the review came about.
    """
    sections = [_section(review, shop.photos, action) for action in _TITLES]
    measured = measured_line(review.promise)
    context = {
        "title": f"Categories of {shop.name}",
        "lead": f"{filled_line(review)}.",
        "tiles": _tiles(review),
        "said": [*([measured] if measured else []), *caution_lines(review)],
        "sections": [section for section in sections if section is not None],
        "method": list(method.items()),
    }
    return write_page(path, "review", context)


def _tiles(review: Review) -> list[tuple[str, str, str]]:
    promise = review.promise
    given = len(review.of(SAME, DOUBT))
    precision = with_ends(promise.measured).split(" [") if promise.is_kept else ["none", ""]
    return [
        ("filled in", count_text(len(review.of(FILL))), f"of {count_text(review.num_missing)}"),
        ("precision", precision[0], f"[{precision[1]}" if precision[1] else ""),
        ("doubtful", count_text(len(review.of(DOUBT))), f"of {count_text(given)} given"),
        ("unknown to the model", count_text(len(review.of(UNKNOWN))), ""),
    ]


def _section(review: Review, photos: Catalog, action: str) -> tuple[str, str, list[Card]] | None:
    rows = review.of(action)
    if not len(rows):
        return None
    if action == FILL:
        rows = rows.sort("confidence", maintain_order=True)
    title, about = _TITLES[action]
    shots = [_shot(line, photos) for line in rows.head(SHOWN_OF_EACH).iter_rows(named=True)]
    more = len(rows) - len(shots)
    card = Card("", shots, f"{count_text(more)} more in review.csv" if more else "")
    return f"{title}: {counted(len(rows), 'product')}", about, [card]


def _shot(line: Mapping[str, Any], photos: Catalog) -> Shot:
    given = line["given"]
    tone = {DOUBT: "bad", FILL: "good"}.get(line["action"], "")
    title = line["title"] or ""
    return Shot(
        image=row_thumbnail(photos, line["row"], side_px=SIDE_PX),
        said=f"{_leaf(line['suggested'])} {percent_text(line['confidence'], 0)}",
        tone=tone,
        under=f"given: {_leaf(given)}" if given else "no category",
        file=f"{line[PRODUCT]}: {title}" if title else line[PRODUCT],
    )


def _leaf(label: str) -> str:
    """The last level of a path: what fits below a thumbnail."""
    return label.rsplit(" > ", maxsplit=1)[-1]
