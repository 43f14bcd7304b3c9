"""How many inputs the fuzz tests make, and from which seed.

An input is one generated thing that is handed in (a folder, a table, a file, a run, a recipe, a
disk), whatever number of commands reads it: an example of hypothesis. `INPUTS` is what each test
makes; all together 2,000, of which 100 go through `train`. They are the same on every machine;
SHOPSIGHT_FUZZ_SEED=7 makes others, SHOPSIGHT_FUZZ_SCALE=5 five times as many (0.05: a twentieth).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, seed, settings

INPUTS = {
    "folders": 520,
    "tables": 520,
    "own tables": 80,
    "files": 260,
    "places": 60,
    "options": 140,
    "runs": 220,
    "words": 60,
    "disks": 40,
    "train folders": 40,
    "train tables": 30,
    "train recipes": 30,
}
SEED = os.environ.get("SHOPSIGHT_FUZZ_SEED")
SCALE = float(os.environ.get("SHOPSIGHT_FUZZ_SCALE", "1"))

Test = Callable[..., Any]


def inputs(kind: str) -> Callable[[Test], Test]:
    """Below `@given`: the number of examples of a test, always the same ones unless a seed says."""

    def with_budget(test: Test) -> Test:
        test = settings(
            max_examples=max(1, round(INPUTS[kind] * SCALE)),
            derandomize=SEED is None,
            database=None,
            deadline=None,
            # A fixture serves all examples: each has a folder and a cache of its own.
            suppress_health_check=list(HealthCheck),
        )(test)
        return test if SEED is None else seed(int(SEED))(test)

    return with_budget
