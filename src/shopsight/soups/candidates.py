"""Candidates: networks of given weights, and their scores on the images of the runs."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32, Int64

from shopsight.backbones.weights import load_state_dict_strict
from shopsight.bundle.format import BundleInfo, Golden
from shopsight.bundle.read import read_bundle
from shopsight.catalog.linked_rows import codes_of
from shopsight.devices import pick_device
from shopsight.evaluation.headline import headline_estimate
from shopsight.evaluation.predict_catalog import predict_catalog
from shopsight.evaluation.predictions import Predictions
from shopsight.inference.batches import batch_size_of, reads_pinned, run_batches
from shopsight.inference.pick_precision import fastest_faithful
from shopsight.inference.predictor import Predictor, readout_of
from shopsight.inference.torch_engine import TorchEngine
from shopsight.loading.cache import PixelSource, open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.metrics.estimates import Estimate, difference_of, interval_of
from shopsight.metrics.families import Families
from shopsight.metrics.intervals import Interval
from shopsight.metrics.retrieval import RankedQueries, exact_rankings, score_rankings
from shopsight.models.build import build_model
from shopsight.models.product_model import ProductModel
from shopsight.progress import task
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.soups.batchnorm import reestimate_batchnorm, sampled_batches
from shopsight.training.finish import golden_outputs
from shopsight.unit_vectors import unit_vectors

BATCH_IMAGES = 64
VAL, TEST = "val", "test"
HELD_OUT = {"held_out_map": "mean_average_precision", "held_out_recall_at_1": "recall_at_1"}
"""Measures on held-out classes, by the names of `shopsight.metrics.retrieval`."""
MOST_QUERIES = 10_000
"""Images of held-out classes that are searched for; of more, a seeded sample."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The scores of one network.

    Attributes:
        estimates: by measure: "val" and "test" are the headline metric of these images, those of
            `HELD_OUT` a search among images of classes that no training saw.
        families: by measure, which images vary together.
    """

    estimates: Mapping[str, Estimate]
    families: Mapping[str, Families]

    @property
    def val(self) -> float:
        """The score on validation images, by which is chosen."""
        return self.estimates[VAL].value

    def intervals(self) -> dict[str, Interval]:
        """Each score with its 95 % interval."""
        return {
            name: interval_of(estimate, self.families[name])
            for name, estimate in self.estimates.items()
        }

    def gains_over(self, other: Measured) -> dict[str, Interval]:
        """By how much each score is higher than another network's, paired over the images."""
        return {
            name: difference_of(estimate, other.estimates[name], self.families[name])
            for name, estimate in self.estimates.items()
            if name in other.estimates
        }


