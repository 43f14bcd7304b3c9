from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shopsight.errors import SoupError
from shopsight.soups.weights import differing_batchnorms, interpolated, mean_of, read_finite


def some_weights(seed: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "a.weight": torch.randn(7, 5, generator=random),
        "a.bn.running_mean": torch.randn(7, generator=random),
        "a.bn.num_batches_tracked": torch.tensor(10 + seed),
    }


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.1, 0.5, 0.9, 1.0, 1.5])
def test_a_point_between_two_ends_is_the_formula(alpha: float) -> None:
    start, end = some_weights(0), some_weights(1)
    found = interpolated(start, end, alpha)["a.weight"].double().numpy()
    exact = [one["a.weight"].double().numpy() for one in (start, end)]
    np.testing.assert_allclose(found, (1 - alpha) * exact[0] + alpha * exact[1], atol=1e-6)


def test_the_ends_are_exact() -> None:
    start, end = some_weights(0), some_weights(1)
    for alpha, one in ((0.0, start), (1.0, end)):
        found = interpolated(start, end, alpha)
        assert torch.equal(found["a.weight"], one["a.weight"])


def test_counts_are_not_averaged() -> None:
    found = interpolated(some_weights(0), some_weights(1), 0.5)
    assert found["a.bn.num_batches_tracked"].item() == 11


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_mean_is_that_of_a_slow_reference(count: int) -> None:
    found = mean_of(some_weights(seed) for seed in range(count))
    every = np.stack([some_weights(seed)["a.weight"].double().numpy() for seed in range(count)])
    np.testing.assert_allclose(found["a.weight"].double().numpy(), every.mean(0), atol=1e-6)


def test_half_precision_is_averaged_in_fp32() -> None:
    """In bf16, 1 and the next number above it have no number between them."""
    ends = [{"w": torch.tensor([value], dtype=torch.bfloat16)} for value in (1.0, 1.0078125)]
    found = mean_of(ends)["w"]
    assert found.dtype == torch.float32
    assert found.item() == 1.00390625


def test_nan_is_named(tmp_path: Path) -> None:
    weights = some_weights(0)
    weights["a.weight"][2, 3] = float("nan")
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(SoupError, match=r"a\.weight: 1 of 35 numbers"):
        read_finite(tmp_path / "w.safetensors")


def test_layers_with_other_statistics_are_found() -> None:
    start, end = some_weights(0), some_weights(0)
    assert differing_batchnorms(start, end) == set()
    end["a.bn.running_mean"] = end["a.bn.running_mean"] + 1
    assert differing_batchnorms(start, end) == {"a.bn"}
