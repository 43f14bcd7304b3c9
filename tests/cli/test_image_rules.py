from __future__ import annotations

import json
from pathlib import Path

import pytest

from shopsight.datasets.synthetic import draw_catalog
from tests.helpers import Shopsight


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop") / "photos"
    draw_catalog(root, products_per_class=2)
    (root / "images.parquet").unlink()
    return root


def test_rules_are_shown_with_what_may_be_refused(
    shopsight: Shopsight, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shown = shopsight(
        *("audit", photos, "--rules", "google", "--rules-date", "2027-01-31", "--out", out)
    )
    assert shown.code == 0, shown.err
    assert "fall under Google's limit of 500 x 500 px on 31 January 2027" in shown.out
    assert "google/size" in shown.out
    assert str(out / "rejected.csv") in shown.out
    assert "--fail-on image-rule" in shown.out
    assert shopsight("audit", photos, "--rules", "google", "--fail-on", "image-rule").code == 1


def test_json(shopsight: Shopsight, photos: Path) -> None:
    shown = shopsight("audit", photos, "--rules", "amazon", "--json")
    rules = {one["rule"]: one for one in json.loads(shown.out)["rules"]["rules"]}
    assert rules["amazon/size"]["images"] == 32
    assert rules["amazon/size"]["source"].startswith("https://sellercentral.amazon.com/")


def test_mistakes(shopsight: Shopsight, photos: Path, tmp_path: Path) -> None:
    wrong = shopsight("audit", photos, "--rules", "gogle")
    assert (wrong.code, "did you mean 'google'?" in wrong.err) == (2, True)
    wrong = shopsight("audit", photos, "--rules", "google", "--rules-date", "tomorrow")
    assert (wrong.code, "'tomorrow' is no date" in wrong.err) == (2, True)
    own = tmp_path / "own.toml"
    own.write_text('name = "x"\nas_of = 2026-11-28\n[[rule]]\nid = "a"\n', encoding="utf-8")
    wrong = shopsight("audit", photos, "--rules", own)
    assert wrong.code == 2
    assert "line 3: rule 1: source is missing" in wrong.err
