"""The training photos of a run, by the features that its training has kept."""

from __future__ import annotations

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight import progress
from shopsight.bundle.read import bundle_folder, read_info
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.explanations.training_photos import SIDE_PX, KeptVectors, check_space
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import open_cache
from shopsight.runs.run_folder import RunFolder
from shopsight.text import count_text
from shopsight.training.run_network import RunNetwork
from shopsight.unit_vectors import unit_vectors

MOST_PHOTOS = 100_000
"""Training photos that are looked among; of a run with more, so many by chance."""


def of_run(run: RunFolder, predictor: Predictor) -> KeptVectors:
    """The training photos of a finished run.

    Raises:
        EmbeddingError: its embeddings are of another space.
        ImageError: an image whose features are not kept cannot be read.
    """
    check_space(read_info(bundle_folder(run.path)).space, predictor, run.path)
    own = predictor
    if not isinstance(predictor.engine, TorchEngine):
        # Features are kept by torch: those of another engine would all be computed anew.
        own = load(run.path, engine="torch", device="cpu")
    audited = run.audited_catalog()
    catalog = audited.catalog
    source = open_cache(
        catalog,
        own.preprocess,
        settings=run.recipe().pixel_cache,
        sha256s=audited.sha256.to_list(),
    )
    rows, about = _training_rows(catalog, run)
    features = RunNetwork(run, own, source, audited).features(rows)
    vectors = unit_vectors(np.asarray(features[np.arange(len(rows))], np.float32))
    table = pl.DataFrame(
        {
            "name": catalog.table["image"].gather(rows),
            "label": _labels(catalog).gather(rows),
            "sha256": audited.sha256.gather(rows),
        }
    )
    return KeptVectors(
        about, vectors, table, lambda row: row_thumbnail(catalog, int(rows[row]), side_px=SIDE_PX)
    )


def _training_rows(catalog: Catalog, run: RunFolder) -> tuple[Int64[np.ndarray, "m"], str]:
    rows = np.arange(len(catalog))
    if "split" in catalog.table.columns:
        rows = np.flatnonzero((catalog.table["split"] == "train").to_numpy())
    about = f"{count_text(len(rows))} training photos of {run.path.name}"
    if len(rows) > MOST_PHOTOS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_PHOTOS, replace=False))
        about = f"{count_text(MOST_PHOTOS)} of the {about}, by chance"
        progress.notify(f"nearest photos: among {about}")
    return np.asarray(rows, np.int64), about


def _labels(catalog: Catalog) -> pl.Series:
    """The label of each row as text; several in one line."""
    if not catalog.has("label"):
        return pl.Series([""] * len(catalog), dtype=pl.String)
    column = catalog.table["label"]
    if column.dtype == pl.List(pl.String):
        return column.list.join(" | ")
    return column.cast(pl.String)