class Candidates:
    """Builds and scores networks of one run's architecture.

    Args:
        run: the run whose images score.
        device: its name, see `shopsight.devices`.

    Attributes:
        info: of the run's bundle.
        audited: the run's images.
    """

    def __init__(self, run: RunFolder, *, device: str) -> None:
        bundle = read_bundle(run.model)
        self.info: BundleInfo = bundle.info
        self.audited: AuditedCatalog = run.audited_catalog()
        self.recipe = run.recipe()
        self._device = device
        self._template = build_model(bundle)
        self._held_out = run.held_out()

    # -- networks ----------------------------------------------------------------------------

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the network's tensors."""
        return {name: tuple(one.shape) for name, one in self._template.state_dict().items()}

    def network(
        self, weights: Mapping[str, torch.Tensor], *, measured: Collection[str] = ()
    ) -> ProductModel:
        """The network of some weights.

        Args:
            weights: by the names of `shapes`.
            measured: names of BatchNorm layers whose statistics are measured on training images.
        """
        model = copy.deepcopy(self._template)
        load_state_dict_strict(model, weights, where="average")
        if measured:
            model.to(pick_device(self._device))
            rows = sampled_batches(self.rows("train"), seed=self.recipe.seed)
            images = (torch.from_numpy(self.source.gather(some)) for some in rows)
            reestimate_batchnorm(model, measured, images)
        return model.to("cpu").eval()

    def golden(self, model: ProductModel) -> Golden:
        """Its golden outputs."""
        return golden_outputs(model, self.audited.catalog)

    def engine(self, model: ProductModel, golden: Golden) -> TorchEngine:
        """The engine that `shopsight.load` chooses for the network: it scores what predicts."""
        exact = TorchEngine(copy.deepcopy(model), device=self._device, precision="32")
        return fastest_faithful(exact, golden, self.info.preprocess, readout_of(self.info))

    # -- images ------------------------------------------------------------------------------

    def rows(self, split: str) -> Int64[np.ndarray, "m"]:
        """Rows of one part of the run's images."""
        return self.audited.catalog.rows_of(split)

    @cached_property
    def source(self) -> PixelSource:
        """Pixels of the run's images."""
        return self._opened(self.audited)

    def _opened(self, audited: AuditedCatalog) -> PixelSource:
        return open_cache(
            audited.catalog,
            self.info.preprocess,
            settings=self.recipe.cache,
            sha256s=audited.sha256.to_list(),
        )

    @property
    def num_held_out(self) -> int:
        """Images of classes that no training saw."""
        return len(self._held_out) if self._held_out else 0

    @property
    def num_held_out_classes(self) -> int:
        """Classes that no training saw."""
        return len(self._held_out.catalog.labels) if self._held_out else 0

    def parts(self) -> list[str]:
        """The parts that score, as far as the run has such images: "val", "test"."""
        return [part for part in (VAL, TEST) if len(self.rows(part))]

    # -- scores ------------------------------------------------------------------------------

    def measure(
        self, model: ProductModel, *, parts: Sequence[str] | None = None, held_out: bool = True
    ) -> Measured:
        """Score a network.

        Args:
            model: the network.
            parts: of the split; None: all that there are.
            held_out: search for images of held-out classes too, where there are.
        """
        predictor = Predictor(self.engine(model, self.golden(model)), self.info)
        estimates, families = dict[str, Estimate](), dict[str, Families]()
        for part in self.parts() if parts is None else parts:
            predictions = self._predictions(predictor, part)
            estimates[part], families[part] = headline_estimate(predictions), predictions.families()
        if held_out and self._held_out is not None:
            ranked = self._searched(predictor, self._held_out)
            for name, metric in HELD_OUT.items():
                if len(ranked.queries):
                    estimates[name] = ranked.estimate(metric)
                    families[name] = self._held_out.families().take(ranked.queries)
        return Measured(estimates, families)

    def _predictions(self, predictor: Predictor, part: str) -> Predictions:
        found = predict_catalog(predictor, self.audited.catalog, split=part, source=self.source)
        rows = found.table["row"].to_numpy()
        return found.with_duplicate_groups(self.audited.duplicate_group[rows])

    def _searched(self, predictor: Predictor, held: AuditedCatalog) -> RankedQueries:
        """Search for each image among the others; right is the same class.

        Copies of the image itself are neither right nor wrong.
        """
        every = np.arange(len(held))
        vectors = unit_vectors(self.embeddings(predictor, self._held_out_source, every))
        contents, groups = codes_of(held.sha256), codes_of(held.catalog.table["label"])
        asked = np.sort(np.random.default_rng(self.recipe.seed).permutation(every)[:MOST_QUERIES])
        found = exact_rankings(
            vectors[asked],
            vectors,
            query_groups=groups[asked],
            gallery_groups=groups,
            junk=lambda query: np.flatnonzero(contents == contents[asked[query]]),
        )
        ranked = score_rankings(found, len(asked))
        return RankedQueries(asked[ranked.queries], ranked.values, ranked.num_without)

    @cached_property
    def _held_out_source(self) -> PixelSource:
        assert self._held_out is not None
        return self._opened(self._held_out)

    def embeddings(
        self, predictor: Predictor, source: PixelSource, rows: Int64[np.ndarray, "m"]
    ) -> Float32[np.ndarray, "m w"]:
        """Embeddings of some images."""
        found = np.empty((len(rows), self.info.embedding_dim), np.float32)
        done = 0
        with task("Embedding", total=len(rows)) as advance:
            for embeddings, _ in self._outputs(predictor, source, rows):
                found[done : done + len(embeddings)] = embeddings
                done += len(embeddings)
                advance(len(embeddings))
        return found

    def val_logits(self, predictor: Predictor) -> Iterator[Float32[np.ndarray, "b c"]]:
        """Logits of the validation images, in batches."""
        for _, logits in self._outputs(predictor, self.source, self.rows(VAL)):
            yield logits

    def _outputs(
        self, predictor: Predictor, source: PixelSource, rows: Int64[np.ndarray, "m"]
    ) -> Iterator[tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]]:
        batches = OrderedBatches(
            source,
            rows,
            batch_size=batch_size_of(predictor.engine, None, default=BATCH_IMAGES),
            pin_memory=reads_pinned(predictor.engine),
        )
        return run_batches(predictor.engine, (batch.images.numpy() for batch in batches))
