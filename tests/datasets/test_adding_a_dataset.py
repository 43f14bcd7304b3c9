"""The page "Add a data set" does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsight.datasets.registry import DATASETS, open_dataset
from shopsight.errors import SourceError
from tests.helpers import Shopsight, run_command

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add-a-dataset.md"


@pytest.fixture
def shopsight(capsys: pytest.CaptureFixture[str]) -> Shopsight:
    return lambda *words: run_command(capsys, words)


@pytest.fixture
def mugs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve photos of mugs, in the folder that the page names."""
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "photos" / "mugs" / ("red", "white")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((90, 80), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos" / "mugs"


def run_page() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})


def test_the_data_set_of_the_page_is_audited_and_split(
    mugs: Path, shopsight: Shopsight, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        run_page()
        rows, sizes, classes, rare, images = capsys.readouterr().out.splitlines()
        assert rows == "12 rows: 12 ok, 0 damaged, 0 unreadable, 0 missing"
        assert "median 90 x 80 px; 2 classes, duplicate groups: 0" in sizes
        assert classes == "images per class: 6; without a label: 0"
        assert rare == "warning: rare class: 2"
        assert images == "images: train 6, val 3, test 3"
        catalog = open_dataset("mugs", root=mugs)
        assert catalog.labels == ("red", "white")
        assert catalog.notes[-1] == "mugs: the label is the color of the mug"
        with pytest.raises(SourceError, match="on no public host"):
            open_dataset("mugs")
        shown = shopsight("data", "--json")
        assert [one["name"] for one in shown.json][-1] == "mugs"
    finally:
        DATASETS.pop("mugs", None)
