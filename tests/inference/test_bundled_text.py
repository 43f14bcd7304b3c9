"""A bundle's own text encoder: the same vectors as the model's, offline, and never another's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

open_clip = pytest.importorskip("open_clip")

from shopsight.backbones.text_tower import bundled_tower  # noqa: E402
from shopsight.bundle.embedding_space import EmbedsInto  # noqa: E402
from shopsight.bundle.read import read_bundle, read_info  # noqa: E402
from shopsight.commands.zero_shot import zero_shot  # noqa: E402
from shopsight.errors import ShopsightError  # noqa: E402
from shopsight.inference.open_embedder import open_embedder  # noqa: E402
from shopsight.words.class_lists import ClassWords  # noqa: E402
from tests.backbones.clip_models import known_to_open_clip, save_clip  # noqa: E402
from tests.helpers import edit_json  # noqa: E402

CLASSES = (ClassWords("shoe", ("boot",)), ClassWords("hat", ()))
TEXTS = ["a photo of a red shoe", "A Blue HAT!", "shoe " * 50, "", "Crème &amp; brûlée"]
KINDS = {
    "in pieces, open_clip's tokenizer": {},
    "a part, open_clip's tokenizer": {"custom_text": True},
    "a part, a tokenizer of transformers": {
        "custom_text": True,
        "hf_tokenizer_name": "in/the-folder",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def bundled(clip: Path, photos: Path, out: Path) -> Path:
    done = zero_shot(f"open_clip:local-dir:{clip}", photos, classes=CLASSES, out=out)
    assert done.model == out
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_embeds_texts_as_its_model_did(kind: str, photos: Path, tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "clip", **KINDS[kind])
    with known_to_open_clip("tiny-clip-of-shops"):
        live = open_embedder(f"open_clip:local-dir:{clip}", device="cpu", precision="32")
        wanted = live.embed_texts(TEXTS)
        folder = bundled(clip, photos, tmp_path / "bundle")
        shutil.rmtree(clip)
        kept = open_embedder(folder, device="cpu", precision="32")
        assert np.abs(kept.embed_texts(TEXTS) - wanted).max() < 1e-6
    # An index of the one is searched by the other.
    assert kept.space == live.space
    assert kept.logit_scale == pytest.approx(live.logit_scale)


def test_a_bundle_made_of_a_bundle_keeps_the_text_encoder(photos: Path, tmp_path: Path) -> None:
    clip = save_clip(tmp_path / "clip")
    with known_to_open_clip("tiny-clip-of-shops"):
        first = bundled(clip, photos, tmp_path / "first")
        again = zero_shot(first, photos, classes=(CLASSES[0], ClassWords("bag")),
                          out=tmp_path / "second")  # fmt: skip
    assert again.model is not None
    assert read_info(again.model).text == read_info(first).text
    assert read_info(again.model).labels == ("shoe", "bag")


def test_bundles_without_a_text_encoder_are_older_and_newer(bundle_folder: Path) -> None:
    info = read_info(bundle_folder)
    assert (info.format_version, info.text, info.embeds_into) == (3, None, ())
    edit_json(bundle_folder / "model.json", format_version=2)
    written = json.loads((bundle_folder / "model.json").read_text(encoding="utf-8"))
    del written["text"], written["embeds_into"]
    (bundle_folder / "model.json").write_text(json.dumps(written), encoding="utf-8")
    assert read_bundle(bundle_folder).info.format_version == 2


def test_what_a_bundle_declares_is_what_its_embedder_says(bundle_folder: Path) -> None:
    declared = EmbedsInto(space="a" * 64, recall=0.97, num_queries=500)
    edit_json(bundle_folder / "model.json", embeds_into=[declared.model_dump()])
    assert open_embedder(bundle_folder, device="cpu").embeds_into == (declared,)


def _text(**changes: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        text = json.loads((folder / "model.json").read_text(encoding="utf-8"))["text"]
        edit_json(folder / "model.json", text=_merged(text, changes))

    return write


def _merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    return (old or {}) | {
        name: _merged(old and old[name], value) if isinstance(value, dict) else value
        for name, value in new.items()
    }


def _tokenizer(content: bytes) -> Callable[[Path], None]:
    """Another tokenizer, with its hash in model.json."""

    def write(folder: Path) -> None:
        (folder / "tokenizer.json").write_bytes(content)
        _text(tokenizer={"file_sha256": sha256(content).hexdigest()})(folder)

    return write


def _other_tokenizer(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_bytes())
    vocabulary = content["model"]["vocab"]
    vocabulary["shoe"], vocabulary["hat"] = vocabulary["hat"], vocabulary["shoe"]
    _tokenizer(json.dumps(content).encode())(folder)


def _other_weights(folder: Path) -> None:
    path = folder / "text.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors["ln_final.bias"] = tensors["ln_final.bias"] + 1
    safetensors.numpy.save_file(tensors, path)


def _cut_weights(folder: Path) -> None:
    path = folder / "text.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def _other_golden(folder: Path) -> None:
    with np.load(folder / "golden.npz", allow_pickle=False) as kept:
        content = dict(kept)
    content["texts"] = content["texts"][::-1]
    np.savez(folder / "golden.npz", **content)


def _no_golden(folder: Path) -> None:
    with np.load(folder / "golden.npz", allow_pickle=False) as kept:
        content = {name: array for name, array in kept.items() if name != "texts"}
    np.savez(folder / "golden.npz", **content)


HARM: dict[str, tuple[Callable[[Path], None], str]] = {
    "other weights": (_other_weights, "not those of"),
    "half of the weights": (_cut_weights, "cannot be read"),
    "no weights": (lambda folder: (folder / "text.safetensors").unlink(), "no text.safetensors"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
    "a changed tokenizer": (
        lambda folder: (folder / "tokenizer.json").write_bytes(b"{}"), "is not the tokenizer"
    ),
    "two words for each other": (_other_tokenizer, "not those of"),
    "a tokenizer that is none": (_tokenizer(b"{}"), "is no tokenizer"),
    "a tokenizer of nothing but brackets": (_tokenizer(b"[" * 10**6), "is no tokenizer"),
    "a tokenizer that is no text": (_tokenizer(b"\xff\xfe"), "is no tokenizer"),
    "a tokenizer of 70 MB": (_tokenizer(b" " * (70 << 20)), "tokenizer cannot be read"),
    "a layer of a billion numbers": (_text(network={"width": 10**9}), "width"),
    "a thousand layers": (_text(network={"layers": 1000}), "not those of"),
    "a vocabulary of ten million": (_text(network={"vocab_size": 10**7}), "not those of"),
    "a vocabulary of a trillion": (_text(network={"vocab_size": 10**12}), "vocab_size"),
    "rows of a billion ids": (_text(tokenizer={"context_length": 10**9}), "context_length"),
    "rows of fewer ids": (_text(tokenizer={"context_length": 5}), "not those of"),
    "another activation": (_text(network={"quick_gelu": True}), "not those of|sample texts"),
    "another cleaning": (_text(tokenizer={"clean": "canonicalize"}), "not those of"),
    "code as its activation": (_text(network={"act_kwargs": {"inplace": "os"}}), "act_kwargs"),
    "a model of a hub": (_text(network={"hf_model_name": "evil/model"}), "hf_model_name"),
    "another width than images": (_text(network={"embed_dim": 21}), "another width"),
    "a scale that is no number": (_text(logit_scale="NaN"), "logit_scale"),
    "another space's name": (_text(text_sha256="0" * 64), "not those of"),
    "other golden vectors": (_other_golden, "sample texts"),
    "no golden vectors": (_no_golden, "no array"),
    "golden vectors of another width": (
        lambda folder: _rewritten(folder, texts=np.ones((4, 3), np.float32)), "texts of shape"
    ),
}  # fmt: skip


def _rewritten(folder: Path, **arrays: np.ndarray) -> None:
    with np.load(folder / "golden.npz", allow_pickle=False) as kept:
        content = dict(kept) | arrays
    np.savez(folder / "golden.npz", **content)


def test_a_strangers_text_encoder_is_an_error(photos: Path, tmp_path: Path) -> None:
    clip = save_clip(
        tmp_path / "clip", custom_text=True, hf_tokenizer_name="in/the-folder", vocab_size=10
    )
    with known_to_open_clip("tiny-clip-of-shops"):
        whole = bundled(clip, photos, tmp_path / "bundle")
        for name, (change, said) in HARM.items():
            folder = Path(shutil.copytree(whole, tmp_path / "changed" / name.replace(" ", "-")))
            change(folder)
            with pytest.raises(ShopsightError, match=said) as caught:
                bundled_tower(read_bundle(folder))
            assert caught.value.where is not None, name
            shutil.rmtree(folder)
