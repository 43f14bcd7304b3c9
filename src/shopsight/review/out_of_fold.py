"""Each product of a run is judged by a model that did not learn from it.

Of a K-fold run that is the network of the fold that the product was kept out of. Of another run
whose backbone was taken as it is, new heads are fitted on its embeddings, each without a fold of
products (`shopsight.training.fold_heads`): products of one family, which copies of a photo connect,
are in one fold. The temperature is fitted on all of these answers together, as one number of many
products. Where a text encoder found the classes, nothing has learned from the labels at all.

Where the backbone itself was trained on the products, a head cannot forget them: such products are
marked as seen, and only those of the validation and test parts, judged by the run's own network,
say how often its answers are right. Validation products chose the epoch and the temperature: they
are a little too easy, test products are not.

Products that the run does not know are judged by the same kind of model: all networks of a K-fold
run, all heads, or the run's own network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int64

from shopsight.catalog.product_photos import ProductPhotos, product_photos
from shopsight.errors import CatalogError, ConfigError
from shopsight.inference.agreement import Readout
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.inference.product_pool import ProductReadout, product_readout
from shopsight.review.answers import Judge, PooledAnswers, ProductAnswers, pool_photos
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.training.calibrate import Calibration, calibrate
from shopsight.training.fold_heads import FoldHeads, HeadFit, fit_fold_heads
from shopsight.training.run_network import RunNetwork


@dataclass(frozen=True, eq=False)
class RunAnswers:
    """What is said of a run's own products, and what judges others.

    Attributes:
        answers: of its products.
        for_others: judges products that the run does not know.
    """

    answers: ProductAnswers
    for_others: Predictor


def run_answers(run: RunFolder, *, device: str = "auto") -> RunAnswers:
    """Answer for the products of a run's own catalog.

    Args:
        run: a finished run.
        device: its name, see `shopsight.devices`.

    Raises:
        ConfigError: its images have several labels each.
        CatalogError: it does not know products, or its parts divide them.
    """
    audited = run.audited_catalog()
    if audited.catalog.multilabel:
        raise ConfigError(
            "its images have several labels each, such as tags: a review is of one category",
            where=str(run.path),
            fix="shopsight train DATA --label-column category --out RUN",
        )
    photos = _photos_of(run, audited)
    if run.is_folds_run():
        found, others = (
            _by_fold_networks(run, photos, device),
            load(run.path, device=device, engine="torch"),
        )
    else:
        found, others = _by_one_network(run, photos, device)
    return RunAnswers(_together(audited, photos, found), others)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Answers of one judge."""

    judge: Judge
    labels: tuple[str, ...]
    pooled: PooledAnswers


def _photos_of(run: RunFolder, audited: AuditedCatalog) -> ProductPhotos:
    photos = product_photos(audited.catalog, audited.duplicate_group)
    if photos is None:
        raise CatalogError(
            "does not know which of its photos show one product: it has no column `group`",
            where=str(run.path),
            fix="train on the export, or on the catalog that import or fetch wrote",
        )
    return photos


def _refuse_divided(run: RunFolder, photos: ProductPhotos, part: pl.Series) -> None:
    """Refuse a run of which some products are in two parts."""
    table = pl.DataFrame({"product": photos.of_photo, "part": part})
    counts = table.group_by("product").agg(pl.col("part").n_unique()).filter(pl.col("part") > 1)
    if len(counts):
        names = [str(photos.names[number]) for number in counts["product"].sort()]
        raise CatalogError(
            f"{len(names):,} of {len(photos):,} products are in several parts of the run's split: "
            "its networks saw what they would judge",
            where=str(run.path),
            details=names,
            fix="train without --group none, and without a split of single photos",
        )


def _by_fold_networks(run: RunFolder, photos: ProductPhotos, device: str) -> list[_Judged]:
    fold_of = run.catalog().table["fold"]
    _refuse_divided(run, photos, fold_of)
    found = []
    for number, fold in enumerate(run.folds()):
        rows = np.flatnonzero((fold_of == number).to_numpy())
        network = RunNetwork.of(fold, device)
        found.append(_by_itself(network, photos, rows, "out of fold"))
    return found


