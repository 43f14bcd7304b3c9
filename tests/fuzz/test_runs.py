"""Runs and bundles that were damaged, in every verb that opens one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.budget import inputs
from tests.fuzz.damaged_runs import Damage, damages
from tests.fuzz.file_bytes import photo
from tests.fuzz.harness import Fuzz

pytestmark = pytest.mark.slow

COMMANDS = (
    ("predict", "RUN", "a.jpg"),
    ("predict", "RUN", "a.jpg", "--json"),
    ("predict", "RUN/model", "a.jpg"),
    ("evaluate", "RUN", "--json"),
    ("evaluate", "RUN", "--split", "val"),
    ("evaluate", "RUN", "--accept", "changed-file"),
    ("evaluate", "RUN/model", "RUN/catalog.parquet"),
    ("compare", "RUN", "WHOLE", "--no-measure"),
    ("compare", "RUN", "WHOLE", "--no-measure", "--json"),
    ("compare", "RUN", "--split", "val", "--no-measure", "--out", "OUT/compare"),
    ("audit", "RUN/catalog.parquet"),
    ("split", "RUN/catalog.parquet", "--out", "OUT/split.csv"),
    ("train", "--resume", "RUN"),
    ("train", "--resume", "RUN", "--json"),
)


@given(changes=damages(), words=st.sampled_from(COMMANDS))
@inputs("runs")
def test_damaged_runs(
    fuzz: Fuzz, tiny_run: Path, changes: list[Damage], words: tuple[str, ...]
) -> None:
    with fuzz.input() as case:
        # What evaluates or resumes a run may write in it.
        own = (
            case.outputs
            if words[:2] in {("evaluate", "RUN"), ("train", "--resume")}
            else case.inputs
        )
        run = shutil.copytree(tiny_run, own / "run")
        (case.inputs / "a.jpg").write_bytes(photo(1))
        for change in changes:
            change.do(run)
        places = {"RUN": str(run), "WHOLE": str(tiny_run), "OUT": str(case.outputs)}
        filled = ["/".join(places.get(part, part) for part in word.split("/")) for word in words]
        case.run(*filled)
