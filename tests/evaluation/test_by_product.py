"""Scores by product beside those by photo: in predictions, evaluations, reports and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight import api
from shopsight.bundle.product_calibration import ProductCalibration
from shopsight.catalog.catalog import Catalog
from shopsight.errors import ConfigError, DamagedFileError
from shopsight.evaluation.predict_catalog import predict_catalog
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.predictions_check import PHOTO_ROWS
from shopsight.evaluation.score import score
from shopsight.inference.predictor import Predictor
from shopsight.metrics.classification import negative_log
from tests.helpers import ProductPhotos, make_products, train_small


def calibrated(predictor: Predictor, temperature: float) -> Predictor:
    """The same with a temperature of products."""
    fitted = ProductCalibration(temperature=temperature, main_weight=1.0, products=9)
    info = predictor.info.model_copy(update={"by_product": fitted})
    return Predictor(predictor.engine, info)


def test_each_product_has_the_softmax_of_its_photos_mean_logits(
    predictor: Predictor, catalog: Catalog
) -> None:
    found = predict_catalog(calibrated(predictor, 0.5), catalog, split="test", batch_size=7)
    products = found.by_product
    assert products is not None
    part = catalog.take(catalog.rows_of("test"))
    assert (
        products.table["group"].to_list()
        == part.table["group"].unique(maintain_order=True).to_list()
    )
    _, logits = predictor.predict_batch(
        np.concatenate([image.pixels[None] for image in _prepared(part, predictor)])
    )
    rows = dict(zip(found.table["row"].to_list(), logits, strict=True))
    for one in products.table.iter_rows(named=True):
        mean = np.mean([rows[row] for row in one[PHOTO_ROWS]], axis=0, dtype=np.float64) / 0.5
        probabilities = np.exp(mean - mean.max())
        probabilities /= probabilities.sum()
        assert one["predicted"] == predictor.labels[int(probabilities.argmax())]
        assert one["confidence"] == pytest.approx(probabilities.max(), abs=1e-5)
        truth = predictor.labels.index(one["label"])
        assert one["loss"] == pytest.approx(negative_log(probabilities[truth][None])[0], abs=1e-4)
        assert one["correct"] == (one["predicted"] == one["label"])
    assert set(products.table["photos"]) == {2}


def _prepared(part: Catalog, predictor: Predictor):  # type: ignore[no-untyped-def]
    from shopsight.inference.inputs import prepare_inputs

    return prepare_inputs(part, predictor.preprocess, window=8)


def test_products_of_one_photo_have_the_answers_for_their_photos(
    predictor: Predictor, catalog: Catalog
) -> None:
    number = pl.int_range(pl.len())
    lone = catalog.table.with_columns(
        group=pl.when(number < 2).then("group").otherwise(None),
    )
    found = predict_catalog(calibrated(predictor, 0.2), catalog.with_table(lone), split="all")
    assert found.by_product is not None
    products, photos = found.by_product.table, found.table
    assert products.height == photos.height - 1
    columns = ["row", "predicted", "confidence", "loss", "rank", "top_labels", "top_probabilities"]
    alone = products.filter(pl.col("photos") == 1).select(columns)
    assert alone.equals(photos.slice(2).select(columns))


def test_products_of_several_labels_are_left_out_and_counted(
    predictor: Predictor, catalog: Catalog
) -> None:
    first = catalog.table["group"][0]
    odd = pl.when((pl.col("group") == first) & (pl.int_range(pl.len()) == 0))
    table = catalog.table.with_columns(label=odd.then(pl.lit("hat")).otherwise("label"))
    assert table.filter(pl.col("group") == first)["label"].n_unique() == 2
    evaluation = score(predict_catalog(predictor, catalog.with_table(table), split="all"))
    assert evaluation.by_product is not None
    assert evaluation.by_product.num_conflicts == 1
    assert evaluation.by_product.num_products == 29
    assert "not scored: 1 product whose photos have different labels" in evaluation.by_product.note
    assert evaluation.counts["images"] == 60


def test_both_scores_their_intervals_and_what_products_gain(
    predictor: Predictor, catalog: Catalog
) -> None:
    evaluation = score(predict_catalog(predictor, catalog, split="all"))
    products = evaluation.by_product
    assert products is not None
    found = products.evaluation
    right = found.predictions.table["correct"].to_numpy()
    assert found.score.value == right.mean()
    assert found.counts["families"] == found.counts["images"] == 30
    assert products.num_photos == 60
    assert products.num_several == 30
    # Each product has two photos: what it is right about counts twice among them.
    gain = right.repeat(2).mean() - evaluation.predictions.table["correct"].to_numpy().mean()
    assert products.gain.value == pytest.approx(gain)
    as_json = evaluation.to_json()["by_product"]
    assert as_json["products"] == 30
    assert as_json["metrics"]["accuracy"]["value"] == right.mean()


def test_products_that_share_a_copy_vary_together(predictor: Predictor, catalog: Catalog) -> None:
    # The second photo of product 0 and the first one of product 1 are copies.
    copies = np.arange(60)
    copies[2] = copies[1]
    found = predict_catalog(predictor, catalog, split="all", copies=copies)
    found = found.with_duplicate_groups(copies)
    assert found.by_product is not None
    assert found.by_product.families().count == 29


def test_nothing_is_scored_by_product_without_products_or_with_several_labels(
    predictor: Predictor, catalog: Catalog, several: Catalog, fitted_on: object
) -> None:
    without = catalog.with_table(catalog.table.drop("group"))
    assert predict_catalog(predictor, without, split="test").by_product is None
    assert score(predict_catalog(predictor, without, split="test")).by_product is None
    many = fitted_on(several)  # type: ignore[operator]
    assert predict_catalog(many, several, split="test").by_product is None


def test_written_read_renumbered_and_cut(
    predictor: Predictor, catalog: Catalog, tmp_path: Path
) -> None:
    found = predict_catalog(predictor, catalog, split="test")
    found.write(tmp_path / "test.parquet")
    again = Predictions.read(tmp_path / "test.parquet")
    assert again.by_product is not None
    assert found.by_product is not None
    assert again.by_product.table.equals(found.by_product.table)
    moved = found.with_rows(np.arange(60) + 100)
    assert moved.by_product is not None
    expected = [[row + 100 for row in rows] for rows in found.by_product.table[PHOTO_ROWS]]
    assert moved.by_product.table[PHOTO_ROWS].to_list() == expected
    # A product goes with any photo of it.
    rest = found.without_rows(found.table["row"].head(1))
    assert rest.by_product is not None
    assert (len(rest), len(rest.by_product)) == (len(found) - 1, len(found.by_product) - 1)
    assert found.without_rows(found.table["row"]).by_product is None
    (tmp_path / "by-product" / "test.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DamagedFileError, match="by-product"):
        Predictions.read(tmp_path / "test.parquet")
    other = Predictions(
        found.by_product.table.with_columns(photo_rows=pl.lit([999], pl.List(pl.Int64))),
        found.labels,
        False,
        "test",
        "x",
    )
    other.write(tmp_path / "by-product" / "test.parquet")
    with pytest.raises(DamagedFileError, match="it shows photos that were not predicted"):
        Predictions.read(tmp_path / "test.parquet")
    # What has no products leaves none of an earlier evaluation behind.
    Predictions(found.table, found.labels, False, "test", "x").write(tmp_path / "test.parquet")
    assert not (tmp_path / "by-product" / "test.parquet").exists()


@pytest.fixture(scope="module")
def run(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = api.open_catalog(
        product_photos.table,
        api.ReadOptions(group="product", images_root=str(product_photos.folder)),
    )
    return train_small(data, tmp_path_factory.mktemp("products") / "run", "folds.count=2")


def test_a_run_of_folds_has_scores_by_product_and_a_temperature(run: Path) -> None:
    evaluation = api.evaluate(run, by="product")
    assert evaluation.split == "out-of-fold"
    products = evaluation.by_product
    assert products is not None
    assert products.num_products == 30
    info = api.load(run).info
    assert info.by_product is not None
    assert info.by_product.products > 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert 'id="products"' in page
    assert "30 products of 60 photos" in page


def test_by_product_is_refused_where_nothing_is_a_product(
    tiny_run: Path, catalog: Catalog, product_photos: ProductPhotos
) -> None:
    with pytest.raises(ConfigError, match="no column says"):
        api.evaluate(tiny_run, by="product")
    single = catalog.with_table(catalog.table.with_columns(group=pl.col("image")))
    with pytest.raises(ConfigError, match="no product has several photos"):
        api.evaluate(tiny_run, single, by="product")
    mixed = catalog.with_table(
        catalog.table.with_columns(group=(pl.int_range(pl.len()) % 20).cast(pl.String))
    )
    with pytest.raises(ConfigError, match="most groups"):
        api.evaluate(tiny_run, mixed, by="product")


def test_a_product_in_two_catalogs_is_said(
    run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    """By other photos under a name that the run knows, and with a photo that it knows."""
    others = make_products(tmp_path / "others", per_class=4, seed=5)
    first = product_photos.folder / "hat/hat-000-0.jpg"
    names = [f"hat/hat-{number:03d}-{view}.jpg" for number in range(2) for view in range(2)]
    images = [str(others.folder / name) for name in names]
    table = pl.DataFrame(
        {
            "image": [*images, str(first), str(others.folder / "hat/hat-001-1.jpg")],
            "label": ["hat"] * 6,
            "group": ["hat-1", "hat-1", "new", "new", "half", "half"],
        }
    )
    evaluation = api.evaluate(run, Catalog(table, "other shop"))
    products = evaluation.by_product
    assert products is not None
    assert products.evaluation.predictions.table["group"].to_list() == ["hat-1", "new"]
    assert products.num_known == 1
    assert "1 product named as one that the model was trained on" in products.note
    assert evaluation.counts["images"] == 5
