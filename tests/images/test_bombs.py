"""Bombs have a verdict within 2 GB of addresses and some seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.limits import Answer, within_limits
from tests.images.bombs import LARGE, QUICK

pytestmark = pytest.mark.posix("Windows has no such limits")

CHECK = "tests.fuzz.decoding:decoded"
LONGEST_S = 60


def answers(bombs: dict[str, bytes], folder: Path) -> dict[str, Answer]:
    return within_limits(CHECK, bombs, folder, longest_s=LONGEST_S)


def test_bombs_have_a_verdict(tmp_path: Path) -> None:
    found = answers({name: make() for name, (make, _) in QUICK.items()}, tmp_path)
    assert {name: answer.failure for name, answer in found.items() if answer.failure} == {}
    assert {name: answer.word for name, answer in found.items()} == {
        name: verdict for name, (_, verdict) in QUICK.items()
    }


@pytest.mark.slow
def test_images_of_a_hundred_megapixels_fit_or_are_refused(tmp_path: Path) -> None:
    found = answers({name: make() for name, (make, _) in LARGE.items()}, tmp_path)
    assert {name: answer.word or answer.failure for name, answer in found.items()} == {
        name: verdict for name, (_, verdict) in LARGE.items()
    }
