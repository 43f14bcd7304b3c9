"""Broken files of every format become an image or an error, in little memory and time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.budget import SCALE, SEED
from tests.fuzz.decoding import mutants, seeds
from tests.fuzz.limits import within_limits

pytestmark = pytest.mark.posix("Windows has no such limits")

CHECK = "tests.fuzz.decoding:decoded"
QUICK, THOROUGH, BATCH = 200, 20_000, 2_000


def check(inputs: dict[str, bytes], folder: Path) -> dict[str, int]:
    """Decode all, and count what became of them."""
    answers = within_limits(CHECK, inputs, folder)
    failures = {name: answer.failure for name, answer in answers.items() if answer.failure}
    assert not failures, f"{len(failures)} in {folder}: {list(failures.items())[:3]}"
    words = [answer.word for answer in answers.values()]
    return {word: words.count(word) for word in set(words)}


def test_whole_files_and_some_broken_ones(tmp_path: Path) -> None:
    whole = seeds()
    found = check(whole | dict(mutants(QUICK, seed=0)), tmp_path)
    assert found.pop("image") > len(whole)
    assert sum(found.values()) > QUICK / 4


@pytest.mark.slow
def test_whole_files_are_images(tmp_path: Path) -> None:
    assert check(seeds(), tmp_path) == {"image": len(seeds())}


@pytest.mark.slow
def test_many_broken_files(tmp_path: Path) -> None:
    first = 1 if SEED is None else int(SEED)
    for number in range(max(1, round(THOROUGH * SCALE / BATCH))):
        check(dict(mutants(BATCH, seed=first + number)), tmp_path / str(number))
