"""The states of the global random generators, as tensors of one shape in every process."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MT19937_WORDS = 624


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of torch's, NumPy's and Python's global generators, and of the CUDA device's.

    `restore_random_states` takes them back. Each generator that keeps the second of a pair of
    normal numbers has an entry for it, NaN when there is none.
    """
    numpy: dict[str, Any] = dict(np.random.get_state(legacy=False))
    assert numpy["bit_generator"] == "MT19937"
    words, position = numpy["state"]["key"], numpy["state"]["pos"]
    version, python_words, python_gauss = random.getstate()
    assert version == 3
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.tensor([*words.tolist(), position], dtype=torch.int64),
        "numpy_gauss": _optional(numpy["gauss"] if numpy["has_gauss"] else None),
        "python": torch.tensor(python_words, dtype=torch.int64),
        "python_gauss": _optional(python_gauss),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Set the generators to what `random_states` found.

    Raises:
        KeyError, TypeError, ValueError, RuntimeError: they are no states of these generators.
    """
    # A copy: torch reads from the start of the storage, a row of a table would crash it.
    torch.set_rng_state(states["torch"].clone())
    *words, position = states["numpy"].tolist()
    # NumPy compares neither, and reads its next words from wherever the position says.
    if len(words) != _MT19937_WORDS or not 0 <= position <= _MT19937_WORDS:
        raise ValueError(f"no state of NumPy's generator: {len(words)} words, at {position}")
    gauss = _value(states["numpy_gauss"])
    np.random.set_state(
        ("MT19937", np.array(words, np.uint32), position, int(gauss is not None), gauss or 0.0)
    )
    random.setstate((3, tuple(states["python"].tolist()), _value(states["python_gauss"])))
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].clone(), device)


def _optional(value: float | None) -> Tensor:
    return torch.tensor([float("nan") if value is None else value], dtype=torch.float64)


def _value(tensor: Tensor) -> float | None:
    value = float(tensor)
    return None if np.isnan(value) else value
