from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.commands import demo
from tests.helpers import Shopsight


@pytest.fixture
def unavailable_data(monkeypatch: pytest.MonkeyPatch) -> None:
    # A data set that nobody can fetch by name, so that the demo has to render its own images.
    monkeypatch.setattr(demo, "DATA", "lamoda")


@pytest.mark.slow
@pytest.mark.usefixtures("unavailable_data")
def test_demo_on_synthetic_images_is_marked_and_can_be_repeated(
    shopsight: Shopsight, tmp_path: Path
) -> None:
    out = tmp_path / "demo"
    words = ("demo", "--out", out, "--time-limit", "30s")
    for _ in range(2):
        shown = shopsight(*words)
        assert shown.code == 0, shown.err
        assert "no real photos available" in shown.err
        assert "SYNTHETIC" in shown.out
        assert "test accuracy" in shown.out
        assert "shopsight train   my-photos" in shown.out
        assert "synthetic" in (out / "run" / "report.html").read_text(encoding="utf-8")
        assert len(list((out / "images").iterdir())) == 8


@pytest.mark.usefixtures("unavailable_data")
def test_demo_replaces_nothing_that_is_not_its_own(shopsight: Shopsight, tmp_path: Path) -> None:
    mine = tmp_path / "demo" / "run" / "precious.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    shown = shopsight("demo", "--out", tmp_path / "demo")
    assert shown.code == 2
    assert "is not a demo run" in shown.err
    assert mine.read_text(encoding="utf-8") == "mine"


def test_demo_without_the_files_that_root_promises(shopsight: Shopsight, tmp_path: Path) -> None:
    shown = shopsight("demo", "--root", tmp_path, "--out", tmp_path / "demo")
    assert shown.code == 2
    assert str(tmp_path) in shown.err
