"""Predict by product: one label for each product, from all of its photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from shopsight.audit.known_copies import known_copies
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.product_photos import ProductPhotos, product_photos
from shopsight.commands.predict import open_predictor
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.errors import ConfigError
from shopsight.inference.engine import PrecisionChoice
from shopsight.inference.exported_engines import EngineChoice
from shopsight.inference.image_stream import open_rows
from shopsight.inference.predictor import Predictor
from shopsight.inference.product_pool import product_readout
from shopsight.inference.product_predictions import ProductPrediction
from shopsight.inference.product_predictions import predict_products as stream_products
from shopsight.inference.product_writers import product_writer
from shopsight.output_locks import only_writer_of_file
from shopsight.output_paths import TABLE_SUFFIXES, check_output_path, check_suffix
from shopsight.progress import notify
from shopsight.read_options import ReadOptions


def predict_products(
    model: str | Path | Predictor,
    data: str | Path | Catalog,
    *,
    read: ReadOptions | None = None,
    top: int = 5,
    confidence: float | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> Iterator[ProductPrediction]:
    """Label the products of DATA, in the order of their first rows, while their photos stream.

    A product is a value of the column `group`; a photo without one is a product by itself. The
    model and DATA are opened at once; photos are read, and `out` written, as the predictions are
    taken from the iterator.

    Args:
        model: a run folder, a bundle, or one that `load` opened.
        data: a table or a folder, labeled or not.
        read: how DATA is read; None guesses everything.
        top: how many labels to give, at most as many as the model has.
        confidence: where labels are paths, give the deepest one that is so probable too.
        batch_size: images that the network sees at once; None: as many as fill the device.
        out: a .csv, .parquet or .jsonl file for the predictions, which appears at the end.
        device: of a model that is not open yet: its name, see `shopsight.devices`.
        engine: likewise, what runs it, see `shopsight.load`.
        precision: likewise, its number format.

    Raises:
        BundleError: the model cannot be opened.
        CatalogError: DATA cannot be read.
        ConfigError: DATA does not say which photos show one product, the model gives an image
            several labels, `confidence` is asked of a model whose labels are no paths, or `out`
            has another suffix.
        LockedError: another process writes `out`.
        WriteError: `out` is what is read, or cannot be written.
    """
    if out is not None:
        check_output_path(check_suffix(out, TABLE_SUFFIXES, things="predictions"))
        refuse_output_over_data(data, out)
    predictor = model
    if not isinstance(predictor, Predictor):
        predictor = open_predictor(predictor, device, engine=engine, precision=precision)
    predictor.check_confidence(confidence)
    readout = product_readout(predictor.info)
    catalog, photos = _products_of(data, read)
    if not readout.is_calibrated and bool((photos.sizes > 1).any()):
        notify(
            "the model was not calibrated on products of several photos: their confidence is that "
            "of photos, and too low"
        )
    top = min(top, len(predictor.labels))
    found = stream_products(
        predictor, catalog, photos, top=top, confidence=confidence, batch_size=batch_size
    )
    if out is None:
        return found
    return _written(found, Path(out), top=top, nodes=confidence is not None)


def _products_of(
    data: str | Path | Catalog, read: ReadOptions | None
) -> tuple[Catalog, ProductPhotos]:
    catalog = data if isinstance(data, Catalog) else open_rows(str(data), read or ReadOptions())
    photos = product_photos(catalog)
    if photos is None:
        raise ConfigError(
            "no column says which photos show one product",
            where="--by product",
            fix="--group COLUMN   (names the product)\n--by image",
        )
    copies = known_copies(catalog, photos)
    return catalog, ProductPhotos(photos.of_photo, photos.names, photos.is_first, copies)


def _written(
    predictions: Iterator[ProductPrediction], out: Path, *, top: int, nodes: bool
) -> Iterator[ProductPrediction]:
    """Hand the predictions on, each after it was written."""
    with only_writer_of_file(out), product_writer(out, top=top, nodes=nodes) as write:
        for prediction in predictions:
            write(prediction)
            yield prediction
