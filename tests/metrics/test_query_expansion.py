from __future__ import annotations

import numpy as np
import pytest

from shopsight.errors import MetricError
from shopsight.metrics.query_expansion import expanded_queries
from shopsight.unit_vectors import unit_vectors


def test_near_items_count_by_the_power_of_their_cosine() -> None:
    queries = np.array([[1.0, 0.0, 0.0]], np.float32)
    neighbors = unit_vectors(np.array([[0.8, 0.6, 0.0], [0.5, 0.0, 0.75**0.5]]))[None]
    scores = np.array([[0.8, 0.5]])
    (found,) = expanded_queries(queries, neighbors, scores, alpha=3)
    expected = queries[0] + 0.8**3 * neighbors[0, 0] + 0.5**3 * neighbors[0, 1]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_items_on_the_other_side_count_nothing() -> None:
    queries = np.array([[1.0, 0.0]], np.float32)
    found = expanded_queries(queries, -queries[:, None], np.array([[-1.0]]), alpha=2)
    np.testing.assert_allclose(found, queries)
    with pytest.raises(MetricError, match="alpha"):
        expanded_queries(queries, queries[:, None], np.array([[1.0]]), alpha=-1)
