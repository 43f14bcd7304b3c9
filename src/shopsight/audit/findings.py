"""What an audit can find, and how serious each kind is.

To add a check: a kind in `KINDS` here, a function in one of the `check_*` modules, and its name in
`audit.CHECKS`; see docs/howto/add-a-check.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from shopsight.errors import ConfigError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

NO_ROW = -1
"""Row of a finding that is not about a row."""


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One kind of finding.

    Attributes:
        severity: "error" would corrupt a score and stops training; "warning" and "note" do not.
        title: a few words, for tables and headings.
        meaning: what it means for the data, in a sentence.
    """

    severity: Severity
    title: str
    meaning: str


# In the order in which they are shown. Files that cannot be used are warnings, because training
# excludes them by name.
KINDS: dict[str, FindingKind] = {
    "most-missing": FindingKind(
        "error",
        "Most rows without a file",
        "The images were looked for in the wrong folder: name theirs with --images-root (a named "
        "data set also takes --root).",
    ),
    "unreachable": FindingKind(
        "error",
        "Host that gave few images",
        "Most of its images were not read. Whether the host is down, refuses, or lacks them is "
        "said with the finding; --accept unreachable trains on the others.",
    ),
    "one-class": FindingKind(
        "error",
        "One class only",
        "There is nothing to tell apart: any model would score 100 %.",
    ),
    "lost-class": FindingKind(
        "error",
        "Class lost with its files",
        "All its files cannot be used, or more than a tenth: the model would not know it, or not "
        "as it is.",
    ),
    "split-leak": FindingKind(
        "error",
        "Same image in two splits",
        "The model would be tested on what it was trained on.",
    ),
    "group-leak": FindingKind(
        "error",
        "Same group in two splits",
        "A product (or contributor) that straddles the split makes the test score too high.",
    ),
    "label-conflict": FindingKind(
        "error",
        "Same file under two labels",
        "At least one of the labels is wrong, so neither training nor testing can be right.",
    ),
    "untrained-class": FindingKind(
        "error",
        "Class without training images",
        "The given split (or one fold) has it to test on and not to train on: no model can answer "
        "it.",
    ),
    "unreadable": FindingKind("warning", "Unreadable file", "Training excludes it by name."),
    "missing-file": FindingKind("warning", "Row without a file", "Training excludes it by name."),
    "host-failures": FindingKind(
        "warning", "Host that did not give every image", "Training excludes them by name."
    ),
    "damaged": FindingKind(
        "warning",
        "Damaged file",
        "Decodes, but its content is corrupted. Training excludes it unless it is accepted.",
    ),
    "near-label-conflict": FindingKind(
        "warning",
        "Near duplicates under two labels",
        "One of the labels may be wrong.",
    ),
    "group-label-conflict": FindingKind(
        "warning",
        "One product under two labels",
        "Photos of one group have different labels, and one of them is wrong, or the group is no "
        "product; a score by product leaves it out.",
    ),
    "label-spelling": FindingKind(
        "warning",
        "Label spelled in two ways",
        "The spellings differ in case, blanks or hyphens only, and count as separate classes.",
    ),
    "rare-class": FindingKind(
        "warning", "Rare class", "Too few images to learn the class from, or to measure it by."
    ),
    "exact-duplicate": FindingKind(
        "warning", "Exact duplicate", "The file is there twice; a split keeps both in one part."
    ),
    "blank": FindingKind("warning", "Blank image", "The image has one color from edge to edge."),
    "image-rule": FindingKind(
        "warning",
        "Image that breaks a rule",
        "A marketplace may refuse it: see the rule. Training is not concerned.",
    ),
    "near-duplicate": FindingKind(
        "note", "Near duplicate", "The same image, encoded again; a split keeps both in one part."
    ),
    "tiny": FindingKind("note", "Tiny image", "The image is much smaller than the others."),
    "odd-aspect": FindingKind(
        "note", "Odd aspect", "The image is more than three times as long as wide."
    ),
    "wrong-extension": FindingKind(
        "note",
        "Wrong extension",
        "The content has another format than the name says; the file is read by its content.",
    ),
    "image-advice": FindingKind(
        "note",
        "Advice that is not followed",
        "A marketplace takes the images, and recommends others, or they are worth a look.",
    ),
    "unlisted-file": FindingKind("note", "File without a row", "The file is not used."),
    "unmeasured-class": FindingKind(
        "note",
        "Class without test images",
        "The given split has it to train on only: its score stays unknown.",
    ),
    "imbalance": FindingKind(
        "note", "Imbalance", "Accuracy says little about the small classes; see balanced accuracy."
    ),
}
BLOCKING_KINDS = frozenset(kind for kind, about in KINDS.items() if about.severity == "error")

HEADLINE_KINDS = BLOCKING_KINDS | {"host-failures"}
"""Kinds whose findings are said in their words, where these are about no single image."""

UNTRAINABLE_KINDS = frozenset({"one-class", "untrained-class"})
"""Kinds that training cannot accept: there is no model of such data."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem that the audit found.

    Attributes:
        kind: a key of `KINDS`.
        image: name of the image in the catalog; empty where the finding is about no single image.
        other: the other image of a pair, or empty.
        detail: the values, in a few words.
        row: index of the image in the catalog, or `NO_ROW`.
        other_row: index of the other image, or `NO_ROW`.
    """

    kind: str
    image: str
    other: str = ""
    detail: str = ""
    row: int = NO_ROW
    other_row: int = NO_ROW

    @property
    def severity(self) -> Severity:
        """How serious its kind is."""
        return KINDS[self.kind].severity

    def to_json(self) -> dict[str, Any]:
        """The finding without its row indices, as audit.json holds it."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "image": self.image,
            "other": self.other,
            "detail": self.detail,
        }


def check_kinds(
    flag: str, kinds: Collection[str], known: Collection[str], *, why: str = ""
) -> None:
    """Refuse kinds that a flag does not know.

    Args:
        flag: as the user writes it: `--accept`.
        kinds: what was given to it.
        known: what it takes.
        why: why it does not take them, where that is not that they do not exist.

    Raises:
        ConfigError: a kind is not known; the nearest one is named.
    """
    unknown = sorted(set(kinds) - set(known))
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], sorted(known), n=1, cutoff=0.65)
    suggestion = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"{flag} does not know {', '.join(unknown)}{why or suggestion}",
        fix=f"{flag} takes {', '.join(sorted(known))}",
    )
