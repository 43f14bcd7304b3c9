"""Classes by the text encoder of a CLIP model; by words: tests/cli/test_zero_shot.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

open_clip = pytest.importorskip("open_clip")

from shopsight.commands.zero_shot import zero_shot  # noqa: E402
from shopsight.errors import ConfigError  # noqa: E402
from shopsight.inference.load import load  # noqa: E402
from shopsight.words.class_lists import PROMPTS, ClassWords  # noqa: E402
from tests.backbones.clip_models import PREPROCESS, known_to_open_clip, save_clip  # noqa: E402

CLASSES = (ClassWords("shoe", ("boot",)), ClassWords("hat", ()))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Noise of the encoder's size: nothing depends on how an image is resized."""
    rng = np.random.default_rng(0)
    for number in range(4):
        label = CLASSES[number % 2].name
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


def test_a_bundle_answers_as_the_whole_clip_model_would(photos: Path, tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip")
    with known_to_open_clip("tiny-clip-of-shops"):
        done = zero_shot(
            f"open_clip:local-dir:{folder}", photos, classes=CLASSES, out=tmp_path / "bundle"
        )
        bundle = load(tmp_path / "bundle", device="cpu", precision="32")
    assert done.by == "by its text encoder"
    whole = open_clip.create_model(f"local-dir:{folder}").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    transform = open_clip.image_transform(
        32, is_train=False, mean=tuple(PREPROCESS["mean"]), std=tuple(PREPROCESS["std"])
    )
    files = sorted(photos.rglob("*.png"))
    with torch.inference_mode():
        texts = []
        for one in CLASSES:
            ids = tokenizer([prompt.format(word) for word in one.phrases() for prompt in PROMPTS])
            texts.append(whole.encode_text(ids, normalize=True).mean(dim=0))
        images = torch.stack([transform(Image.open(file)) for file in files])
        cosines = (
            whole.encode_image(images, normalize=True)
            @ torch.nn.functional.normalize(torch.stack(texts), dim=1).T
        )
        wanted = (whole.logit_scale.exp() * (cosines[:, 0] - cosines[:, 1])).numpy()
    by_label = [
        dict(zip(one.labels, one.probabilities, strict=True))
        for one in bundle.predict([str(file) for file in files])
    ]
    odds = np.array([np.log(one["shoe"] / one["hat"]) for one in by_label])
    assert np.abs(odds - wanted).max() < 0.01
    assert np.ptp(wanted) > 0.1


def test_a_network_that_no_bundle_could_build_again_is_refused(
    photos: Path, tmp_path: Path
) -> None:
    folder = save_clip(tmp_path / "clip")
    with pytest.raises(ConfigError, match="cannot be trained or bundled"):
        zero_shot(f"open_clip:local-dir:{folder}", photos, out=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
