"""Training mode "zero-shot": the classes of a catalog by a small CLIP model's text encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

open_clip = pytest.importorskip("open_clip")

from shopsight.bundle.read import bundle_folder, read_info, read_tensors  # noqa: E402
from shopsight.commands.train import train  # noqa: E402
from shopsight.commands.zero_shot import zero_shot  # noqa: E402
from shopsight.config.recipe import Recipe  # noqa: E402
from shopsight.datasets.open import open_catalog  # noqa: E402
from shopsight.errors import ConfigError, WeightsError  # noqa: E402
from shopsight.inference.load import load  # noqa: E402
from shopsight.inference.open_embedder import open_embedder  # noqa: E402
from shopsight.training.resolve import resolve  # noqa: E402
from tests.backbones.clip_models import known_to_open_clip, save_clip  # noqa: E402

PROMPTS = ("a photo of {}", "a red {}")


def recipe(backbone: str, **training: object) -> Recipe:
    return Recipe().replace(
        model={"backbone": backbone, "head": {"kind": "direction"}},
        training={"mode": "zero-shot", "precision": "32"} | training,
        zero_shot={"prompts": PROMPTS},
        cache={"mode": "off"},
        data={"val": 0.25, "test": 0.25},
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "photos" / ("shoe", "hat")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_it_answers_as_the_verb_does_and_keeps_the_text_encoder(
    photos: Path, tmp_path: Path
) -> None:
    clip = save_clip(tmp_path / "clip")
    with known_to_open_clip("tiny-clip-of-shops"):
        named = f"open_clip:local-dir:{clip}"
        train(photos, recipe=recipe(named), out=tmp_path / "run")
        zero_shot(named, photos, prompts=PROMPTS, out=tmp_path / "bundle")
        ours, verbs = (read_tensors(bundle_folder(tmp_path / place)) for place in ("run", "bundle"))
        assert ours.keys() == verbs.keys()
        for name, tensor in ours.items():
            assert np.abs(tensor - verbs[name]).max() < 1e-5, name
        assert np.ptp(ours["head.classifier.weight"]) > 1.0
        assert load(tmp_path / "run", device="cpu").labels == ("hat", "shoe")
        run = open_embedder(tmp_path / "run", device="cpu")
        assert run.space.has_text
        assert np.abs(np.linalg.norm(run.embed_texts(["a red shoe"]), axis=1) - 1).max() < 1e-5
    assert read_info(tmp_path / "run" / "model").head.kind == "direction"
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize("keep_text", [True, False])
def test_a_probe_keeps_the_text_encoder_where_it_is_wanted(
    keep_text: bool, photos: Path, tmp_path: Path
) -> None:
    clip = save_clip(tmp_path / "clip")
    probe = recipe(f"open_clip:local-dir:{clip}").replace(
        model={"head": {"kind": "linear"}, "keep_text": keep_text}, training={"mode": "probe"}
    )
    with known_to_open_clip("tiny-clip-of-shops"):
        train(photos, recipe=probe, out=tmp_path / "run")
    assert (read_info(tmp_path / "run" / "model").text is not None) == keep_text


def test_without_a_text_encoder_it_fails_before_any_work(photos: Path, tmp_path: Path) -> None:
    wanted = recipe("embedded:tf_efficientnet_lite0")
    with pytest.raises(ConfigError, match="has no text encoder") as caught:
        train(photos, recipe=wanted, out=tmp_path / "run")
    assert "shopsight zero-shot" in (caught.value.fix or "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mode", ["zero-shot", "contrastive"])
def test_what_is_tried_first_is_the_tokenizer_alone(
    mode: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shopsight.backbones import open_clip as loader

    def refuse(*_: object) -> None:
        raise AssertionError("a text encoder is opened")

    def missing(*_: object) -> None:
        raise OSError("no tokenizer here")

    wanted = recipe(f"open_clip:local-dir:{save_clip(tmp_path / 'clip')}", mode=mode)
    with known_to_open_clip("tiny-clip-of-shops"):
        monkeypatch.setattr(loader, "text_tower", refuse)
        resolved, weights = resolve(wanted, open_catalog(photos))
        assert resolved.training.mode == mode
        assert weights.startswith("pretrained")
        monkeypatch.setattr(loader, "open_tokenizer", missing)
        with pytest.raises(WeightsError, match="cannot load the tokenizer"):
            resolve(wanted, open_catalog(photos))
