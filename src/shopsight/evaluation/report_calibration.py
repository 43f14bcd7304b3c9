"""What report.html says of confidence: its error beside chance, the temperature, the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shopsight.bundle.format import BundleInfo
from shopsight.evaluation.run_info import RunFacts
from shopsight.evaluation.score import Evaluation
from shopsight.metrics.calibration_check import FEWEST_CELLS, CalibrationCheck
from shopsight.metrics.class_calibration import FALSE_DISCOVERIES, FEWEST_IMAGES
from shopsight.metrics.shares import FEWEST_FAMILIES
from shopsight.pages import percent_text
from shopsight.text import count_text, counted, decimal_text

MOST_CLASSES = 20
"""Shown; all that are off are in the JSON."""


@dataclass(frozen=True)
class OffClass:
    """A class whose confidence is off by more than chance.

    Attributes:
        label: the class.
        images: that were given it.
        confidence: their mean.
        accuracy: the fraction of them that is right.
        direction: "too sure" or "too unsure".
    """

    label: str
    images: int
    confidence: float
    accuracy: float
    direction: str


@dataclass(frozen=True)
class CalibrationWords:
    """The text beside the diagram.

    Attributes:
        verdict: the first sentence.
        error: the calibration error, and what chance alone gives.
        gap: mean confidence against accuracy, with an interval.
        diagram: how to read it.
        temperature: what the logits were divided by; empty where nothing was fitted.
        classes: those that are off, of the most images first.
        classes_about: how many were judged, and how.
    """

    verdict: str
    error: str
    gap: str
    diagram: str
    temperature: str
    classes: tuple[OffClass, ...]
    classes_about: str


def calibration_words(main: Evaluation, facts: RunFacts) -> CalibrationWords:
    """The text of the section on calibration."""
    check = main.calibration
    text = check.verdict_text
    return CalibrationWords(
        verdict=f"{text[0].upper()}{text[1:]}.",
        error=(
            f"The calibration error is {percent_text(check.error)}: the mean distance between "
            f"confidence and accuracy in {len(check.bins.count)} bins, weighted by images. No "
            "model brings it to zero: of a perfectly calibrated one with these confidences it is "
            f"{percent_text(check.by_chance)} in the mean, and up to "
            f"{percent_text(check.most_by_chance)} in 19 of 20 samples."
        ),
        gap=_gap(check),
        diagram=_diagram(main),
        temperature=temperature_words(main, facts),
        classes=tuple(_off(check, at, main.predictions.labels) for at in _shown(check)),
        classes_about=_classes_about(main),
    )


def _gap(check: CalibrationCheck) -> str:
    gap = check.gap
    named = f"Mean confidence less accuracy: {100 * gap.value:+.1f} points"
    if not gap.is_known:
        return f"{named}; no interval ({gap.reason})."
    note = f"; {gap.note}" if gap.note else ""
    return f"{named} (95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f}{note})."


def _diagram(main: Evaluation) -> str:
    what = "decisions" if main.predictions.multilabel else "images"
    pairs = (
        " Every yes-or-no decision counts: each image with each label."
        if main.predictions.multilabel
        else ""
    )
    return (
        f"A bar is the fraction that is right among {what} of that confidence; the dashed diagonal "
        "is what it should be. The gray box is where the accuracy of a perfectly calibrated model "
        "would lie by chance, in all bins at once in 19 of 20 samples; a bar that ends outside of "
        f"its box is orange. Bins of fewer than {FEWEST_CELLS} {what} are joined to the next. The "
        f"bars below show how many there are.{pairs}"
    )


def temperature_words(main: Evaluation, facts: RunFacts) -> str:
    """What the logits were divided by, and how surely that is known."""
    if main.folds:
        own = (
            "Each of these predictions is by the network of a fold, at the temperature that was "
            "fitted on that fold's own validation images."
        )
        bundle = _temperature(facts.info, facts.state)
        if not bundle:
            return own
        return (
            f"{own} The bundle answers by another network, at a temperature of {bundle}: this "
            "section is not about its confidence."
        )
    found = _temperature(facts.info, facts.state)
    if not found:
        return ""
    return (
        f"Logits were divided by a temperature of {found}, fitted on the validation images; a "
        "value above 1 means that the network alone was too sure of itself."
    )


def _temperature(info: BundleInfo | None, state: Mapping[str, Any]) -> str:
    """`"1.31 (1.12 to 1.53)"`; empty where none was fitted (a value of 1)."""
    if info is None or info.temperature == 1:
        return ""
    noted = state.get("temperature")
    ends = [noted.get(name) for name in ("low", "high")] if isinstance(noted, Mapping) else []
    if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        return decimal_text(info.temperature)
    low, high = ends
    return (
        f"{decimal_text(info.temperature, 2)} ({decimal_text(low, 2)} to {decimal_text(high, 2)})"
    )


def _shown(check: CalibrationCheck) -> list[int]:
    shown: list[int] = check.classes.off[:MOST_CLASSES].tolist()
    return shown


def _off(check: CalibrationCheck, at: int, labels: tuple[str, ...]) -> OffClass:
    classes = check.classes
    confidence, accuracy = float(classes.confidence[at]), float(classes.accuracy[at])
    direction = "too sure" if confidence > accuracy else "too unsure"
    return OffClass(labels[at], int(classes.images[at]), confidence, accuracy, direction)


def _classes_about(main: Evaluation) -> str:
    classes, count = main.calibration.classes, len(main.predictions.labels)
    judged, off = classes.num_judged, len(classes.off)
    given = "have or should have" if main.predictions.multilabel else "were given"
    if main.counts["families"] < FEWEST_FAMILIES:
        return f"No class is judged: fewer than {FEWEST_FAMILIES} families of images."
    few = f"fewer than {FEWEST_IMAGES} images {given} it"
    if not judged:
        return f"No class is judged: of each, {few}, or they are of too few families."
    left_out = count - judged
    others = (
        f" {counted(left_out, 'class')} {'is' if left_out == 1 else 'are'} not judged: {few}, or "
        f"they are of fewer than {FEWEST_FAMILIES} families."
        if left_out
        else ""
    )
    found = (
        f"{count_text(off)} of {counted(judged, 'class')} {'is' if off == 1 else 'are'} off by "
        "more than chance"
        if off
        else f"None of {counted(judged, 'class')} is off by more than chance"
    )
    shown = (
        f" The {MOST_CLASSES} that matter to most images are shown." if off > MOST_CLASSES else ""
    )
    return (
        f"{found} (of the classes that are named, {FALSE_DISCOVERIES:.0%} at most are named "
        f"wrongly in the mean).{shown}{others}"
    )
