from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.cli.wildcards import expanded
from tests.helpers import Shopsight

NAMES = ("a.jpg", "b.jpg", "img[1].jpg", "b.png", "deep/c.jpg")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["*.jpg"], ["a.jpg", "b.jpg", "img[1].jpg"]),
        (["?.png", "deep"], ["b.png", "deep"]),
        (["deep/*.jpg"], ["deep/c.jpg"]),
        (["*.gif"], ["*.gif"]),
        (["img[1].jpg"], ["img[1].jpg"]),
        (["img[1]*"], ["img[1].jpg"]),
        (["https://shop.example/a.jpg?size=*"], ["https://shop.example/a.jpg?size=*"]),
    ],
)
def test_on_windows(photos: Path, words: list[str], wanted: list[str]) -> None:
    assert [path.replace("\\", "/") for path in expanded(words, windows=True)] == wanted


def test_elsewhere_the_shell_has_done_it(photos: Path) -> None:
    assert expanded(["*.jpg"], windows=False) == ["*.jpg"]


def test_a_pattern_without_files_is_named_by_the_error(shopsight: Shopsight) -> None:
    shown = shopsight("compare", "no-such-*", "neither")
    assert shown.code == 2
    assert "no-such-*" in shown.err
