"""What an audit can find, and how serious each kind is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

NO_ROW = -1


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One kind of finding: how serious, and what it means in a sentence."""

    severity: Severity
    title: str
    meaning: str


# In the order in which they are shown. Errors would corrupt a score and stop a training run;
# files that cannot be used are warnings, because they are left out by name.
KINDS: Mapping[str, FindingKind] = {
    "most-missing": FindingKind(
        "error",
        "Most rows without a file",
        "The images were looked for in the wrong folder: --images-root names another (of a "
        "named data set also --root).",
    ),
    "split-leak": FindingKind(
        "error",
        "Same image in two splits",
        "The model would be tested on what it was trained on.",
    ),
    "group-leak": FindingKind(
        "error",
        "Same group in two splits",
        "A product (or contributor) that straddles the split makes the test easier than life.",
    ),
    "label-conflict": FindingKind(
        "error",
        "Same file under two labels",
        "At least one of the labels is wrong, so neither training nor testing can be right.",
    ),
    "unreadable": FindingKind("warning", "Unreadable file", "Left out by name."),
    "missing-file": FindingKind("warning", "Row without a file", "Left out by name."),
    "damaged": FindingKind(
        "warning",
        "Damaged file",
        "Decodes, but to other pixels than it once held. Left out unless accepted.",
    ),
    "near-label-conflict": FindingKind(
        "warning",
        "Near duplicates under two labels",
        "One of the labels may be wrong.",
    ),
    "label-spelling": FindingKind(
        "warning",
        "Label spelled in two ways",
        "Differing only in case, blanks or hyphens, these count as separate classes.",
    ),
    "rare-class": FindingKind(
        "warning", "Rare class", "Too few images to learn from, or to measure by."
    ),
    "exact-duplicate": FindingKind(
        "warning", "Exact duplicate", "The same file twice; kept on one side of a split."
    ),
    "blank": FindingKind("warning", "Blank image", "One color from edge to edge."),
    "near-duplicate": FindingKind(
        "note", "Near duplicate", "The same image, encoded again; kept on one side of a split."
    ),
    "tiny": FindingKind("note", "Tiny image", "Much smaller than the others."),
    "odd-aspect": FindingKind("note", "Odd aspect", "More than three times as long as wide."),
    "wrong-extension": FindingKind(
        "note", "Wrong extension", "Read by content, whatever the name says."
    ),
    "unlisted-file": FindingKind("note", "File without a row", "Not used."),
    "imbalance": FindingKind(
        "note", "Imbalance", "Accuracy says little about the small classes; see balanced accuracy."
    ),
}
BLOCKING_KINDS = frozenset(kind for kind, about in KINDS.items() if about.severity == "error")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        image, other: as the catalog names them; empty where the finding is not about an image.
        row, other_row: of the catalog, or -1.
    """

    kind: str
    image: str
    other: str = ""
    detail: str = ""
    row: int = NO_ROW
    other_row: int = NO_ROW

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "severity": self.severity,
            "image": self.image,
            "other": self.other,
            "detail": self.detail,
        }
