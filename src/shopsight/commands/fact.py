"""One line of what `doctor` reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """One line of the report.

    Attributes:
        advice: what to do; empty when nothing is to be done.
    """

    subject: str
    name: str
    value: str
    advice: str = ""
