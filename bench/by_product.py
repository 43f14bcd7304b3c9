"""One label per product from all of its photos, beside one per photo.

    python bench/by_product.py --clothing FOLDER --groceries FOLDER --work FOLDER [--details]

Products are made of photos: one to four of one class, of one contributor (clothing) or taken one
after another in one part (groceries). The split keeps contributors, or products, together; the seed
draws products, split and all else. The classifier is a probe of the embedded Lite0 backbone.
Both scores are of the same test photos, by the report of `shopsight train` itself.

--details cuts every photo but the first of a product to a random quarter of its area: a shop's
detail shots. Appends to --results as JSON lines. Finished runs in --work are taken as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from scipy.special import log_softmax

from shopsight import api
from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.catalog.product_photos import product_photos
from shopsight.evaluation.predictions_check import PHOTO_ROWS
from shopsight.inference.features import run_outputs
from shopsight.inference.predictor import Predictor
from shopsight.inference.product_pool import ProductPool
from shopsight.loading.cache import image_keys, open_cache
from shopsight.metrics.temperature import fit_temperature
from shopsight.read_options import ReadOptions
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder

SEEDS = (0, 1, 2)
WEIGHTS = (1.0, 1.25, 1.5, 2.0, 3.0)
LARGEST_PRODUCT = 4
PARTS, SHARES = ("train", "val", "test"), (0.6, 0.2, 0.2)


def clothing(folder: Path) -> tuple[Catalog, pl.Series, pl.Series]:
    """The photos, what a product is taken from, and what stays in one part."""
    read = ReadOptions(root=str(folder), drop=("Skip", "Not sure"), group="none")
    catalog = api.open_catalog("clothing", read)
    sender = catalog.table["sender_id"].cast(pl.String)
    return catalog, sender + " " + catalog.table["label"], sender


def groceries(folder: Path) -> tuple[Catalog, pl.Series, None]:
    read = ReadOptions(skip_folder=("iconic-images-and-descriptions",))
    catalog = api.open_catalog(folder, read)
    return catalog, catalog.table["split"] + " " + catalog.table["label"], None


def as_products(
    catalog: Catalog, source: pl.Series, together: pl.Series | None, *, seed: int, details: bool
) -> Catalog:
    """The catalog with products, their order of photos, and a split."""
    rng = np.random.default_rng(seed)
    order = catalog.table.select("image").with_columns(source.alias("source"))
    order = order.with_row_index("row").sort("source", "image")
    rows, sources = order["row"].to_numpy(), order["source"].to_list()
    group, position = [""] * len(catalog), np.zeros(len(catalog), np.int64)
    start = number = 0
    while start < len(rows):
        end, most = start, int(rng.integers(1, LARGEST_PRODUCT + 1))
        while end < min(start + most, len(rows)) and sources[end] == sources[start]:
            group[rows[end]], position[rows[end]] = f"P-{number}", end - start + 1
            end += 1
        start, number = end, number + 1
    unit = pl.Series(group) if together is None else together
    names = unit.unique(maintain_order=True)
    part = rng.choice(PARTS, len(names), p=SHARES)
    split = unit.replace_strict(names, pl.Series(part.tolist()))
    table = catalog.table.drop("group", "split", strict=False).with_columns(
        pl.Series("group", group), pl.Series("position", position), split.alias("split")
    )
    found = catalog.with_table(table)
    return detailed(found, rng) if details else found


def detailed(catalog: Catalog, rng: np.random.Generator) -> Catalog:
    """All photos but the first of a product cut to half their sides, somewhere."""
    boxes = np.full((len(catalog), 4), np.nan)
    for row, (ref, place) in enumerate(zip(catalog.refs(), catalog.table["position"], strict=True)):
        if place > 1:
            height, width = cv2.imread(ref).shape[:2]
            x, y = rng.uniform(0, width / 2), rng.uniform(0, height / 2)
            boxes[row] = (x, y, width / 2, height / 2)
    columns = [
        pl.Series(name, boxes[:, index]).fill_nan(None) for index, name in enumerate(BOX_COLUMNS)
    ]
    return catalog.with_table(catalog.table.with_columns(columns))


def run_of(catalog: Catalog, out: Path, seed: int) -> RunFolder:
    if not (out / "report.html").is_file():
        settings = (f"seed={seed}", "data.test=0.2")
        accept = ("split-leak", "label-conflict", "lost-class")
        api.train(catalog, out=out, recipe="fast", settings=settings, accept=accept)
    return RunFolder(out)


def scores(run: RunFolder) -> dict[str, object]:
    """Both scores of the test part as the run has them, and those of products at each weight."""
    evaluation = api.evaluate(run.path, by="product")
    products = evaluation.by_product
    predictor = api.load(run.path)
    fitted = predictor.info.by_product
    assert products is not None
    assert fitted is not None
    several = products.evaluation.predictions.table.filter(pl.col("photos") > 1)
    photos = several[PHOTO_ROWS].explode()
    own = evaluation.predictions.table.filter(pl.col("row").is_in(photos.implode()))
    return {
        "temperature": predictor.temperature,
        "temperature_by_product": fitted.temperature,
        "val_products": fitted.products,
        "photo": evaluation.score.to_json(),
        "product": products.evaluation.score.to_json(),
        "gain": products.gain.to_json(),
        "several": {
            "products": several.height,
            "photos": own.height,
            "photo": own["correct"].mean(),
            "product": several["correct"].mean(),
        },
        "calibration": products.evaluation.calibration.line,
        "weights": weights(run, predictor, predictor.temperature),
    }


def weights(run: RunFolder, predictor: Predictor, temperature: float) -> dict[str, object]:
    """Test accuracy and log loss of products of several photos, at each weight of the main photo.

    The temperature is fitted on validation products at each weight; and once it is that of photos.
    """
    audited = run.audited_catalog()
    logits = {part: np.concatenate(list(logits_of(run, predictor, part))) for part in PARTS[1:]}
    found: dict[str, object] = {}
    for weight in WEIGHTS:
        val, test = (
            pooled(audited, part, logits[part], predictor.labels, weight) for part in PARTS[1:]
        )
        own = fit_temperature(val[0] / temperature, val[1]).value * temperature
        losses = {"loss": own, "loss at the temperature of photos": temperature}
        found[f"{weight:g}"] = {
            "val loss": log_loss(*val, own),
            "accuracy": float((test[0].argmax(axis=1) == test[1]).mean()),
            **{name: log_loss(*test, value) for name, value in losses.items()},
        }
    return found


def log_loss(means: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    return float(-log_softmax(means / temperature, axis=1)[np.arange(len(means)), targets].mean())


def logits_of(run: RunFolder, predictor: Predictor, part: str) -> Iterator[np.ndarray]:
    audited = run.audited_catalog()
    catalog, sha256s = audited.catalog, audited.sha256.to_list()
    settings = run.recipe().cache
    source = open_cache(catalog, predictor.preprocess, settings=settings, sha256s=sha256s)
    keys = image_keys(sha256s, catalog.boxes())
    found = run_outputs(run, predictor, source, catalog.rows_of(part), keys=keys)
    assert found is not None, "a probe keeps its features"
    return (logits for _, logits in found)


def pooled(
    audited: AuditedCatalog, part: str, logits: np.ndarray, labels: tuple[str, ...], weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean logits and classes of the part's products of several photos."""
    some = audited.take(audited.catalog.rows_of(part))
    photos = product_photos(some.catalog, some.duplicate_group)
    assert photos is not None
    targets = some.catalog.targets(labels)
    pool = ProductPool(photos, main_weight=weight)
    found = [one for one in pool.add(np.arange(len(logits)), logits) if one.num_counted > 1]
    return np.stack([one.mean for one in found]), targets[[one.photos[0] for one in found]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clothing", type=Path)
    parser.add_argument("--groceries", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--results", type=Path, default=Path("by-product.jsonl"))
    options = parser.parse_args()
    for name, opened in (("clothing", clothing), ("groceries", groceries)):
        folder = getattr(options, name)
        if folder is None:
            continue
        catalog, source, together = opened(folder)
        for seed in SEEDS:
            made = as_products(catalog, source, together, seed=seed, details=options.details)
            kind = "details" if options.details else "photos"
            run = run_of(made, options.work / f"{name}-{kind}-{seed}", seed)
            row = {"data": name, "kind": kind, "seed": seed, **scores(run)}
            print(json.dumps(row), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
