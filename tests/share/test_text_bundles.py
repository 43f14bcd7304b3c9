"""A bundle with a text encoder and its graph, shared whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open_clip")

from shopsight import api
from shopsight.commands.zero_shot import zero_shot
from shopsight.inference.open_embedder import open_embedder
from shopsight.words.class_lists import ClassWords
from tests.backbones.clip_models import known_to_open_clip, save_clip
from tests.helpers import ProductPhotos
from tests.hub_server import HubServer

CLASSES = (ClassWords("shoe", ("boot",)), ClassWords("hat", ()))
TEXTS = ["a photo of a red shoe", "a hat"]


@pytest.mark.enable_socket  # the Hub is on this machine
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # its client's own
def test_texts_have_the_same_vectors_and_the_graph_comes_along(
    hub: HubServer, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(product_photos.folder.rglob("*.jpg"))[::5]:
        shutil.copyfile(path, photos / f"{path.parent.name}-{path.name}")
    clip = save_clip(tmp_path / "clip")
    with known_to_open_clip("tiny-clip-of-shops"):
        bundle = tmp_path / "bundle"
        zero_shot(f"open_clip:local-dir:{clip}", photos, classes=CLASSES, out=bundle)
        api.export(bundle)
        done = api.push(bundle, "hf:shop/words")
        assert set(done.files) == {path.name for path in bundle.iterdir()}
        assert {"text.safetensors", "tokenizer.json", "text.fp32.onnx"} < set(done.files)
        there = open_embedder(done.to, device="cpu", precision="32")
        here = open_embedder(bundle, device="cpu", precision="32")
        assert np.array_equal(there.embed_texts(TEXTS), here.embed_texts(TEXTS))
        assert there.space.fingerprint == here.space.fingerprint
    repository = hub.repositories["shop/words"]
    files = repository.commits[repository.branches["main"]]
    assert not [name for name, content in files.items() if str(tmp_path).encode() in content]
    assert b"local-dir" not in files["model.json"]
