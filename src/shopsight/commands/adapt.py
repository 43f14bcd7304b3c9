"""Adapt: a layer or a head on kept embeddings, judged before it is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shopsight.bundle.format import INFO_FILE
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.used_boxes import with_used_boxes
from shopsight.datasets.open import open_catalog
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.errors import ConfigError
from shopsight.evaluation.left_out import without_bad_files
from shopsight.evaluation.predictions import ALL_ROWS
from shopsight.head_settings import HeadSettings
from shopsight.inference.open_network import NO_LABELS, OpenedNetwork, open_network
from shopsight.inference.save import readable_images, save_bundle
from shopsight.models.product_model import ProductModel
from shopsight.output_paths import check_output_path
from shopsight.preprocess import Resize
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.training.adapt_parts import check_relevance, divide
from shopsight.training.adapt_search import Change, check_memory
from shopsight.training.adapted import Adapted, adapted_for_classes, adapted_for_search
from shopsight.training.affine_neck import can_take_layer, with_layer
from shopsight.training.kept_embeddings import kept_embeddings

Purpose = Literal["search", "classes"]


@dataclass(frozen=True)
class AdaptResult:
    """What a layer or a head on kept embeddings changes.

    Attributes:
        purpose: "search" or "classes".
        relevant_by: images of one product, or of one label, belong together.
        changes: by held-out part, "images" and "classes", and by metric.
        chosen: what was fitted, for reports.
        helps: whether held-out images gain clearly, and held-out classes do not lose more.
        why: one line.
        model: the bundle; None where none was written.
        seconds: wall time, embedding included.
    """

    purpose: Purpose
    relevant_by: str
    changes: dict[str, dict[str, Change]]
    chosen: str
    helps: bool
    why: str
    model: Path | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "for": self.purpose,
            "relevant_by": self.relevant_by,
            "changes": _as_json(self.changes),
            "chosen": self.chosen,
            "helps": self.helps,
            "why": self.why,
            "model": None if self.model is None else str(self.model),
            "seconds": round(self.seconds, 1),
        }


def adapt(
    model: str | Path,
    data: str | Path | Catalog,
    *,
    out: str | Path,
    purpose: Purpose = "search",
    read: ReadOptions | None = None,
    resize: Resize | None = None,
    hidden_dim: int | None = None,
    keep_anyway: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> AdaptResult:
    """Fit a layer for search, or a head for classes, on kept embeddings; judge it; write a bundle.

    Each distinct image is embedded once, and its embedding kept in the cache: minutes on a CPU.
    What is fitted is compared with the model as it is on held-out images, and for a search on
    held-out products or labels too. Where it does not help, nothing is written.

    Args:
        model: a run, a bundle, a preset, or a backbone by name.
        data: a folder, a table, the name of a data set, or a catalog, with products or labels.
        out: the bundle's folder.
        purpose: "search" brings photos of one product, or of one label, nearer to each other: the
            embedding is another one. "classes" leaves it as it is and fits a head.
        read: how DATA is read.
        resize: of a backbone, how an image becomes a square.
        hidden_dim: of "classes", two hidden layers of this width before the classifier.
        keep_anyway: write the bundle also where it does not help.
        seed: of what is held out and of the order of the images.
        device: where images are embedded, see `shopsight.devices`.

    Raises:
        ConfigError: the model is an ensemble, or has layers behind its backbone that no layer can
            be joined with; or options do not go together.
        TrainingError: nothing says which images belong together, or they do not fit in memory.
        CatalogError: DATA cannot be read.
        BundleError: MODEL cannot be opened.
    """
    began = time.monotonic()
    out = Path(out)
    check_output_path(out / INFO_FILE)
    refuse_output_over_data(data, out)
    opened = _opened(model, purpose=purpose, resize=resize, hidden_dim=hidden_dim)
    catalog = with_used_boxes(open_catalog(data, read), used=opened.info.preprocess.boxes)
    check_relevance(catalog, labels_only=purpose == "classes")
    check_memory(len(catalog), opened.info.embedding_dim)
    usable, _, inspected = without_bad_files(catalog, split=ALL_ROWS)
    sha256 = inspected.files["sha256"]
    parts = divide(usable, sha256, seed=seed, labels_only=purpose == "classes")
    embeddings = kept_embeddings(
        opened.model, usable, sha256.to_list(), backbone=opened.info.backbone, device=device
    )
    opened.model.to("cpu")
    if purpose == "search":
        found = adapted_for_search(embeddings, parts, seed=seed)
    else:
        settings = _head_settings(hidden_dim)
        own = (opened.model.head, opened.info.labels) if opened.is_trained else None
        found = adapted_for_classes(embeddings, parts, settings, own=own, seed=seed)
    helps, why = verdict(found.changes)
    written = None
    if helps or keep_anyway:
        _write(out, opened, found, usable)
        written = out
    return AdaptResult(
        purpose,
        parts.relevant_by,
        found.changes,
        found.chosen,
        helps,
        why,
        written,
        time.monotonic() - began,
    )


def _opened(
    model: str | Path, *, purpose: Purpose, resize: Resize | None, hidden_dim: int | None
) -> OpenedNetwork:
    """The network, which can take what is to be fitted."""
    if hidden_dim is not None and purpose == "search":
        raise ConfigError(
            "hidden layers are for classes: the layer for a search is one",
            where="--hidden-dim",
            fix="--for classes, or leave out --hidden-dim",
        )
    opened = open_network(model, resize=resize)
    check_one_network(opened, model)
    if purpose == "search":
        can_take_layer(opened.info.neck, str(model))
    return opened


def _head_settings(hidden_dim: int | None) -> HeadSettings:
    if hidden_dim is None:
        return HeadSettings()
    return HeadSettings(kind="mlp", hidden_dim=hidden_dim)


def check_one_network(opened: OpenedNetwork, model: str | Path) -> None:
    """Refuse an ensemble.

    Raises:
        ConfigError: it is one.
    """
    if opened.info.members > 1:
        raise ConfigError(
            f"an ensemble of {opened.info.members} networks: a layer goes behind one",
            where=str(model),
            fix="name the run of one fold, or train without --folds",
        )


def verdict(changes: dict[str, dict[str, Change]]) -> tuple[bool, str]:
    """Whether what was fitted helps, and one line that says why or why not."""
    images = changes.get("images")
    if images is None:
        return False, "no held-out image has another one to find: nothing could be judged"
    deciding = list(images)[-1]
    if not images[deciding].is_gain:
        return False, "it does not help: the gain on held-out images is not clearly above zero"
    classes = changes.get("classes")
    if classes is None or not classes[deciding].is_loss:
        return True, "it helps: the gain on held-out images is clearly above zero"
    if -classes[deciding].gain.value >= images[deciding].gain.value:
        return False, "it does not help: classes that it never saw lose more than images gain"
    return True, "it helps on held-out images, and costs a little on classes that it never saw"


def _write(out: Path, opened: OpenedNetwork, found: Adapted, catalog: Catalog) -> None:
    """Write the network with the layer and the head as a bundle."""
    backbone, neck = opened.model.backbone, opened.info.neck
    text = opened.text
    if found.projection is not None:
        backbone, neck = with_layer(backbone, neck, found.projection)
        if text is not None:
            notify(
                "the bundle has no text encoder: texts lie where the embeddings were before; "
                "search by words with the model as it is"
            )
        text = None
    whole = ProductModel(
        backbone, found.head, opened.model.preprocess, tta_hflip=opened.model.tta_hflip
    )
    calibration = found.calibration
    info = opened.info.model_copy(
        update={
            "head": found.head_settings,
            "neck": neck,
            "labels": found.labels or NO_LABELS,
            "multilabel": False,
            "temperature": calibration.temperature,
            "doubt": calibration.doubt,
            "thresholds": {},
            "by_product": None,
            "embeds_into": () if found.projection is not None else opened.info.embeds_into,
            "recipe": f"adapt, {found.chosen}"[:1000],
            "catalog": catalog.name,
            "catalog_fingerprint": catalog.fingerprint(),
            "synthetic": catalog.synthetic,
        }
    )
    metrics = {**calibration.metrics, "adapt": _as_json(found.changes)}
    save_bundle(
        out,
        whole.eval(),
        info=info,
        golden_images=readable_images(catalog),
        metrics=metrics,
        text=text,
    )


def _as_json(changes: dict[str, dict[str, Change]]) -> dict[str, dict[str, object]]:
    return {
        part: {metric: one.to_json() for metric, one in metrics.items()}
        for part, metrics in changes.items()
    }
