"""Paths that are typed and that no system takes: an error of ours in every place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import ProductPhotos, Shopsight

LONG_NAME = "x" * 300
DEEP = ("y" * 200 + "/") * 25 + "z"
COMMANDS = (
    ("audit", "ODD"),
    ("audit", "DATA", "--out", "ODD"),
    ("audit", "TABLE", "--images-root", "ODD"),
    ("audit", "lamoda", "--root", "ODD"),
    ("audit", "DATA", "--label-map", "ODD"),
    ("split", "DATA", "--out", "ODD.csv"),
    ("train", "ODD", "--out", "run"),
    ("train", "DATA", "--out", "ODD"),
    ("train", "DATA", "--out", "run", "--recipe", "ODD"),
    ("train", "DATA", "--out", "run", "--backbone", "local:ODD"),
    ("train", "DATA", "--out", "run", "--set", "model.weights=ODD"),
    ("train", "--resume", "ODD"),
    ("evaluate", "ODD"),
    ("evaluate", "RUN", "ODD"),
    ("evaluate", "RUN", "--images-root", "ODD"),
    ("predict", "ODD", "DATA"),
    ("predict", "RUN", "DATA", "--out", "ODD.csv"),
    ("compare", "ODD", "RUN"),
    ("compare", "ODD", "--backbones", "shopsight:fashion_cnn"),
    ("recommend", "ODD", "--latency-ms", "5"),
    ("recipes", "ODD"),
    ("profile", "local:ODD"),
)


@pytest.mark.parametrize("odd", [LONG_NAME, DEEP], ids=["long name", "deep path"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_paths_that_are_too_long(
    shopsight: Shopsight,
    product_photos: ProductPhotos,
    tiny_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    odd: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"DATA": product_photos.folder, "TABLE": product_photos.table, "RUN": tiny_run}
    filled = [str(places.get(word, word)).replace("ODD", odd) for word in words]
    ended = shopsight(*filled)
    assert ended.code == 2
    assert "error: " in ended.err
    assert "--debug" not in ended.err
    assert list(tmp_path.iterdir()) == []
