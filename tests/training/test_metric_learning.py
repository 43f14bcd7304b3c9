"""Whole trainings with losses for search, on synthetic products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

import shopsight
from shopsight.bundle.format import WEIGHTS_FILE
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError, SplitError, TrainingError
from shopsight.runs.history import read_history, selected_epoch
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fit import fit, resume
from shopsight.training.memory import halve_batch_size
from tests.helpers import SCRATCH_RECIPE, ProductPhotos
from tests.training.test_resume import assert_same_run, stop_in


def recipe(loss: str, **sections: Any) -> Recipe:
    plain = parse_recipe(SCRATCH_RECIPE).replace(
        training={"loss": loss},
        model={"head": {"kind": "cosine", "scale": 12.0}},
        augment={"mixup": 0.0},
    )
    return plain.replace(**sections)


def test_a_margin_is_logged_and_the_bundle_has_none(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    catalog = open_catalog(product_photos.folder)
    growing = recipe(
        "arcface",
        metric={"margin": 0.1, "margin_step": 0.1},
        training={"ema": 0.5, "precision": "bf16"},
        model={"head": {"subcenters": 2}},
    )
    fit(catalog, growing, tmp_path / "run")
    rows = read_history(tmp_path / "run" / "metrics.csv")
    assert [row.further["margin"] for row in rows] == pytest.approx([0.1, 0.2, 0.3])
    assert all(0.0 < row.further["target_angle_deg"] < 180.0 for row in rows)
    model = shopsight.load(tmp_path / "run")
    assert model.verify().ok
    (answer,) = model.predict([product_photos.folder / catalog.refs()[0]])
    assert answer.error is None


@pytest.mark.parametrize("loss", ["cosface", "softtriple", "supcon"])
def test_resumed_in_the_middle_of_an_epoch_equals_uninterrupted(
    loss: str, product_photos: ProductPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loss != "cosface":
        pytest.importorskip("pytorch_metric_learning")
    catalog = open_catalog(product_photos.folder)
    whole = recipe(loss, training={"ema": 0.5, "sampling": "pxk"})
    fit(catalog, whole, tmp_path / "whole")
    cut = RunFolder(tmp_path / "cut")
    stop_in(monkeypatch, catalog, whole, cut.path, epoch=1)
    resume(cut.path)
    assert_same_run(tmp_path / "whole", cut.path)


def test_the_classifier_of_a_pair_loss_knows_the_classes_by_their_means(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_metric_learning")
    catalog = open_catalog(product_photos.folder)
    fit(catalog, recipe("multi-similarity"), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    split = run.catalog()
    train = split.take(split.rows_of("train"))
    model = shopsight.load(run.path, device="cpu", precision="32")
    embeddings = torch.from_numpy(np.stack([one.vector for one in model.embed(train.refs())]))
    labels = torch.tensor([model.labels.index(label) for label in train.table["label"]])
    unit = functional.normalize(embeddings.float(), dim=1)
    means = torch.stack([unit[labels == n].mean(0) for n in range(len(model.labels))])
    weight = load_file(run.model / WEIGHTS_FILE)["head.weight"]
    torch.testing.assert_close(weight, functional.normalize(means, dim=1), rtol=1e-3, atol=1e-3)


def test_a_margin_that_is_too_large_is_refused_before_anything_is_read(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    catalog = open_catalog(product_photos.folder)
    wide = recipe("cosface", metric={"margin": 0.9, "margin_step": 0.05, "margin_most": 1.0})
    with pytest.raises(ConfigError, match=r"the margin of cosface is 0\.95 in epoch 2"):
        fit(catalog, wide, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_batches_of_packs_have_a_pair_for_every_image(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_metric_learning")
    catalog = open_catalog(product_photos.folder)
    packs = {"sampling": "pxk", "images_per_class": 4, "epochs": 1}
    fit(catalog, recipe("supcon", training=packs), tmp_path / "run")
    (row,) = read_history(tmp_path / "run" / "metrics.csv")
    assert row.further["images_with_a_pair"] == 1.0


@pytest.mark.parametrize("asks", ["training.loss = 'supcon'", "training.sampling = 'pxk'"])
def test_a_catalog_without_several_images_of_any_class(
    asks: str, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_metric_learning")
    photos = open_catalog(product_photos.folder)
    labels = np.array(photos.table["label"].to_list())
    rows = [np.flatnonzero(labels == label)[:3] for label in photos.labels]
    lone = photos.take(np.concatenate(rows))
    parts = pl.Series("split", ["train", "val", "test"] * 3)
    lone = lone.with_table(lone.table.with_columns(parts))
    training = {"sampling": "pxk"} if "pxk" in asks else {"batch_size": 2}
    loss = "arcface" if "pxk" in asks else "supcon"
    with pytest.raises(SplitError, match="needs several images of a class") as caught:
        fit(lone, recipe(loss, training=training), tmp_path / "run")
    assert caught.value.what.startswith(asks)
    assert not (tmp_path / "run" / "run.json").exists()


def test_classes_that_form_no_pair_are_counted(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    photos = open_catalog(product_photos.folder)
    labels = np.array(photos.table["label"].to_list())
    lone, others = np.flatnonzero(labels == "hat")[:1], np.flatnonzero(labels != "hat")
    few = photos.take(np.concatenate([lone, others]))
    few = few.with_table(few.table.with_columns(split=pl.lit("train")))
    fit(few, recipe("cosface", training={"sampling": "pxk", "epochs": 1}), tmp_path / "run")
    assert (
        "1 class of 3 have one training image, which forms no pair: sampled, several times" in said
    )


def test_the_epoch_that_finds_unseen_classes_best_is_kept(
    product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    photos = open_catalog(product_photos.folder)
    # Six classes of ten photos, of which two are held out.
    halves = pl.col("label") + (pl.int_range(pl.len()) % 2).cast(pl.String)
    catalog = photos.with_table(photos.table.with_columns(label=halves))
    by_search = recipe(
        "arcface",
        data={"val_classes": 0.34},
        training={"checkpoint": "retrieval", "keep_epochs": 2, "epochs": 4, "ema": 0.5},
        model={"neck": {"kind": "bnneck"}},
    )
    fit(catalog, by_search, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    unseen = pl.read_parquet(run.unseen_file)
    assert unseen["label"].n_unique() == 2
    assert set(unseen["label"]).isdisjoint(run.catalog().labels)
    assert any("training never sees" in line for line in said)
    rows = read_history(run.metrics_file)
    scores = [row.further["val_map"] for row in rows]
    assert all(0.0 < score < 1.0 for score in scores)
    assert selected_epoch(rows, "retrieval").epoch == 1 + int(np.argmax(scores))  # type: ignore[union-attr]
    assert run.kept_epoch_files == (run.epoch_weights_file(3), run.epoch_weights_file(4))
    final = load_file(run.final_weights_file)
    last = load_file(run.kept_epoch_files[-1])
    assert all(torch.equal(final[name], last[name]) for name in final)
    assert shopsight.load(run.path).labels == run.catalog().labels


def test_the_first_epochs_train_the_head_alone(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    catalog = open_catalog(product_photos.folder)
    first = recipe(
        "cosface",
        training={"head_epochs": 2, "keep_epochs": 3, "ema": 0.0},
        optimizer={"name": "lion", "lr": 1e-3, "head_lr_factor": 10.0},
        model={"neck": {"kind": "linear-bn-prelu", "embedding_dim": 16}},
    )
    fit(catalog, first, tmp_path / "run")
    kept = [load_file(path) for path in RunFolder(tmp_path / "run").kept_epoch_files]
    moved = [
        {name.split(".")[1] for name in kept[0] if not torch.equal(kept[0][name], later[name])}
        for later in kept[1:]
    ]
    assert "neck" in moved[0]
    assert "weight" in moved[0]
    neck_and_head = {"neck", "weight", "log_scale"}
    assert moved[0] <= neck_and_head
    assert not moved[1] <= neck_and_head


def test_one_class_held_out_scores_nothing(product_photos: ProductPhotos, tmp_path: Path) -> None:
    catalog = open_catalog(product_photos.folder)
    with pytest.raises(SplitError, match="1 class to score retrieval with"):
        fit(catalog, recipe("arcface", data={"val_classes": 0.34}), tmp_path / "run")


def test_a_batch_that_does_not_fit_is_cut_to_whole_packs() -> None:
    packs = {"sampling": "pxk", "batch_size": 20, "images_per_class": 4}
    smaller = halve_batch_size(recipe("arcface", training=packs), MemoryError())
    assert (smaller.training.batch_size, smaller.training.grad_accumulation) == (8, 3)
    with pytest.raises(TrainingError, match="not even a batch of two classes with 4 images"):
        halve_batch_size(smaller, MemoryError())
