"""What metrics are called on a page, and how their values are written."""

from __future__ import annotations

import re

from shopsight.metrics.intervals import Interval
from shopsight.pages import percent_text
from shopsight.text import decimal_text

TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_precision": "Precision, macro",
    "macro_recall": "Recall, macro",
    "macro_f1": "F1, macro",
    "weighted_precision": "Precision, weighted",
    "weighted_recall": "Recall, weighted",
    "weighted_f1": "F1, weighted",
    "log_loss": "Log loss",
    "calibration_error": "Calibration error",
    "mean_average_precision": "Mean average precision",
    "micro_precision": "Precision, micro",
    "micro_recall": "Recall, micro",
    "micro_f1": "F1, micro",
    "samples_f1": "F1, by image",
    "subset_accuracy": "Exact match",
    "hierarchical_precision": "Precision, hierarchical",
    "hierarchical_recall": "Recall, hierarchical",
    "hierarchical_f1": "F1, hierarchical",
    "first_mistake_level": "Level of the first mistake",
}
# Digits of what is a number of its own; every other metric is a fraction of 1.
NUMBERS = {"log_loss": 3, "first_mistake_level": 2}
EN_DASH = "\N{EN DASH}"


def title_of(metric: str) -> str:
    """`"top_5_accuracy"` -> `"Top-5 accuracy"`."""
    if match := re.fullmatch(r"top_(\d+)_accuracy", metric):
        return f"Top-{match[1]} accuracy"
    if match := re.fullmatch(r"level_(\d+)_accuracy", metric):
        return f"Accuracy, level {match[1]}"
    return TITLES[metric]


def value_text(metric: str, value: float) -> str:
    """`"87.6 %"`, or for a loss `"0.123"`."""
    digits = NUMBERS.get(metric)
    return percent_text(value) if digits is None else decimal_text(value, digits)


def range_text(metric: str, interval: Interval) -> str:
    """`"85.6 – 91.1 %"`, or why there is none; with what weakens it."""
    if not interval.is_known:
        return f"no interval: {interval.reason}"
    note = f" ({interval.note})" if interval.note else ""
    return f"{_ends_text(metric, interval)}{note}"


def _ends_text(metric: str, interval: Interval) -> str:
    if digits := NUMBERS.get(metric):
        ends = (decimal_text(end, digits) for end in (interval.low, interval.high))
        return f" {EN_DASH} ".join(ends)
    return f"{percent_text(interval.low)[:-2]} {EN_DASH} {percent_text(interval.high)}"


def split_title(split: str) -> str:
    """The name of a part before the word "images": `"val"` -> `"validation"`."""
    return {"val": "validation", "train": "training", "all": "all"}.get(split, split)
