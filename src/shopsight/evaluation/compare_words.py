"""What a comparison says in sentences: who is the best, or who cannot be distinguished."""

from __future__ import annotations

from shopsight.evaluation.comparison import Comparison, Entry
from shopsight.evaluation.metric_names import split_title
from shopsight.metrics.intervals import Interval
from shopsight.text import count_text, listed, percent_text

CHOSEN_FLATTERS = 0.0005
"""An optimism below a twentieth of a point is 0.0 in print, and goes without a number."""


def images_text(comparison: Comparison) -> str:
    """`"508 validation images"`."""
    return f"{count_text(comparison.images)} {split_title(comparison.split)} images"


def verdict(comparison: Comparison) -> str:
    """Who is the best, or who cannot be distinguished; empty for a model that is alone."""
    best, tied = comparison.best, comparison.may_be_best
    if len(comparison.entries) == 1:
        return ""
    if comparison.has_clear_winner:
        return f"{best.name} is better than the others by more than chance."
    reason = next((e.difference.reason for e in tied if e.difference and e.difference.reason), "")
    why = f" ({reason})" if reason else ""
    names = listed([entry.name for entry in tied])
    return f"These {images_text(comparison)} cannot tell {len(tied)} models apart{why}: {names}."


def about_cheapest(comparison: Comparison) -> str:
    """Of several that cannot be distinguished the cheapest; empty where it is not known."""
    cheapest = comparison.cheapest
    if cheapest is None:
        return ""
    cost = _cost_text(cheapest)
    text = f"The cheapest of them is {cheapest.name}: {cost}"
    if cheapest is comparison.best or cheapest.difference is None:
        return f"{text}."
    distance = distance_text(cheapest.difference)
    return f"{text}{f', {distance} {comparison.best.name}' if distance else ''}."


def _cost_text(entry: Entry) -> str:
    if entry.latency_ms is not None:
        return f"{entry.latency_ms:.1f} ms for one image"
    macs = 0 if entry.profile is None else entry.profile.macs
    return f"{macs / 1e9:.3f} billion multiply-adds for one image"


def distance_text(difference: Interval) -> str:
    """`"between 4.1 points worse and 0.6 points better than"`; empty without an interval."""
    if not difference.is_known:
        return ""
    worse, better = max(0.0, -100 * difference.low), max(0.0, 100 * difference.high)
    return f"between {worse:.1f} points worse and {better:.1f} points better than"


def about_choice(comparison: Comparison) -> str:
    """That the images which chose the best flatter it; empty for a model that is alone."""
    best, tied = comparison.best, comparison.may_be_best
    if len(comparison.entries) == 1:
        return ""
    chosen = (
        f"{best.name} was chosen on these images: as the best of {len(comparison.entries)} it "
        "looks better than it is"
    )
    if comparison.optimism >= CHOSEN_FLATTERS:
        points = f"{100 * comparison.optimism:.1f}"
        chosen += (
            f", by {points} points on average if the {len(tied)} are equally good. The lower end "
            "of its interval allows for that"
        )
    else:
        chosen += ", but little, as it is clear of the others" if len(tied) == 1 else ""
    return f"{chosen}."


def about_report(comparison: Comparison) -> str:
    """The score of the best on images that did not choose it; empty without such images."""
    reported = comparison.best.reported
    if reported is None:
        return ""
    images = f"{count_text(comparison.reported_images)} {split_title(comparison.reported_on)}"
    return (
        f"On the {images} images, which chose none of the models, {comparison.best.name} has "
        f"{score_text(reported)}: quote this. In training the {split_title(comparison.split)} "
        "images chose too (a penalty, a checkpoint), so that scores on them are a little too high."
    )


def score_text(score: Interval) -> str:
    """`"84.2 % (80.1 to 87.6)"`, or the reason why there is no interval."""
    value = percent_text(score.value)
    if not score.is_known:
        return f"{value} (no interval: {score.reason})"
    return f"{value} ({100 * score.low:.1f} to {100 * score.high:.1f})"


def standing(entry: Entry, comparison: Comparison) -> str:
    """`"best"`, `"may be the best"` or `"worse"`."""
    if entry.clearly_worse:
        return "worse"
    alone = len(comparison.may_be_best) == 1
    return "best" if alone else "may be the best"
