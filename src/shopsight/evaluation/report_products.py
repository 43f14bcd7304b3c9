"""What report.html says of the score by product, beside that by photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shopsight.evaluation.metric_names import range_text, title_of, value_text
from shopsight.evaluation.score import Evaluation


@dataclass(frozen=True)
class BothScores:
    """A metric by photo and by product.

    Attributes:
        name: of the metric.
        photo: its value by photo.
        photo_range: the 95 % interval of that.
        product: its value by product.
        product_range: likewise.
    """

    name: str
    photo: str
    photo_range: str
    product: str
    product_range: str


@dataclass(frozen=True)
class ProductSection:
    """The section of products.

    Attributes:
        about: what is counted.
        rows: the metrics.
        gain: what one answer per product changes for the photos.
        calibration: whether confidence by product is right.
    """

    about: str
    rows: Sequence[BothScores]
    gain: str
    calibration: str


def product_section(main: Evaluation) -> ProductSection | None:
    """Both scores; None where images do not show products of several photos."""
    products = main.by_product
    if products is None:
        return None
    found = products.evaluation
    rows = [
        BothScores(
            title_of(name),
            value_text(name, interval.value),
            range_text(name, interval),
            value_text(name, found.intervals[name].value),
            range_text(name, found.intervals[name]),
        )
        for name, interval in main.intervals.items()
        if name in found.intervals
    ]
    note = products.note
    return ProductSection(
        about=f"{note[0].upper()}{note[1:]}.",
        rows=rows,
        gain=f"{products.gain_line[0].upper()}{products.gain_line[1:]}.",
        calibration=f"By product, {found.calibration.line}.",
    )
