"""Adapt: what is judged is what is written, and what does not help is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.commands.adapt import adapt, check_one_network, verdict
from shopsight.datasets.open import open_catalog
from shopsight.embeddings.contents import hash_contents
from shopsight.errors import ConfigError, TrainingError
from shopsight.inference.load import load
from shopsight.inference.open_embedder import open_embedder
from shopsight.inference.open_network import OpenedNetwork, open_network
from shopsight.memory import use_memory_budget
from shopsight.metrics.intervals import Interval
from shopsight.metrics.retrieval import exact_rankings, score_rankings
from shopsight.read_options import ReadOptions
from shopsight.training.adapt_parts import NOWHERE, TEST_IMAGES, divide
from shopsight.training.adapt_search import Change
from tests.helpers import make_products, run_command, train_small

LITE0 = "embedded:tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered photos each of 48 products of three classes."""
    return make_products(tmp_path_factory.mktemp("data") / "photos", per_class=32).table


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small net that tells the photos' labels apart."""
    learns = ("training.epochs=12", "optimizer.lr=3e-3")
    return train_small(photos.with_suffix(""), tmp_path_factory.mktemp("runs") / "run", *learns)


def test_the_bundle_finds_what_the_report_says(run: Path, photos: Path, tmp_path: Path) -> None:
    read = ReadOptions(group="product")
    done = adapt(run, photos, out=tmp_path / "bundle", read=read, keep_anyway=True, device="cpu")
    assert done.relevant_by == "product"
    assert done.model == tmp_path / "bundle"
    catalog = open_catalog(photos, read)
    parts = divide(catalog, hash_contents(catalog).sha256, seed=0)
    embedder = open_embedder(tmp_path / "bundle", device="cpu", precision="32")
    vectors = np.stack([one.vector for one in embedder.embed(catalog, on_error="raise")])
    gallery = np.flatnonzero(parts.part != NOWHERE)
    queries = np.flatnonzero(parts.part[gallery] == TEST_IMAGES)
    vectors, classes = vectors[gallery], parts.classes[gallery]
    rankings = exact_rankings(
        vectors[queries],
        vectors,
        query_groups=classes[queries],
        gallery_groups=classes,
        junk=lambda query: queries[query : query + 1],
    )
    ranked = score_rankings(rankings, len(queries))
    change = done.changes["images"]["mean_average_precision"]
    assert change.images == len(ranked.queries)
    wanted = float(ranked.values["mean_average_precision"].mean())
    assert change.after.value == pytest.approx(wanted, abs=0.02)
    assert change.gain.value == pytest.approx(change.after.value - change.before.value)
    before = open_embedder(run, device="cpu").space
    assert embedder.space.fingerprint != before.fingerprint


def test_photos_of_labels_come_nearer_and_the_bundle_predicts(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("adapt", run, photos.with_suffix(""), "--out", tmp_path / "bundle", "--json")
    ran = run_command(capsys, (*words, "--keep-anyway"))
    assert ran.code == 0, ran.err
    change = ran.json["changes"]["images"]["mean_average_precision"]
    gain = change["after"]["value"] - change["before"]["value"]
    assert change["gain"]["value"] == pytest.approx(gain)
    assert gain > -0.02
    predictor = load(tmp_path / "bundle", device="cpu")
    assert predictor.verify().ok
    files = sorted(photos.with_suffix("").rglob("*.jpg"))
    found = list(predictor.predict([str(file) for file in files]))
    right = [one.labels[0] == file.parent.name for one, file in zip(found, files, strict=True)]
    assert np.mean(right) > 0.6


def test_a_head_for_classes_leaves_the_embedding(run: Path, photos: Path, tmp_path: Path) -> None:
    done = adapt(
        run,
        photos.with_suffix(""),
        out=tmp_path / "bundle",
        purpose="classes",
        hidden_dim=16,
        keep_anyway=True,
        device="cpu",
    )
    space = [open_embedder(one, device="cpu").space for one in (run, tmp_path / "bundle")]
    assert space[0].fingerprint == space[1].fingerprint
    assert set(done.changes) == {"images"}
    assert done.chosen == "two hidden layers"
    assert load(tmp_path / "bundle", device="cpu").verify().ok


def test_what_does_not_help_is_not_written(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So few images that no interval excludes zero."""
    few = make_products(tmp_path / "few", per_class=4).folder
    ran = run_command(capsys, ("adapt", run, few, "--out", tmp_path / "bundle"))
    assert ran.code == 1
    assert not (tmp_path / "bundle").exists()
    assert "nothing is written" in ran.err
    assert "--keep-anyway" in ran.err


def test_bad_input_is_said_before_anything_is_embedded(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(ConfigError, match="hidden layers are for classes"):
        adapt(LITE0, photos, out=out, hidden_dim=8)
    whole = open_catalog(photos.with_suffix(""))
    only_shoes = whole.with_table(whole.table.filter(pl.col("label") == "shoe"))
    with pytest.raises(TrainingError, match="all images have one label"):
        adapt(LITE0, only_shoes, out=out)
    with use_memory_budget(0.001), pytest.raises(TrainingError, match="96 embeddings of 1,280"):
        adapt(LITE0, photos, out=out)
    opened = open_network(LITE0)
    ensemble = OpenedNetwork(opened.model, opened.info.model_copy(update={"members": 2}), None)
    with pytest.raises(ConfigError, match="an ensemble of 2 networks"):
        check_one_network(ensemble, "run")
    assert not out.exists()


def test_the_verdict_weighs_both_parts() -> None:
    def change(value: float, half: float) -> dict[str, Change]:
        score = Interval(0.5, 0.4, 0.6)
        gain = Interval(value, value - half, value + half)
        return {"mean_average_precision": Change(score, score, gain, 10, 2)}

    assert verdict({"images": change(0.1, 0.05)})[0]
    assert not verdict({"images": change(0.1, 0.2)})[0]
    assert not verdict({})[0]
    assert verdict({"images": change(0.1, 0.05), "classes": change(-0.02, 0.01)})[0]
    assert not verdict({"images": change(0.1, 0.05), "classes": change(-0.2, 0.1)})[0]
