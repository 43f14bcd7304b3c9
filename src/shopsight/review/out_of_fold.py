"""Each product of a run is judged by a model that did not learn from it.

Of a K-fold run that is the network of the fold that the product was kept out of. Of another run the
backbone is taken as it is, and a new head is fitted on its embeddings K times, each time without a
fold of products. Products of one family, which copies of a photo connect, are in one fold, those of
each label in as many as there are. The temperature is fitted on all of these answers together, as
one number of many products.

Where the backbone itself was trained on the products, a head cannot forget them: such products are
marked as seen, and only those of the validation and test parts, judged by the run's own network,
say how often its answers are right. Validation products chose the epoch and the temperature: they
are a little too easy, test products are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32, Int64

from shopsight.bundle.fingerprint import embedding_fingerprint
from shopsight.cache_place import cache_folder
from shopsight.catalog.product_photos import ProductPhotos, product_photos
from shopsight.config.model_settings import ProbeSettings
from shopsight.errors import CatalogError, ConfigError
from shopsight.inference.agreement import Readout
from shopsight.inference.features import (
    FeatureStore,
    compute_missing,
    create_feature_folder,
    feature_folder,
    run_outputs,
)
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.inference.product_pool import ProductReadout, product_readout
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.blob_store import Keys
from shopsight.loading.cache import PixelSource, image_keys, open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.families import Families
from shopsight.review.answers import Judge, PooledAnswers, ProductAnswers, pool_photos
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.training.calibrate import Calibration, calibrate
from shopsight.training.probe import fit_probe
from shopsight.training.standard_rows import Features

FOLDS = 5
BATCH_IMAGES = 64


def run_answers(run: RunFolder, *, device: str = "auto") -> ProductAnswers:
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
    found = (
        _by_fold_networks(run, photos, device)
        if run.is_folds_run()
        else _by_new_heads(run, audited, photos, device)
    )
    return _together(audited, photos, found)


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
        network = _Network.of(fold, device)
        readout = product_readout(network.predictor.info)
        pooled = pool_photos(photos, rows, network.logits(rows), readout)
        found.append(_Judged("out of fold", network.predictor.labels, pooled))
    return found


def _by_new_heads(
    run: RunFolder, audited: AuditedCatalog, photos: ProductPhotos, device: str
) -> list[_Judged]:
    network = _Network.of(run, device)
    labels = network.predictor.labels
    part = audited.catalog.table["split"]
    every = np.arange(len(audited))
    is_frozen = not run.recipe().training.finetunes
    unseen = np.empty(0, np.int64)
    if not is_frozen:
        _refuse_divided(run, photos, part)
        unseen = np.flatnonzero((part != "train").to_numpy())
    judge: Judge = "out of fold" if is_frozen else "seen"
    logits = out_of_fold_logits(
        network.features(every),
        audited.catalog.targets(labels),
        audited.families(),
        num_classes=len(labels),
        settings=_probe_settings(run),
        device=network.device,
        seed=run.recipe().seed,
    )
    readout = _readout(
        calibrate(
            [logits],
            audited.catalog,
            labels,
            families=audited.families(),
            copies=audited.duplicate_group,
        )
    )
    rows = np.setdiff1d(every, unseen)
    found = [_Judged(judge, labels, pool_photos(photos, rows, logits[rows], readout))]
    if len(unseen):
        own = product_readout(network.predictor.info)
        pooled = pool_photos(photos, unseen, network.logits(unseen), own)
        found.append(_Judged("not seen", labels, pooled))
    return found


def out_of_fold_logits(
    features: Features,
    targets: Int64[np.ndarray, "n"],
    families: Families,
    *,
    num_classes: int,
    settings: ProbeSettings,
    device: torch.device,
    seed: int,
) -> Float32[np.ndarray, "n c"]:
    """The logits of each image by a head that was fitted without its fold.

    Args:
        features: of the images, by a backbone that did not learn from them.
        targets: their classes.
        families: of the images; a family is in one fold.
        num_classes: number of classes.
        settings: the penalties; of several, the next fold chooses, which the head then does not
            train on.
        device: where heads are fitted.
        seed: of the folds.
    """
    fold_of = deal_folds(targets, families, seed=seed)
    logits = np.zeros((len(targets), num_classes), np.float32)
    for fold in range(FOLDS):
        chooses = fold_of == (fold + 1) % FOLDS if len(settings.penalties) > 1 else fold_of < 0
        train = np.flatnonzero((fold_of != fold) & ~chooses)
        kept_out, val = np.flatnonzero(fold_of == fold), np.flatnonzero(chooses)
        if not len(kept_out):
            continue
        probe = fit_probe(
            torch.as_tensor(features[train]),
            targets[train],
            torch.as_tensor(features[val]),
            targets[val],
            num_classes=num_classes,
            settings=settings,
            device=device,
        )
        answers = torch.as_tensor(features[kept_out]) @ probe.weight.T + probe.bias
        logits[kept_out] = answers.numpy()
    return logits


def deal_folds(
    targets: Int64[np.ndarray, "n"], families: Families, *, seed: int
) -> Int64[np.ndarray, "n"]:
    """The fold of each image: families as a whole, those of each class one fold after another.

    Args:
        targets: the class of each image; of a family that of its first image counts.
        families: of the images.
        seed: of the order within a class.
    """
    _, first = np.unique(families.of_image, return_index=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    order = np.lexsort((shuffled, targets[first]))
    fold = np.empty(len(first), np.int64)
    fold[order] = np.arange(len(first)) % FOLDS
    dealt: Int64[np.ndarray, "n"] = fold[families.of_image]
    return dealt


def _probe_settings(run: RunFolder) -> ProbeSettings:
    """The penalty that the run's own head has, where it is such a head."""
    penalty = run.state().get("probe_penalty")
    return run.recipe().probe if penalty is None else ProbeSettings(penalties=(penalty,))


