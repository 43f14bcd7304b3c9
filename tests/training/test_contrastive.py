"""Contrastive training of a small CLIP model on colors, up to its bundle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

open_clip = pytest.importorskip("open_clip")

from shopsight.bundle.read import bundle_folder, read_info, read_tensors  # noqa: E402
from shopsight.commands.train import train  # noqa: E402
from shopsight.commands.zero_shot import zero_shot  # noqa: E402
from shopsight.config.recipe import Recipe  # noqa: E402
from shopsight.errors import ConfigError  # noqa: E402
from shopsight.inference.open_embedder import open_embedder  # noqa: E402
from shopsight.loading.loader import Batch  # noqa: E402
from shopsight.training.contrastive import ContrastiveTraining  # noqa: E402
from shopsight.words.class_lists import ClassWords  # noqa: E402
from tests.backbones.clip_models import known_to_open_clip, save_clip  # noqa: E402

COLORS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 30)}


@pytest.fixture
def clip(tmp_path: Path) -> Iterator[str]:
    folder = save_clip(tmp_path / "clip")
    with known_to_open_clip("tiny-clip-of-shops"):
        yield f"open_clip:local-dir:{folder}"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of noise around three colors, with labels and texts."""
    folder = tmp_path_factory.mktemp("colors")
    rng, rows = np.random.default_rng(0), []
    for number in range(72):
        label = list(COLORS)[number % 3]
        pixels = rng.normal(COLORS[label], 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        rows.append({"image": f"{number:02d}.png", "label": label, "text": f"a {label} shoe"})
    pl.DataFrame(rows).write_csv(folder / "catalog.csv")
    return folder / "catalog.csv"


def recipe(backbone: str, **sections: dict[str, Any]) -> Recipe:
    changes: dict[str, dict[str, Any]] = {
        "model": {"backbone": backbone, "head": {"kind": "direction"}},
        "training": {"mode": "contrastive", "epochs": 2, "batch_size": 8, "precision": "32"},
        "contrastive": {"batch_size": 16},
        "zero_shot": {"prompts": ("a photo of a {} shoe",)},
        "optimizer": {"lr": 1e-3},
        "augment": {"affine_prob": 0.0, "color_jitter_prob": 0.0},
        "cache": {"mode": "off"},
        "data": {"val": 0.2, "test": 0.2},
    }
    for name, values in sections.items():
        changes[name] = changes.get(name, {}) | values
    return Recipe().replace(**changes)


def test_names_find_images_after_training(clip: str, photos: Path, tmp_path: Path) -> None:
    before = zero_shot(clip, photos)
    assert before.evaluation is not None
    longer = recipe(clip, training={"epochs": 25}, optimizer={"lr": 3e-3})
    train(photos, recipe=longer, out=tmp_path / "run")
    history = pl.read_csv(tmp_path / "run" / "metrics.csv")
    assert history["val_accuracy"].max() == 1.0
    assert history["train_loss"][-1] < history["train_loss"][0]
    info = read_info(tmp_path / "run" / "model")
    start = open_embedder(clip, device="cpu")
    assert info.text is not None
    assert info.text.text_sha256 != start.space.text_sha256
    # Other words than those of the training, through the text encoder that the bundle keeps.
    names = [ClassWords("crimson one", ("a red shoe",)), ClassWords("sea one", ("a blue shoe",)),
             ClassWords("leaf one", ("a green shoe",))]  # fmt: skip
    ignore = shutil.ignore_patterns("*.csv")
    alone = shutil.copytree(photos.parent, tmp_path / "alone", ignore=ignore)
    again = zero_shot(tmp_path / "run", alone, classes=names, prompts=("{}",))
    found = {Path(one.source).name: one.labels[0] for one in again.predictions}
    wanted = {f"{number:02d}.png": names[number % 3].name for number in range(72)}
    assert np.mean([found[name] == label for name, label in wanted.items()]) > 0.95


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_what_fits_in_memory_does_not_change_the_training(
    loss: str, clip: str, photos: Path, tmp_path: Path
) -> None:
    weights = []
    for size in (3, 16):
        run = tmp_path / f"run-{size}"
        one = recipe(
            clip,
            training={"batch_size": size, "epochs": 1},
            contrastive={"loss": loss},
            # Adam divides by the gradient's size, which makes a step of rounding alone.
            optimizer={"name": "sgd", "momentum": 0.0, "lr": 0.1},
        )
        train(photos, recipe=one, out=run)
        folder = bundle_folder(run)
        weights.append(read_tensors(folder) | read_tensors(folder, "text.safetensors"))
    first, second = weights
    start = read_tensors_of_clip(clip)
    moved = max(float(np.abs(first[name] - start[name]).max()) for name in start)
    apart = max(float(np.abs(first[name] - second[name]).max()) for name in start)
    assert moved > 1e-3
    assert apart < 1e-4 * moved


def read_tensors_of_clip(clip: str) -> dict[str, np.ndarray]:
    import safetensors.numpy

    file = Path(clip.rpartition(":")[2], "open_clip_model.safetensors")
    stored = safetensors.numpy.load_file(file)
    return {
        key.replace("visual.", "backbone.", 1): value
        for key, value in stored.items()
        if key.startswith("visual.")
    }


@pytest.mark.parametrize("locked", ["image", "text"])
def test_a_locked_tower_keeps_its_weights(
    locked: str, clip: str, photos: Path, tmp_path: Path
) -> None:
    one = recipe(clip, training={"epochs": 1}, contrastive={"locked": locked, "captions": "text"})
    train(photos, recipe=one, out=tmp_path / "run")
    before, after = (open_embedder(name, device="cpu").space for name in (clip, tmp_path / "run"))
    assert (before.backbone_sha256 == after.backbone_sha256) == (locked == "image")
    assert (before.text_sha256 == after.text_sha256) == (locked == "text")


def test_a_classifier_goes_on_from_the_names_of_its_classes(
    clip: str, photos: Path, tmp_path: Path
) -> None:
    one = recipe(clip, training={"mode": "zero-shot-then-finetune", "epochs": 1})
    train(photos, recipe=one, out=tmp_path / "run")
    info = read_info(tmp_path / "run" / "model")
    assert (info.head.kind, info.text) == ("direction", None)


def test_what_cannot_be_trained_is_refused_before_any_work(
    clip: str, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="has no text encoder"):
        train(photos, recipe=recipe("embedded:tf_efficientnet_lite0"), out=out)
    alike = pl.read_csv(photos).with_columns(text=pl.lit("a shoe"))
    alike.write_csv(photos.with_name("alike.csv"))
    with pytest.raises(ConfigError, match="all captions are alike"):
        train(photos.with_name("alike.csv"), recipe=recipe(clip, contrastive={"captions": "text"}),
              out=out)  # fmt: skip
    alike.drop("text").write_csv(photos.with_name("without.csv"))
    both = recipe(clip, contrastive={"captions": "both"})
    with pytest.raises(ConfigError, match="the catalog has no texts"):
        train(photos.with_name("without.csv"), recipe=both, out=out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"augment": {"mixup": 0.2}}, "mixup"),
        ({"training": {"grad_accumulation": 2}}, "grad_accumulation"),
        ({"training": {"precision": "16", "gradient_clip": 1.0}}, "gradient_clip"),
        ({"training": {"time_limit_s": 60.0}}, "time_limit_s"),
        ({"model": {"head": {"kind": "linear"}}}, "head.kind = 'direction'"),
        ({"model": {"neck": {"kind": "linear"}}}, "no model.neck"),
        ({"folds": {"count": 3}}, "folds.count"),
    ],
)
def test_settings_that_do_not_go_together(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        recipe("open_clip:ViT-B-16/openai", **sections)


def test_batchnorm_is_refused_unless_it_is_frozen() -> None:
    from shopsight.backbones.create import create_backbone
    from shopsight.training.contrastive import check_no_batchnorm

    backbone = create_backbone("timm:resnet18.tv_in1k", weights="random")
    with pytest.raises(ConfigError, match="20 BatchNorms"):
        check_no_batchnorm(backbone, frozen=False)
    check_no_batchnorm(backbone, frozen=True)


def test_no_label_stands_twice_in_a_batch_where_there_are_enough(
    clip: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    plain = ContrastiveTraining._backward

    def watched(self: ContrastiveTraining, batch: Batch) -> None:
        seen.append(self.captions.labels_of(batch.rows).tolist())
        plain(self, batch)

    monkeypatch.setattr(ContrastiveTraining, "_backward", watched)
    one = recipe(
        clip,
        training={"epochs": 1, "sampling": "pxk", "images_per_class": 1},
        contrastive={"batch_size": 3},
    )
    train(photos, recipe=one, out=tmp_path / "run")
    assert len(seen) > 10
    assert all(sorted(labels) == [0, 1, 2] for labels in seen)


@pytest.mark.slow
def test_two_processes_train_as_one_does(clip: str, photos: Path, tmp_path: Path) -> None:
    weights = []
    for devices in (1, 2):
        one = recipe(
            clip,
            training={"batch_size": 3, "epochs": 1},
            optimizer={"name": "sgd", "momentum": 0.0, "lr": 0.1},
            hardware={"devices": devices, "accelerator": "cpu"},
        )
        run = tmp_path / f"run-{devices}"
        # The workers are other processes, to which open_clip's list is not known.
        train(photos, recipe=one, out=run)
        folder = bundle_folder(run)
        weights.append(read_tensors(folder) | read_tensors(folder, "text.safetensors"))
    start = read_tensors_of_clip(clip)
    moved = max(float(np.abs(weights[0][name] - start[name]).max()) for name in start)
    apart = max(float(np.abs(weights[0][name] - weights[1][name]).max()) for name in start)
    assert apart < 1e-3 * moved
