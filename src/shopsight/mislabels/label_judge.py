"""Who judges the labels of a run: nobody who learned from the label.

Where a backbone was taken as it is, that are heads on its embeddings, each fitted without a fold
of families (`shopsight.training.fold_heads`); they can be fitted again, to other labels. Where
each fold trained a network, it is the network that the image was kept out of. Where a text encoder
named the classes, nothing has learned from the labels.

A backbone that was itself trained on the labels does not forget them. Heads on its embeddings judge
the images of validation and test as well, which it did not see; of the others they are too sure
that the label is right: "seen".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from shopsight.activations import softmax
from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError, ConfigError
from shopsight.inference.agreement import Readout
from shopsight.metrics.families import Families
from shopsight.metrics.nearest import nearest_of_other_families
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fold_heads import HeadFit, fit_fold_heads
from shopsight.training.run_network import RunNetwork
from shopsight.training.standard_rows import Features
from shopsight.unit_vectors import unit_vectors

NEIGHBORS = 15
MOST_NEIGHBORS_AMONG = 100_000
"""Images that neighbors are looked for among, at most: of a million the search would take hours."""
SEEN, NOT_SEEN, OUT_OF_FOLD = "seen", "not seen", "out of fold"


@runtime_checkable
class Answers(Protocol):
    """Probabilities of n images by whoever did not learn from the image."""

    def __call__(
        self, targets: Int64[np.ndarray, "n"], learned: Bool[np.ndarray, "n"] | None = None
    ) -> Float64[np.ndarray, "n c"]:
        """The probabilities.

        Args:
            targets: the labels to learn from, where anything learns.
            learned: from which images; None: from all.
        """
        ...


@dataclass(frozen=True, eq=False)
class LabelJudge:
    """What is known of n labels without them.

    Attributes:
        catalog: the images.
        labels: the classes, c of them.
        given: the label of each image.
        families: of the images.
        judges: by whom each is judged: `OUT_OF_FOLD`, `NOT_SEEN` or `SEEN`.
        neighbors: the nearest images of other families, see `shopsight.metrics.nearest`.
        answers: probabilities of each image where labels are these.
        learns: whether the answers depend on the labels: heads that are fitted again.
    """

    catalog: Catalog
    labels: tuple[str, ...]
    given: Int64[np.ndarray, "n"]
    families: Families
    judges: tuple[str, ...]
    neighbors: Int64[np.ndarray, "n k"]
    answers: Answers
    learns: bool

    def __len__(self) -> int:
        return len(self.given)

    @property
    def is_optimistic(self) -> bool:
        """Whether some images are judged by a backbone that was trained on their labels."""
        return SEEN in self.judges


def open_label_judge(run: RunFolder, *, device: str = "auto") -> LabelJudge:
    """Find who judges the labels of a finished run.

    Args:
        run: the run.
        device: see `shopsight.devices`.

    Raises:
        ConfigError: its images have several labels each, or two classes are not there.
        CatalogError: its images have no labels.
    """
    audited = run.audited_catalog()
    _check_labels(run, audited.catalog)
    if run.is_folds_run() and run.recipe().training.finetunes:
        return _by_fold_networks(run, audited, device)
    first = run.folds()[0] if run.is_folds_run() else run
    network = RunNetwork.of(first, device)
    return _by_one_network(run, audited, network)


def _check_labels(run: RunFolder, catalog: Catalog) -> None:
    if not catalog.has("label"):
        raise CatalogError(
            "its images have no labels: none can be wrong",
            where=str(run.path),
            fix="shopsight train DATA --label COLUMN --out RUN",
        )
    if catalog.multilabel:
        raise ConfigError(
            "its images have several labels each, such as tags: one label for each image is judged",
            where=str(run.path),
            fix="shopsight train DATA --label-column category --out RUN",
        )


def _by_one_network(run: RunFolder, audited: AuditedCatalog, network: RunNetwork) -> LabelJudge:
    labels, training = network.predictor.labels, run.recipe().training
    given, families = _targets(audited, labels), audited.families()
    features = network.features()
    everyone = np.arange(len(given))
    judges = (OUT_OF_FOLD,) * len(given)
    if training.mode == "zero-shot":
        fixed = _probabilities(network, everyone)
        answers, judges = _fixed(fixed), (NOT_SEEN,) * len(given)
    else:
        if training.finetunes:
            part = audited.catalog.table["split"].to_list()
            judges = tuple(SEEN if one == "train" else NOT_SEEN for one in part)
        answers = _refitted(network, features, families)
    return LabelJudge(
        catalog=audited.catalog,
        labels=labels,
        given=given,
        families=families,
        judges=judges,
        neighbors=_neighbors(features, everyone, families),
        answers=answers,
        learns=training.mode != "zero-shot",
    )


def _by_fold_networks(run: RunFolder, audited: AuditedCatalog, device: str) -> LabelJudge:
    """Each image by the network that it was kept out of, with neighbors of the same fold.

    Embeddings of two networks do not compare, and an image that a network has learned is no
    neighbor that says anything.
    """
    fold_of, families = run.catalog().table["fold"].to_numpy(), audited.families()
    labels: tuple[str, ...] = ()
    neighbors = np.full((len(audited), NEIGHBORS), -1, np.int64)
    parts: list[tuple[Int64[np.ndarray, "m"], Float64[np.ndarray, "m c"]]] = []
    for number, fold in enumerate(run.folds()):
        rows = np.flatnonzero(fold_of == number)
        network = RunNetwork.of(fold, device)
        labels = labels or network.predictor.labels
        assert labels == network.predictor.labels, "one run, one order of labels"
        parts.append((rows, _probabilities(network, rows)))
        neighbors[rows] = _neighbors(network.features(rows), rows, families)
    fixed = np.zeros((len(audited), len(labels)))
    for rows, found in parts:
        fixed[rows] = found
    return LabelJudge(
        catalog=audited.catalog,
        labels=labels,
        given=_targets(audited, labels),
        families=families,
        judges=(OUT_OF_FOLD,) * len(audited),
        neighbors=neighbors,
        answers=_fixed(fixed),
        learns=False,
    )


def _targets(audited: AuditedCatalog, labels: tuple[str, ...]) -> Int64[np.ndarray, "n"]:
    targets = audited.catalog.targets(labels)
    assert isinstance(targets, np.ndarray)  # Several labels were refused.
    return targets


def _probabilities(network: RunNetwork, rows: Int64[np.ndarray, "m"]) -> Float64[np.ndarray, "m c"]:
    info = network.predictor.info
    return Readout(info.temperature, info.doubt).probabilities(network.logits(rows))


def _fixed(probabilities: Float64[np.ndarray, "n c"]) -> Answers:
    """The same, whatever the labels are."""

    def answers(
        targets: Int64[np.ndarray, "n"], learned: Bool[np.ndarray, "n"] | None = None
    ) -> Float64[np.ndarray, "n c"]:
        del targets, learned
        return probabilities

    return answers


def _refitted(network: RunNetwork, features: Features, families: Families) -> Answers:
    """Heads that are fitted to labels; for an order of images they need no temperature."""
    how = HeadFit.of(network.run, network.predictor.labels)

    def answers(
        targets: Int64[np.ndarray, "n"], learned: Bool[np.ndarray, "n"] | None = None
    ) -> Float64[np.ndarray, "n c"]:
        heads = fit_fold_heads(
            features, targets, families, how=how, device=network.device, learned=learned
        )
        return softmax(heads.logits)

    return answers


def _neighbors(
    features: Features, rows: Int64[np.ndarray, "m"], families: Families
) -> Int64[np.ndarray, "m k"]:
    """The neighbors of these images among themselves, as rows of the catalog."""
    vectors = unit_vectors(np.asarray(features[np.arange(len(rows))], np.float32))
    family = families.of_image[rows]
    among = np.arange(len(rows))
    if len(among) > MOST_NEIGHBORS_AMONG:
        chosen = np.random.default_rng(0).choice(len(among), MOST_NEIGHBORS_AMONG, replace=False)
        among = np.sort(chosen)
    found = nearest_of_other_families(
        vectors,
        vectors[among],
        query_family=family,
        gallery_family=family[among],
        k=NEIGHBORS,
    )
    return np.where(found < 0, found, rows[among[found]])
