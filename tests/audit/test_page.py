"""What the audit page says, without the page around it."""

from __future__ import annotations

from shopsight.audit.findings import KINDS, Finding
from shopsight.audit.page import KindSection, verdict


def test_the_verdict_counts_what_stops_training() -> None:
    assert verdict(0) == ("good", "Nothing here would corrupt a score.")
    tone, one = verdict(1)
    assert tone == "error"
    assert one.startswith("1 finding would corrupt a score.")
    assert verdict(1200)[1].startswith("1,200 findings would")


def test_a_section_has_the_columns_that_its_lines_fill() -> None:
    kind = KINDS["imbalance"]
    about_data = KindSection(
        "imbalance", kind, 3, lines=[Finding("imbalance", "", detail="9 to 1")]
    )
    assert (about_data.lines_have_image, about_data.lines_have_detail) == (False, True)
    assert about_data.hidden == 2
    about_files = KindSection("imbalance", kind, 1, lines=[Finding("imbalance", "a.jpg")])
    assert (about_files.lines_have_image, about_files.lines_have_detail) == (True, False)
