"""What Prometheus reads: requests, the queue, and what the model says.

One process serves, so the registry is its own and no files are shared. Which labels come, how
probable the best ones are and how often an image cannot be read shows when a shop's photos change.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from shopsight.inference.predictor import Prediction
from shopsight.inference.unknown_answers import UnknownAnswer
from shopsight.serve.served_model import ServedModel

MOST_LABELS = 1000
"""Counted one by one; others are "other"."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SHARES = tuple(step / 20 for step in range(1, 21))
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class ServiceMetrics:
    """The service's own registry.

    Attributes:
        content_type: of `text`.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "shopsight_requests", "Answers.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "shopsight_request_seconds",
            "From the request's headers to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.waiting = Gauge("shopsight_waiting_images", "Images in work.", registry=registry)
        self.waiting_seconds = Gauge(
            "shopsight_waiting_seconds", "How long they will take.", registry=registry
        )
        self.refused = Counter(
            "shopsight_refused_by_queue",
            "Requests that were asked to come again.",
            registry=registry,
        )
        self.left = Counter(
            "shopsight_clients_left",
            "Clients that did not wait for their answer.",
            registry=registry,
        )
        self.batch_images = Histogram(
            "shopsight_batch_images", "Images in a batch.", buckets=BATCHES, registry=registry
        )
        self._failures = Counter(
            "shopsight_decode_failures", "Images not read.", ("reason",), registry=registry
        )
        self._labels = Counter(
            "shopsight_predicted_labels", "Labels given.", ("label",), registry=registry
        )
        self._top = Summary(
            "shopsight_top_probability", "Of the best label of an image.", registry=registry
        )
        self._unknown = Counter(
            "shopsight_unknown", 'Images that were answered "unknown".', registry=registry
        )
        self._known_share = Histogram(
            "shopsight_known_share",
            "Of the known images that the model was measured on, the fraction that it knows less "
            "well than this one: of photos like them, as many are in each bucket.",
            buckets=SHARES,
            registry=registry,
        )
        self._model = Info("shopsight_model", "The model that answers.", registry=registry)
        self._known: frozenset[str] = frozenset()
        self._known_scores: tuple[float, ...] = ()

    def serve(self, model: ServedModel) -> None:
        """From now on, this model answers."""
        info = model.predictor.info
        self._known = frozenset(info.labels[:MOST_LABELS])
        self._known_scores = () if info.unknown is None else info.unknown.known
        self._model.info(
            {
                "name": model.name,
                "hash": info.weights_sha256,
                "engine": model.predictor.engine.name,
            }
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def predicted(self, predictions: Iterable[Prediction]) -> None:
        """Count what the model said."""
        for one in predictions:
            for label in one.predicted_labels:
                self._labels.labels(label if label in self._known else "other").inc()
            if one.probabilities:
                self._top.observe(one.probabilities[0])
            if one.unknown is not None:
                self._judged(one.unknown)

    def _judged(self, unknown: UnknownAnswer) -> None:
        if unknown.is_unknown:
            self._unknown.inc()
        if self._known_scores:
            shares = np.linspace(0, 1, len(self._known_scores))
            self._known_share.observe(float(np.interp(unknown.score, self._known_scores, shares)))

    def failed(self, reason: str) -> None:
        """Count an image that could not be read."""
        self._failures.labels(reason).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
