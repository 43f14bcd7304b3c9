"""Zero-shot: classify images by the names of classes, without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.unlabeled import only_labeled
from shopsight.commands.predict import predict
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError
from shopsight.evaluation.evaluate import evaluate as score_catalog
from shopsight.evaluation.left_out import without_bad_files
from shopsight.evaluation.predictions import ALL_ROWS
from shopsight.evaluation.score import Evaluation
from shopsight.files import scratch_folder
from shopsight.head_settings import HeadSettings
from shopsight.inference.load import load
from shopsight.inference.open_embedder import open_embedder
from shopsight.inference.open_network import open_network
from shopsight.inference.predictor import Prediction, Predictor
from shopsight.inference.save import readable_images, save_bundle
from shopsight.inference.zero_shot import ClassDirectionsFound, find_directions
from shopsight.models.product_model import ProductModel
from shopsight.output_paths import check_output_path
from shopsight.preprocess import Resize
from shopsight.read_options import ReadOptions
from shopsight.words.class_lists import (
    PROMPTS,
    ClassWords,
    classes_of_labels,
    read_classes,
    read_prompts,
)


@dataclass(frozen=True)
class ZeroShotResult:
    """What classes by words gave.

    Attributes:
        classes: with their words.
        by: how words became directions.
        evaluation: scores, where DATA has labels; else None.
        predictions: labels of the images, where DATA has no labels or a file of them was asked for.
        model: the bundle, if one was kept.
    """

    classes: tuple[ClassWords, ...]
    by: str
    evaluation: Evaluation | None
    predictions: tuple[Prediction, ...]
    model: Path | None


def zero_shot(
    model: str | Path,
    data: str | Path | Catalog,
    *,
    classes: str | Path | Sequence[ClassWords] | None = None,
    prompts: str | Path | Sequence[str] | None = None,
    read: ReadOptions | None = None,
    resize: Resize | None = None,
    out: str | Path | None = None,
    predictions: str | Path | None = None,
    device: str = "auto",
) -> ZeroShotResult:
    """Label images by the names of classes, without training, and score them where labels are.

    Args:
        model: a backbone by name, a run or a bundle; with a text encoder, or one that knows classes
            by name, which the extra `words` joins to other words.
        data: a folder, a table, the name of a data set, or a catalog.
        classes: a file, see `shopsight.words.class_lists`; None takes the labels of DATA.
        prompts: a file of sentences with `{}`, for a text encoder; None takes those for products.
        read: how DATA is read.
        resize: of a backbone, how an image becomes a square.
        out: a folder for the bundle, which `predict` takes.
        predictions: a .csv, .parquet or .jsonl file of every image's labels.
        device: see `shopsight.devices`.

    Raises:
        ConfigError: classes or prompts cannot be read, or there are no classes.
        CatalogError: DATA cannot be read, or has labels that are no classes.
        EmbeddingError: nothing joins words to the model's images, or a class has no known word.
    """
    if out is not None:
        check_output_path(Path(out))
    wanted = read_classes(classes) if isinstance(classes, str | Path) else classes
    sentences = read_prompts(prompts) if isinstance(prompts, str | Path) else prompts
    catalog = open_catalog(data, read)
    chosen = tuple(wanted) if wanted is not None else classes_of_labels(catalog.labels)
    if not chosen:
        raise ConfigError(
            "no classes: DATA has no labels", where=catalog.name, fix="--classes FILE, one a line"
        )
    embedder = open_embedder(model, device=device, resize=resize)
    found = find_directions(embedder, chosen, catalog, prompts=sentences or PROMPTS)
    with scratch_folder(cache_folder() / "zero-shot") as scratch:
        place = Path(out) if out is not None else scratch / "model"
        _write(place, embedder.name, resize, found, chosen, catalog)
        predictor = load(place, device=device)
        scores = _scores(predictor, catalog)
        labeled = tuple(
            predict(predictor, catalog, top=5, out=predictions)
            if scores is None or predictions is not None
            else ()
        )
    return ZeroShotResult(chosen, found.by, scores, labeled, None if out is None else Path(out))


def _write(
    place: Path,
    model: str,
    resize: Resize | None,
    found: ClassDirectionsFound,
    classes: Sequence[ClassWords],
    catalog: Catalog,
) -> None:
    """Write the network with a head of the directions as a bundle."""
    opened = open_network(model, resize=resize)
    network = opened.model
    whole = ProductModel(
        network.backbone, found.head(), network.preprocess, tta_hflip=network.tta_hflip
    )
    info = opened.info.model_copy(
        update={
            "head": HeadSettings(kind="direction"),
            "labels": tuple(one.name for one in classes),
            "temperature": 1.0,
            "doubt": 0.0,
            "thresholds": {},
            "multilabel": False,
            "recipe": f"zero-shot, {found.by}",
            "catalog": "",
            "catalog_fingerprint": "",
        }
    )
    save_bundle(
        place,
        whole,
        info=info,
        golden_images=readable_images(catalog),
        metrics={},
        text=opened.text,
    )


def _scores(predictor: Predictor, catalog: Catalog) -> Evaluation | None:
    if not catalog.labels or catalog.multilabel:
        return None
    labeled = only_labeled(catalog).catalog
    usable, left_out, inspected = without_bad_files(labeled, split=ALL_ROWS, accept=())
    scored = score_catalog(predictor, usable, split=ALL_ROWS, run=None, inspected=inspected)
    return replace(scored, left_out=left_out)
