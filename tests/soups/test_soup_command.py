"""`shopsight soup` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import run_command
from tests.soups.soup_runs import HELD_OUT_CLASSES, SoupRuns


def test_a_curve_is_shown(
    soup_runs: SoupRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("soup", soup_runs.fitted[0], "--alpha", "-0.5,1", "--out", tmp_path / "bundle")
    shown = run_command(capsys, words)
    assert shown.code == 0, shown.err
    assert [line.split()[1] for line in shown.out.splitlines() if line.startswith("alpha")] == [
        "-0.5",
        "0",
        "1",
    ]
    assert "the test images judge" in shown.out
    assert f"bundle: {tmp_path / 'bundle'}" in shown.out
    drop = [word for label in HELD_OUT_CLASSES for word in ("--drop", label)]
    words = ("evaluate", tmp_path / "bundle", soup_runs.table, "--json", *drop)
    answered = run_command(capsys, words)
    assert answered.code == 0, answered.err


def test_a_soup_as_json(
    soup_runs: SoupRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("soup", *soup_runs.fitted, "--greedy", "--json", "--out", tmp_path / "bundle")
    shown = run_command(capsys, words)
    assert shown.code == 0, shown.err
    found = shown.json
    assert found["how"] == "greedy"
    assert len(found["ingredients"]) == 3
    assert set(found["scores"]) == {"val", "test", "held_out_map", "held_out_recall_at_1"}
    alone = sum(one["kept"] for one in found["ingredients"]) == 1
    assert (found["gains"] == {}) == alone


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((), "one of --uniform, --greedy and --alpha is needed, and 0 are given"),
        (("--uniform", "--greedy"), "and 2 are given"),
        (("--alpha", "half"), "'half' is not a number"),
        (("--uniform", "--label", "kind"), "--label would change nothing"),
    ],
)
def test_flags_that_do_not_go_together(
    soup_runs: SoupRuns,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    text: str,
) -> None:
    words = ("soup", *soup_runs.fitted, *flags, "--out", tmp_path / "bundle")
    shown = run_command(capsys, words)
    assert shown.code == 2
    assert text in shown.err


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run_command(capsys, ("soup", tmp_path, "--uniform", "--out", tmp_path / "bundle"))
    assert shown.code == 2
    assert str(tmp_path) in shown.err
