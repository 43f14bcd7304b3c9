from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

pytest.importorskip("open_clip")

from shopsight.backbones.new_text_tower import new_text_tower
from shopsight.bundle.read import read_info
from shopsight.commands.train import train
from shopsight.inference.open_embedder import open_embedder
from shopsight.new_text_settings import NewTextSettings
from shopsight.words.word_table import has_words, open_word_table
from tests.training.test_contrastive import photos, recipe  # noqa: F401

WORDS = pytest.param(
    "words", marks=pytest.mark.skipif(not has_words(), reason="the extra words is not installed")
)


@pytest.mark.parametrize("tokens", ["clip", WORDS])
def test_texts_of_any_length_have_a_vector_each(tokens: str) -> None:
    torch.manual_seed(0)
    settings = NewTextSettings.model_validate({"tokens": tokens, "layers": 1, "context_length": 8})
    tower = new_text_tower(settings, embedding_dim=16, name="new")
    ids = tower.tokenize(["red shoe", "A Red  SHOE", "", "a very long text of many words " * 9])
    assert ids.shape == (4, 8)
    vectors = tower.module(torch.from_numpy(ids)).detach().numpy()
    assert vectors.shape == (4, 16)
    assert np.isfinite(vectors).all()
    # What stands behind the end of a text is not read.
    end = int((ids[0] != ids[0, -1]).sum())
    changed = ids.copy()
    changed[0, end + 1 :] = 5
    again = tower.module(torch.from_numpy(changed)).detach().numpy()
    assert np.abs(again[0] - vectors[0]).max() < 1e-5
    assert np.abs(vectors[1] - vectors[0]).max() > 1e-3


@pytest.mark.skipif(not has_words(), reason="the extra words is not installed")
def test_tokens_begin_where_the_table_of_words_has_them() -> None:
    module = new_text_tower(NewTextSettings(), embedding_dim=16, name="new").module
    first = module.token_embedding.weight.detach().numpy()
    table = open_word_table().vectors
    assert first.std() == pytest.approx(0.02, rel=1e-3)
    assert np.corrcoef(first[:500].ravel(), table[:500].ravel())[0, 1] > 0.999


@pytest.mark.skipif(not has_words(), reason="the extra words is not installed")
def test_any_backbone_learns_texts_and_its_bundle_embeds_them(
    photos: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    one = recipe(
        "shopsight:fashion_cnn",
        model={
            "weights": "random",
            "neck": {"kind": "linear", "embedding_dim": 12},
            "new_text": {"layers": 1, "context_length": 8},
            "backbone": "shopsight:fashion_cnn",
            "head": {"kind": "direction"},
        },
        training={"epochs": 1, "frozen_batchnorm": True},
        preprocess={"size_px": 32},
    )
    train(photos, recipe=one, out=tmp_path / "run")
    info = read_info(tmp_path / "run" / "model")
    assert info.text is not None
    assert (info.neck.kind, info.embedding_dim, info.text.network.embed_dim) == ("linear", 12, 12)
    embedder = open_embedder(tmp_path / "run", device="cpu")
    assert embedder.embed_texts(["a red shoe", "a blue shoe"]).shape == (2, 12)


@pytest.mark.parametrize("wrong", [{"width": 128}, {"tokens": "clip", "heads": 3}])
def test_sizes_that_do_not_go_together(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NewTextSettings.model_validate(wrong)
