from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

open_clip = pytest.importorskip("open_clip")

from shopsight.errors import EmbeddingError  # noqa: E402
from shopsight.inference.embedder import Embedder  # noqa: E402
from shopsight.inference.open_embedder import open_embedder  # noqa: E402
from tests.backbones.clip_models import save_clip  # noqa: E402

TEXTS = ["a photo of a red shoe", "A Blue HAT!", "shoe " * 50]


def opened(folder: Path) -> Embedder:
    return open_embedder(f"open_clip:local-dir:{folder}", device="cpu", precision="32")


@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("tokenizer", ["of open_clip", "of transformers"])
def test_texts_and_images_have_the_vectors_of_open_clip(
    tmp_path: Path, custom_text: bool, tokenizer: str
) -> None:
    text = {"hf_tokenizer_name": "in/the-folder"} if tokenizer == "of transformers" else {}
    folder = save_clip(tmp_path / "clip", custom_text=custom_text, **text)
    whole = open_clip.create_model(f"local-dir:{folder}")
    ids = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
    # Of the input's size, so that nothing depends on how an image is resized.
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = tmp_path / "image.png"
    Image.fromarray(pixels).save(image)
    with torch.inference_mode():
        # In eval mode: the model came in training mode.
        whole.eval()
        texts = whole.encode_text(ids, normalize=True).numpy()
        crop = open_clip.image_transform(32, is_train=False, mean=(0.5, 0.4, 0.3),
                                         std=(0.2, 0.3, 0.4))  # fmt: skip
        images = whole.encode_image(crop(Image.open(image))[None], normalize=True).numpy()
    embedder = opened(folder)
    assert np.abs(embedder.embed_texts(TEXTS) - texts).max() < 1e-6
    (found,) = embedder.embed([str(image)])
    assert found.vector is not None
    assert np.abs(found.vector - images[0]).max() < 1e-5
    assert len({tuple(row) for row in embedder.embed_texts(TEXTS).round(4).tolist()}) == 3


def test_many_texts_come_in_their_order_and_none_gives_none(tmp_path: Path) -> None:
    embedder = opened(save_clip(tmp_path / "clip"))
    texts = [f"shoe number {number}" for number in range(300)]
    together = embedder.embed_texts(texts)
    assert together.shape == (300, 20)
    assert np.abs(together[299] - embedder.embed_texts(texts[299:])[0]).max() < 1e-6
    assert embedder.embed_texts([]).shape == (0, 20)


def test_the_space_tells_text_encoders_and_tokenizers_apart(tmp_path: Path) -> None:
    first = opened(save_clip(tmp_path / "first")).space
    assert first.has_text
    assert first.text_encoder == first.backbone
    assert opened(save_clip(tmp_path / "same")).space == first
    # The same tensors and vocabulary: only what texts become before differs.
    cleaned = save_clip(tmp_path / "cleaned", tokenizer_kwargs={"clean": "canonicalize"})
    other = opened(cleaned).space
    assert other.backbone_sha256 == first.backbone_sha256
    assert other.text_sha256 != first.text_sha256
    assert other.fingerprint != first.fingerprint


def test_a_backbone_without_a_text_encoder_says_so() -> None:
    embedder = open_embedder("embedded:tf_efficientnet_lite0", device="cpu", precision="32")
    assert not embedder.space.has_text
    with pytest.raises(EmbeddingError, match="has no text encoder"):
        embedder.embed_texts(["a shoe"])
