"""No product is judged by a network, or a head, that learned from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from shopsight.config.model_settings import ProbeSettings
from shopsight.config.training_settings import TrainingSettings
from shopsight.errors import CatalogError
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.metrics.families import Families
from shopsight.review.out_of_fold import run_answers
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fold_heads import FOLDS, HeadFit, deal_folds, fit_fold_heads
from shopsight.training.probe import fit_probe
from tests.helpers import ProductPhotos, train_small


def by_network(predictor: Predictor, run: RunFolder, product: str) -> dict[str, float]:
    """What a network says of a product, photo by photo, by the public API."""
    catalog = run.catalog()
    rows = np.flatnonzero((catalog.table["group"] == product).to_numpy())
    refs = [catalog.refs()[row] for row in rows]
    (found,) = list(api_products(predictor, refs, product))
    return found


def api_products(predictor: Predictor, refs: list[str], product: str) -> list[dict[str, float]]:
    from shopsight.catalog.catalog import Catalog
    from shopsight.catalog.product_photos import product_photos
    from shopsight.inference.product_predictions import predict_products

    table = pl.DataFrame({"image": refs, "group": [product] * len(refs)})
    catalog = Catalog(table, "one")
    photos = product_photos(catalog)
    assert photos is not None
    found = predict_products(predictor, catalog, photos, top=len(predictor.labels))
    return [dict(zip(one.labels, one.probabilities, strict=True)) for one in found]


def test_of_a_folds_run_the_network_that_never_saw_it(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    run = RunFolder(train_small(product_photos.table, tmp_path / "run", "folds.count=3"))
    catalog = run.catalog()
    found = run_answers(run, device="cpu").answers
    assert set(found.judges) == {"out of fold"}
    assert set(found.names) == set(catalog.table["group"])
    fold_of = dict(catalog.table.select("group", "fold").iter_rows())
    label_of = dict(catalog.table.select("group", "label").iter_rows())
    predictors = [load(fold.path, device="cpu") for fold in run.folds()]
    for place in range(0, len(found), 5):
        name = found.names[place]
        assert found.given[place] == label_of[name]
        expected = by_network(predictors[fold_of[name]], run, name)
        said = dict(zip(found.labels, found.probabilities[place].tolist(), strict=True))
        assert said == pytest.approx(expected, abs=1e-3)


def test_a_fine_tuned_backbone_has_seen_its_products(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    run = RunFolder(train_small(product_photos.table, tmp_path / "run"))
    catalog = run.catalog()
    found = run_answers(run, device="cpu").answers
    part_of = dict(catalog.table.select("group", "split").iter_rows())
    judges = dict(zip(found.names, found.judges, strict=True))
    assert {judges[name] for name, part in part_of.items() if part == "train"} == {"seen"}
    assert {judges[name] for name, part in part_of.items() if part != "train"} == {"not seen"}
    predictor = load(run.path, device="cpu")
    name = next(name for name, judge in judges.items() if judge == "not seen")
    place = found.names.index(name)
    said = dict(zip(found.labels, found.probabilities[place].tolist(), strict=True))
    assert said == pytest.approx(by_network(predictor, run, name), abs=1e-3)


def test_a_run_that_knows_no_products_is_refused(tiny_run: Path) -> None:
    with pytest.raises(CatalogError, match="which of its photos show one product"):
        run_answers(RunFolder(tiny_run), device="cpu")


def test_folds_keep_families_together_and_spread_classes() -> None:
    rng = np.random.default_rng(0)
    families = Families.by(np.repeat(np.arange(40), 3))
    targets = np.repeat(np.arange(40) % 4, 3)
    fold = deal_folds(targets, families, seed=0)
    assert all(len(set(fold[families.of_image == one])) == 1 for one in range(40))
    counts = np.zeros((4, FOLDS), int)
    np.add.at(counts, (targets[::3], fold[::3]), 1)
    assert (counts == 2).all()
    order = rng.permutation(len(targets))
    assert (deal_folds(targets, families, seed=0) == fold).all()
    assert (deal_folds(targets, families, seed=1) != fold).any()
    assert len(order) == len(fold)


def test_heads_never_see_their_fold() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8)).astype(np.float32)
    targets = rng.integers(0, 3, 60)
    families = Families.alone(60)
    settings = ProbeSettings(penalties=(0.01,))
    device = torch.device("cpu")
    heads = fit_fold_heads(
        torch.from_numpy(features),
        targets,
        families,
        how=HeadFit(("a", "b", "c"), settings, TrainingSettings()),
        device=device,
    )
    logits = heads.logits
    fold = deal_folds(targets, families, seed=0)
    # The labels of a fold do not change what is said of it.
    other = targets.copy()
    other[fold == 2] = (other[fold == 2] + 1) % 3
    kept = fold == 2
    train = np.flatnonzero(~kept)
    probe = fit_probe(
        torch.from_numpy(features[train]),
        other[train],
        torch.empty(0, 8),
        other[:0],
        num_classes=3,
        settings=settings,
        device=device,
    )
    expected = features[kept] @ probe.weight.numpy().T + probe.bias.numpy()
    assert logits[kept] == pytest.approx(expected, abs=1e-4)
    # What is new to all of them is answered by their mean.
    others = []
    for one in range(FOLDS):
        rows = np.flatnonzero(fold != one)
        probe = fit_probe(
            torch.from_numpy(features[rows]),
            targets[rows],
            torch.empty(0, 8),
            targets[:0],
            num_classes=3,
            settings=settings,
            device=device,
        )
        others.append(features[:5] @ probe.weight.numpy().T + probe.bias.numpy())
    with torch.no_grad():
        together = heads.mean_head()(torch.from_numpy(features[:5])).numpy()
    assert together == pytest.approx(np.mean(others, axis=0), abs=1e-4)
    # Noise cannot be learned: right as often as by chance.
    assert (logits.argmax(axis=1) == targets).mean() < 0.6