def _readout(fitted: Calibration) -> ProductReadout:
    photo = Readout(fitted.temperature, fitted.doubt)
    if fitted.by_product is None:
        return ProductReadout(photo, photo)
    several = Readout(fitted.by_product.temperature, fitted.doubt)
    return ProductReadout(photo, several, fitted.by_product.main_weight, is_calibrated=True)


@dataclass(frozen=True, eq=False)
class _Network:
    """The network of a run, with the images that the run was made with."""

    run: RunFolder
    predictor: Predictor
    source: PixelSource
    audited: AuditedCatalog

    @classmethod
    def of(cls, run: RunFolder, device: str) -> _Network:
        audited, predictor = run.audited_catalog(), load(run.path, device=device)
        source = open_cache(
            audited.catalog,
            predictor.preprocess,
            settings=run.recipe().cache,
            sha256s=audited.sha256.to_list(),
        )
        return cls(run, predictor, source, audited)

    @property
    def device(self) -> torch.device:
        return self._engine.device

    @property
    def _engine(self) -> TorchEngine:
        assert isinstance(self.predictor.engine, TorchEngine)
        return self.predictor.engine

    @property
    def _keys(self) -> Keys:
        return image_keys(self.audited.sha256.to_list(), self.audited.catalog.boxes())

    def logits(self, rows: Int64[np.ndarray, "m"]) -> Float32[np.ndarray, "m c"]:
        """The network's own answers."""
        kept = run_outputs(self.run, self.predictor, self.source, rows, keys=self._keys)
        if kept is None:
            batches = OrderedBatches(self.source, rows, batch_size=BATCH_IMAGES)
            kept = self.predictor.predict_batches(batch.images.numpy() for batch in batches)
        none = np.empty((0, len(self.predictor.labels)), np.float32)
        return np.concatenate([none, *(logits for _, logits in kept)])

    def features(self, rows: Int64[np.ndarray, "m"]) -> Features:
        """The network's embeddings: those that training kept, and the others, which are kept."""
        fingerprint = embedding_fingerprint(self.predictor.info)
        place = {"pixels": self.source.mode, "engine": self._engine.name}
        folders = [
            feature_folder(root, fingerprint, **place) for root in (self.run.path, cache_folder())
        ]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            folder = create_feature_folder(cache_folder(), fingerprint, **place)
        store = FeatureStore(folder, self._keys, self.predictor.info.embedding_dim)
        compute_missing(self._engine, self.source, rows, store=store)
        return store.blobs(rows)


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
