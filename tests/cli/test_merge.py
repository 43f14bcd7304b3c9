"""`shopsight merge` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import Shopsight, run_command


@pytest.fixture
def shopsight(capsys: pytest.CaptureFixture[str]) -> Shopsight:
    return lambda *words: run_command(capsys, words)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders of two classes, three images each."""
    rng = np.random.default_rng(0)
    for name in ("shop/hat", "shop/cup", "web/hat", "web/bag"):
        (tmp_path / name).mkdir(parents=True)
        for one in range(3):
            coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
            coarse.resize((90, 80), Image.Resampling.BICUBIC).save(tmp_path / name / f"{one}.jpg")
    monkeypatch.chdir(tmp_path)


def test_the_table_is_read_by_other_verbs(shopsight: Shopsight) -> None:
    done = shopsight("merge", "shop", "other=web", "--out", "merged.csv", "--resample", "4")
    assert done.code == 0, done.err
    assert "catalog: 16 rows, 4 of them repeats; 4 classes" in done.out
    assert "table: merged.csv" in done.out
    assert "classes of one name: 1 pair, e.g. other/hat and shop/hat" in done.err
    audited = shopsight("audit", "merged.csv", "--json")
    assert audited.json["statistics"]["num_rows"] == 16
    assert [one["label"] for one in audited.json["classes"]] == [
        "other/bag", "other/hat", "shop/cup", "shop/hat",
    ]  # fmt: skip
    split = shopsight("split", "merged.csv", "--val", "0", "--test", ".3", "--out", "split.csv")
    assert "files in more than one part: 0" in split.out


def test_json_adds_up(shopsight: Shopsight) -> None:
    done = shopsight("merge", "shop", "web", "--out", "m.parquet", "--max-per-class", "2", "--json")
    counts = done.json
    assert counts["rows"] == 8
    assert counts["left_out"] == {"more than 2 of the class": 4}
    for part in counts["parts"]:
        assert part["read"] == part["written"] + sum(part["left_out"].values())
    assert counts["shared"]["images"] == 0
    assert [one["same_name"] for one in counts["shared"]["classes"]] == [True]


def test_one_data_is_a_mistake(shopsight: Shopsight) -> None:
    done = shopsight("merge", "shop", "--out", "m.parquet")
    assert done.code == 2
    assert "two DATA or more" in done.err
    assert not Path("m.parquet").exists()
