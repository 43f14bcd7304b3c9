"""A review in sentences, for the command line and the page."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from shopsight.metrics.intervals import Interval
from shopsight.metrics.promised_precision import PromisedPrecision
from shopsight.review.decide import DOUBT, FILL, Review
from shopsight.text import count_text, counted, listed, percent_text, percent_with_ends


def filled_line(review: Review) -> str:
    """`"412 of 562 products without a category filled, precision 99.1 % [98.0, 99.7]"`."""
    filled, missing = len(review.of(FILL)), review.num_missing
    of = f"{count_text(filled)} of {counted(missing, 'product')} without a category"
    if not missing:
        return "no product with a readable photo is without a category"
    if not review.promise.is_kept:
        return f"{of} filled: {why_none(review.promise)}"
    by_hand = len(review.of(FILL).filter(pl.col("confidence") < review.promise.threshold))
    more = f"; {count_text(by_hand)} of them accepted below that confidence" if by_hand else ""
    return (
        f"{of} filled, precision {with_ends(review.promise.measured)} "
        f"(promised: {percent_text(review.promise.wanted)}){more}"
    )


def measured_line(promise: PromisedPrecision) -> str:
    """On which products the precision was measured; "" where it was not."""
    if not promise.is_kept:
        return ""
    return (
        f"measured on {count_text(promise.num_measured)} of "
        f"{counted(promise.num_labeled, 'product')} with a category, those whose suggestion has a "
        f"confidence of {promise.threshold:.3f} or more: "
        f"{count_text(promise.num_right)} are as given"
    )


def why_none(promise: PromisedPrecision) -> str:
    """Why nothing is filled in, and what would help."""
    wanted = percent_text(promise.wanted)
    if not promise.num_labeled:
        return (
            f"no product with a category says how often suggestions are right; {wanted} needs "
            f"{count_text(promise.num_needed or 0)} at least"
        )
    seen = (
        f"of the {counted(promise.num_measured, 'product')} with the surest suggestions "
        f"{count_text(promise.num_right)} are as given, which promises "
        f"{percent_text(promise.measured.low)} and not {wanted}"
    )
    more = (
        ""
        if promise.num_needed is None
        else f", have about {count_text(promise.num_needed)} products with a category instead of "
        f"{count_text(promise.num_labeled)} (as many of them right)"
    )
    return f"{seen}; correct doubtful categories{more}, or ask for a lower --precision"


def doubt_line(review: Review) -> str:
    """`"31 given categories are doubted"`."""
    doubted = len(review.of(DOUBT))
    return f"{counted(doubted, 'given category')} {'is' if doubted == 1 else 'are'} doubted"


def caution_lines(review: Review) -> list[str]:
    """What the figures do not say."""
    lines = []
    if review.unknown:
        total = sum(review.unknown.values())
        lines.append(
            f"in categories that the model does not know, neither judged nor suggested: "
            f"{counted(total, 'product')} of {_named(review.unknown)}"
        )
    if review.few:
        lines.append(
            f"with fewer than 10 labeled products little is known of a category: "
            f"{_named(review.few)}"
        )
    if review.seen:
        lines.append(
            f"optimistic for {counted(review.seen, 'product')}: the backbone was fine-tuned on "
            "them, and only the head is new; the precision is that of the others"
        )
    if review.without_photo:
        lines.append(f"without a photo: {counted(review.without_photo, 'product')}")
    if review.not_answered:
        first = next(iter(review.not_answered.items()))
        lines.append(
            f"without a readable photo: {counted(len(review.not_answered), 'product')}, e.g. "
            f"{first[0]}: {first[1]}"
        )
    no_cell = review.table.filter(review.table["cell"].is_null())["suggested"].unique().sort()
    if len(no_cell):
        lines.append(
            f"not written, as no cell of the export says them: {listed(no_cell.to_list(), most=3)}"
        )
    return lines


def with_ends(interval: Interval) -> str:
    """`"99.1 % [98.0, 99.7]"`."""
    return percent_with_ends(interval.value, interval.low, interval.high)


def _named(counts: Mapping[str, int]) -> str:
    by_count = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return listed([f"{name} ({count_text(count)})" for name, count in by_count], most=3)
