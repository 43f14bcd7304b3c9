"""Load weights into a network strictly; `shopsight.io.weights` reads them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from shopsight.errors import WeightsError

StateDict = dict[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


def load_state_dict_strict(
    module: nn.Module, state: Mapping[str, Tensor], *, where: str, exclude: Collection[str] = ()
) -> None:
    """Load `state` into `module`: every name and shape must agree.

    Args:
        module: The network; changed in place.
        state: Tensors by name.
        where: The file, for the error.
        exclude: Leading names in `state` that the network does not have (the old classifier).

    Raises:
        WeightsError: Names are missing or unknown, or shapes differ; nothing was loaded.
    """
    state = {
        key: value
        for key, value in state.items()
        if not any(key == name or key.startswith(f"{name}.") for name in exclude)
    }
    check_shapes(shapes_of(state), shapes_of(module.state_dict()), where=where)
    module.load_state_dict(state)


def shapes_of(state: Mapping[str, Tensor]) -> Shapes:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def check_shapes(found: Shapes, wanted: Shapes, *, where: str) -> None:
    """Compare the names and shapes of a file with those of a network.

    Args:
        found: Of the file.
        wanted: Of the network.
        where: The file, for the error.

    Raises:
        WeightsError: Names are missing or unknown, or shapes differ.
    """
    problems = {
        name: f"{found[name]} in the file, {shape} in the network"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    }
    num_reshaped = len(problems)
    absent = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    problems |= dict.fromkeys(absent, "not in the file")
    problems |= dict.fromkeys(unknown, "not in the network")
    if not problems:
        return
    # A reader knows a network by its convolutions and matrices, not by BatchNorm's counters.
    shown = sorted(problems, key=lambda name: -len({**found, **wanted}[name]))
    raise WeightsError(
        f"tensors that do not fit the network: {num_reshaped} of another shape, "
        f"{len(absent)} not in the file, {len(unknown)} not in the network",
        where=where,
        details=[f"{name}: {problems[name]}" for name in shown],
        fix="name the backbone that the weights were made for",
    )


@contextmanager
def only_shapes() -> Iterator[None]:
    """Build networks of tensors that have a shape and no numbers, inside the block.

    What a network is built of is known then, at no cost in memory.
    """
    with torch.device("meta"), _RatesInMemory():
        yield


class _RatesInMemory(TorchFunctionMode):
    """Some networks read the rates of their layers out of a `linspace`, which needs its numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)


def timm_filter(module: nn.Module) -> Callable[[StateDict, nn.Module], StateDict] | None:
    """The function by which timm renames the original authors' tensors, if this network has one."""
    home = sys.modules[type(module).__module__]
    found: Callable[[StateDict, nn.Module], StateDict] | None = getattr(
        home, "checkpoint_filter_fn", None
    )
    return found
