"""Broken files of every kind become what they hold or an error, in little memory and time."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.fuzz.budget import SCALE, SEED
from tests.fuzz.limits import Answer, within_limits
from tests.fuzz.targets import TARGETS, broken, target_of, whole

pytestmark = pytest.mark.posix("Windows has no such limits")

CHECK = "tests.fuzz.targets:read"
QUICK, THOROUGH, BATCH = 15, 2_000, 1_000


def read_all(inputs: dict[str, bytes], folder: Path, *targets: str) -> dict[str, Answer]:
    """What became of each input of these targets; none may fail."""
    libraries = dict.fromkeys(name for one in targets for name in TARGETS[one].libraries)
    answers = within_limits(CHECK, inputs, folder, libraries=[*libraries])
    failures = {name: answer.failure for name, answer in answers.items() if answer.failure}
    assert not failures, f"{len(failures)} in {folder}: {list(failures.items())[:3]}"
    return answers


def test_whole_files_and_some_broken_ones(tmp_path: Path) -> None:
    answers = dict[str, Answer]()
    # Those that take the same libraries in one process.
    for kind in dict.fromkeys(about.libraries for about in TARGETS.values()):
        targets = [name for name, about in TARGETS.items() if about.libraries == kind]
        inputs = dict[str, bytes]()
        for target in targets:
            inputs |= whole(target) | broken(target, QUICK, 0)
        answers |= read_all(inputs, tmp_path, *targets)
    for target, about in TARGETS.items():
        assert {answers[name].word for name in whole(target)} == {about.word}
        words = {answer.word for name, answer in answers.items() if target_of(name) == target}
        assert words > {about.word}, f"no file of {target} was refused"


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_many_broken_files(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, start = 1 if SEED is None else int(SEED), time.monotonic()
    words = list[str]()
    for number in range(max(1, round(THOROUGH * SCALE / BATCH))):
        answers = read_all(broken(target, BATCH, first + number), tmp_path / str(number), target)
        words += [answer.word for answer in answers.values()]
    refused = sum(word != TARGETS[target].word for word in words)
    with capsys.disabled():
        seconds = time.monotonic() - start
        told = f"{target}: {len(words):,} inputs in {seconds:.0f} s, {refused:,} refused"
        sys.stdout.write(f"\n{told}\n")
