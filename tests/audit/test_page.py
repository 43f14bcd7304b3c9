"""What the audit page says, without the page around it."""

from __future__ import annotations

from shopsight.audit.findings import KINDS, Finding
from shopsight.audit.page import KindSection, banner
from shopsight.audit.verdict import Verdict


def _banner(*, fail_on: tuple[str, ...] = (), accept: tuple[str, ...] = (), **counts: int) -> str:
    named = {kind.replace("_", "-"): number for kind, number in counts.items()}
    return " ".join(banner(Verdict.of(named, fail_on=fail_on, accept=accept)))


def test_the_banner_counts_what_fails_the_audit() -> None:
    assert _banner(unreadable=3) == "good Nothing here would corrupt a score."
    assert _banner(split_leak=1).startswith("error 1 finding would corrupt a score.")
    assert _banner(split_leak=1000, lost_class=200).startswith("error 1,200 findings would")
    refused = _banner(unreadable=3, fail_on=("unreadable",))
    assert refused == "error 3 findings that --fail-on refuses: unreadable."
    accepted = _banner(split_leak=2, accept=("split-leak",))
    assert accepted == "warning 2 findings that would fail the audit, accepted: split-leak."


def test_a_section_has_the_columns_that_its_lines_fill() -> None:
    kind = KINDS["imbalance"]
    about_data = KindSection(
        "imbalance", kind, 3, lines=[Finding("imbalance", "", detail="9 to 1")]
    )
    assert (about_data.lines_have_image, about_data.lines_have_detail) == (False, True)
    assert about_data.hidden == 2
    about_files = KindSection("imbalance", kind, 1, lines=[Finding("imbalance", "a.jpg")])
    assert (about_files.lines_have_image, about_files.lines_have_detail) == (True, False)
