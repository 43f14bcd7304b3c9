"""The network of a model: its space is that of its embedder, its text encoder opens where asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shopsight.inference.open_embedder import open_embedder
from shopsight.inference.open_network import open_network
from tests.helpers import make_products, train_small

LITE = "embedded:tf_efficientnet_lite0"


def test_its_space_is_that_of_its_embedder(tmp_path: Path) -> None:
    run = train_small(make_products(tmp_path / "photos", per_class=12).folder, tmp_path / "run")
    for model in (run, LITE):
        opened = open_network(model)
        assert opened.space() == open_embedder(model, device="cpu").space
        assert opened.text is None
        assert opened.is_trained == (model == run)
    resized = open_network(LITE, resize="squash")
    assert resized.space() == open_embedder(LITE, device="cpu", resize="squash").space
    assert resized.space() != open_network(LITE).space()


def test_a_text_encoder_is_a_part_of_the_space_and_is_opened_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("open_clip")
    from PIL import Image

    from shopsight.backbones import open_clip as loader
    from shopsight.commands.zero_shot import zero_shot
    from shopsight.inference import open_network as opening
    from shopsight.words.class_lists import ClassWords
    from tests.backbones.clip_models import known_to_open_clip, save_clip

    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "photos" / "a.png")
    clip = f"open_clip:local-dir:{save_clip(tmp_path / 'clip')}"
    with known_to_open_clip("tiny-clip-of-shops"):
        bundle = tmp_path / "bundle"
        zero_shot(clip, tmp_path / "photos", classes=[ClassWords("shoe", ())], out=bundle)
        for model in (clip, bundle):
            opened = open_network(model)
            assert opened.text is not None
            assert opened.space().has_text
            assert opened.space() == open_embedder(model, device="cpu").space

        def refuse(*_: object) -> None:
            raise AssertionError("a text encoder is opened")

        monkeypatch.setattr(loader, "text_tower", refuse)
        monkeypatch.setattr(opening, "bundled_tower", refuse)
        for model in (clip, bundle):
            assert open_network(model, with_text=False).text is None
        # A bundle's space needs no text encoder: its description names it.
        assert open_network(bundle, with_text=False).space().has_text