def _by_one_network(
    run: RunFolder, photos: ProductPhotos, device: str
) -> tuple[list[_Judged], Predictor]:
    """Answers for all products, and what judges others."""
    network = RunNetwork.of(run, device)
    training = run.recipe().training
    every = np.arange(len(network.audited))
    if training.mode == "zero-shot":
        return [_by_itself(network, photos, every, "not seen")], network.predictor
    heads, fitted = _fitted(network)
    labels, readout = network.predictor.labels, _readout(fitted)
    if not training.finetunes:
        pooled = pool_photos(photos, every, heads.logits, readout)
        return [_Judged("out of fold", labels, pooled)], _with_heads(network, heads, fitted)
    part = network.audited.catalog.table["split"]
    _refuse_divided(run, photos, part)
    seen = np.flatnonzero((part == "train").to_numpy())
    unseen = np.setdiff1d(every, seen)
    return [
        _Judged("seen", labels, pool_photos(photos, seen, heads.logits[seen], readout)),
        _by_itself(network, photos, unseen, "not seen"),
    ], network.predictor


def _by_itself(
    network: RunNetwork, photos: ProductPhotos, rows: Int64[np.ndarray, "m"], judge: Judge
) -> _Judged:
    """Answers of the network as it is."""
    readout = product_readout(network.predictor.info)
    pooled = pool_photos(photos, rows, network.logits(rows), readout)
    return _Judged(judge, network.predictor.labels, pooled)


def _fitted(network: RunNetwork) -> tuple[FoldHeads, Calibration]:
    """New heads, and their temperature."""
    audited, labels = network.audited, network.predictor.labels
    families = audited.families()
    targets = audited.catalog.targets(labels)
    assert isinstance(targets, np.ndarray)  # Of several labels there is no review.
    heads = fit_fold_heads(
        network.features(),
        targets,
        families,
        how=HeadFit.of(network.run, labels),
        device=network.device,
    )
    fitted = calibrate(
        [heads.logits],
        audited.catalog,
        labels,
        families=families,
        copies=audited.duplicate_group,
    )
    return heads, fitted


def _with_heads(network: RunNetwork, heads: FoldHeads, fitted: Calibration) -> Predictor:
    """The run's backbone with all new heads together.

    Their temperature is that of each of them: together they are a little less sure than they may
    be, and fewer categories are filled in.
    """
    changed = {
        "temperature": fitted.temperature,
        "doubt": fitted.doubt,
        "by_product": fitted.by_product,
    }
    info = network.predictor.info.model_copy(update=changed)
    return Predictor(network.engine.with_head(heads.mean_head()), info)


def _readout(fitted: Calibration) -> ProductReadout:
    photo = Readout(fitted.temperature, fitted.doubt)
    if fitted.by_product is None:
        return ProductReadout(photo, photo)
    several = Readout(fitted.by_product.temperature, fitted.doubt)
    return ProductReadout(photo, several, fitted.by_product.main_weight, is_calibrated=True)


def _together(
    audited: AuditedCatalog, photos: ProductPhotos, found: Sequence[_Judged]
) -> ProductAnswers:
    """The answers of all judges, in the order of the products; lone photos are no products."""
    labels = found[0].labels
    assert all(one.labels == labels for one in found), "one run, one order of labels"
    product = np.concatenate([one.pooled.product for one in found])
    named = np.array([photos.names[number] is not None for number in product], bool)
    order = np.argsort(product, kind="stable")
    order = order[named[order]]
    first = np.concatenate([one.pooled.first_photo for one in found])[order]
    judges = [one.judge for one in found for _ in one.pooled.product]
    given = audited.catalog.table["label"][first].to_list()
    return ProductAnswers(
        labels=labels,
        names=tuple(str(photos.names[number]) for number in product[order]),
        probabilities=np.concatenate([one.pooled.probabilities for one in found])[order].astype(
            np.float32
        ),
        judges=tuple(judges[place] for place in order),
        family=audited.families().of_image[first],
        given=tuple(given),
        first_photo=first,
    )
