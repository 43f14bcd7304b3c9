"""Training again with what a desk has decided."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from shopsight.desk.desk import Desk
from shopsight.desk.retraining import Retraining
from shopsight.desk.suggestions import suggest
from shopsight.errors import ConfigError
from shopsight.inference.load import load
from tests.helpers import make_products


def ended(retraining: Retraining, *, within_s: float = 300) -> dict[str, object]:
    end = time.monotonic() + within_s
    while (found := retraining.state())["state"] == "running":
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


def test_decided_labels_are_learned_by_a_run_of_their_own(tmp_path: Path, tiny_run: Path) -> None:
    photos = make_products(tmp_path / "shop", per_class=16, classes=("hat", "shoe"))
    desk = Desk(suggest(photos.folder, load(tiny_run)), tmp_path / "desk")
    retraining = Retraining(desk)
    assert retraining.state() == {"state": "none"}
    # What was called a hat is a scarf now.
    hats = [name for name in desk.suggestions.ids if "hat" in name]
    desk.decide("scarf", accepted=hats)
    retraining.start("fast")
    with pytest.raises(ConfigError, match="under way"):
        retraining.start("fast")
    found = ended(retraining)
    assert found["state"] == "done", found
    assert found["run"] == "run-1"
    assert load(tmp_path / "desk" / "run-1").labels == ("scarf", "shoe")
    score = found["score"]
    assert isinstance(score, dict)
    assert 0 <= score["value"] <= 1
    # The next one has a folder of its own.
    retraining.start("fast")
    retraining.close()
    assert retraining.state()["run"] == "run-2"
    assert retraining.state()["state"] == "failed"


def test_what_cannot_be_trained_is_said(tmp_path: Path, tiny_run: Path) -> None:
    photos = make_products(tmp_path / "shop", per_class=4, classes=("hat",))
    desk = Desk(suggest(photos.folder, load(tiny_run)), tmp_path / "desk")
    retraining = Retraining(desk)
    retraining.start("fast")
    found = ended(retraining)
    assert found["state"] == "failed"
    assert "class" in str(found["lines"])
