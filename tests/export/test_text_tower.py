"""The text encoder of a zero-shot bundle as a graph: the vectors of torch, without torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("open_clip")

from shopsight.backbones.text_tower import bundled_tower  # noqa: E402
from shopsight.bundle.exports import read_exports  # noqa: E402
from shopsight.bundle.read import read_bundle  # noqa: E402
from shopsight.commands.export import export  # noqa: E402
from shopsight.commands.zero_shot import zero_shot  # noqa: E402
from shopsight.errors import BundleError, ExtraMissingError  # noqa: E402
from shopsight.export.export_text import compared, prompts_of  # noqa: E402
from shopsight.inference import open_embedder as opening  # noqa: E402
from shopsight.inference.exported_text_encoder import open_exported_text  # noqa: E402
from shopsight.inference.load import load  # noqa: E402
from shopsight.inference.open_embedder import open_embedder  # noqa: E402
from shopsight.inference.text_encoder import TextEncoder  # noqa: E402
from shopsight.words.class_lists import ClassWords  # noqa: E402
from tests.backbones.clip_models import known_to_open_clip, save_clip  # noqa: E402
from tests.export.without_torch import run_without_torch  # noqa: E402
from tests.helpers import edit_json  # noqa: E402

CLASSES = (ClassWords("shoe", ("boot",)), ClassWords("hat", ()))
CPU = torch.device("cpu")
TEXTS = ["a photo of a red shoe", "A Blue HAT!", "shoe " * 50, "", "Crème &amp; brûlée"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module", params=["pieces", "a part"])
def exported(
    request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Bundles of CLIP as open_clip has it, and of one with SigLIP's kind of text encoder."""
    place = tmp_path_factory.mktemp("clip")
    kind = {
        "pieces": {},
        "a part": {
            "custom_text": True,
            "hf_tokenizer_name": "in/the-folder",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "pool_type": "last",
        },
    }[request.param]
    clip = save_clip(place / "clip", **kind)
    with known_to_open_clip("tiny-clip-of-shops"):
        zero_shot(f"open_clip:local-dir:{clip}", photos, classes=CLASSES, out=place / "bundle")
        export(place / "bundle")
        yield place / "bundle"


def test_texts_have_the_vectors_of_torch(exported: Path) -> None:
    bundle = read_bundle(exported)
    artifact = read_exports(exported, bundle.info).text
    assert artifact is not None
    assert artifact.file == "text.fp32.onnx"
    assert artifact.parity.cosine > 0.99999
    assert artifact.parity.neighbors == 1.0
    # Two labels in seven prompts, and four sample texts.
    assert artifact.parity.num_texts == 18
    tower, encoder = bundled_tower(bundle), open_exported_text(bundle)
    assert tower is not None
    assert encoder is not None
    wanted = TextEncoder(tower, CPU).embed(TEXTS)
    assert np.abs(encoder.embed(TEXTS) - wanted).max() < 1e-5
    many = [f"shoe number {number}" for number in range(130)]
    assert np.abs(encoder.embed(many)[129] - encoder.embed(many[129:])[0]).max() < 1e-5
    assert encoder.embed([]).shape == (0, 20)


def test_prompts_are_about_the_labels(exported: Path) -> None:
    texts = prompts_of(read_bundle(exported))
    assert "a photo of a shoe" in texts
    assert "a hat on a white background" in texts


def test_an_embedder_takes_the_exported_one(exported: Path) -> None:
    embedder = open_embedder(exported, device="cpu")
    assert type(embedder._texts).__name__ == "ExportedTextEncoder"  # type: ignore[attr-defined]
    assert embedder.embed_texts(TEXTS).shape == (5, 20)


WITHOUT_TORCH = """
import json
import numpy as np
from shopsight.inference.load import load
from shopsight.inference.open_embedder import open_embedder

predictor = load(sys.argv[1])
labels = [one.labels[0] for one in predictor.predict(sys.argv[2])]
vectors = open_embedder(sys.argv[1]).embed_texts(json.loads(sys.argv[3]))
print(json.dumps([predictor.engine.name, labels, vectors.tolist()]))
"""


def test_it_needs_no_torch(exported: Path, photos: Path) -> None:
    said = run_without_torch(WITHOUT_TORCH, exported, photos, json.dumps(TEXTS))
    engine, labels, vectors = json.loads(said)
    assert not engine.startswith("torch")
    exact = load(exported, engine="torch", precision="32")
    assert labels == [one.labels[0] for one in exact.predict(str(photos))]
    tower = bundled_tower(read_bundle(exported))
    assert tower is not None
    wanted = TextEncoder(tower, CPU).embed(TEXTS)
    assert np.abs(np.array(vectors) - wanted).max() < 1e-5


def test_another_file_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "bundle"))
    path = folder / "text.fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="its hash is another"):
        open_exported_text(read_bundle(folder))
    written = json.loads((folder / "exports.json").read_text(encoding="utf-8"))["text"]
    edit_json(folder / "exports.json", text=written | {"text_sha256": "0" * 64})
    with pytest.raises(BundleError, match="of another text encoder"):
        open_exported_text(read_bundle(folder))
    # The network's own graph is no text encoder.
    images = json.loads((folder / "exports.json").read_text(encoding="utf-8"))["artifacts"][0]
    edit_json(
        folder / "exports.json",
        text=written | {"file": images["file"], "sha256": images["sha256"]},
    )
    with pytest.raises(BundleError, match="no exported text encoder"):
        open_exported_text(read_bundle(folder))


def test_without_an_export_and_without_torch_it_says_what_to_do(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "bundle"))
    edit_json(folder / "exports.json", text=None)
    embedder = open_embedder(folder, device="cpu")
    monkeypatch.setattr(opening, "is_installed", lambda name: name != "open_clip")
    with pytest.raises(ExtraMissingError, match=r"was not exported[\s\S]*shopsight export"):
        embedder.embed_texts(TEXTS)


def test_how_two_encoders_are_compared() -> None:
    images = np.eye(4, dtype=np.float32)
    texts = np.eye(4, dtype=np.float32)[:2]
    same = compared(texts, texts, images)
    assert (same.cosine, same.neighbors, same.num_texts, same.num_images) == (1.0, 1.0, 2, 4)
    many = np.eye(20, dtype=np.float32)
    turned = many[:1] * 0.6 + many[1:2] * 0.8
    assert compared(turned, many[:1], many).cosine == pytest.approx(0.6)
