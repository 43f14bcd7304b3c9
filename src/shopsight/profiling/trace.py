"""One forward pass, watched: what each layer multiplies, puts out, and can see.

Everything is counted at the ATen operations that really run, so attention written by hand, by
einsum or by a fused kernel counts alike, and so does whatever a forward method computes without a
layer of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from shopsight.profiling.reach_rules import RULES, elementwise
from shopsight.profiling.receptive_field import (
    MIXED,
    Atom,
    Reach,
    ReceptiveField,
    Window,
    image_reach,
)

# Same shape in and out, yet every position depends on every other.
_MIXERS = frozenset({"_fft_c2c", "grid_sampler_2d", "sort", "_linalg_solve_ex"})
_PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}


@dataclass(frozen=True)
class Layer:
    """What one module did by itself, its sub-modules left out.

    Attributes:
        kind: the class's name.
        shape: of its (last) output.
        parameters: its own.
        macs: multiply-adds of matrix products and convolutions.
        output_bytes: of its output.
        receptive_field: side of the input window that one output element sees, pixels; None where
            the output is no single tensor that depends on the image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    output_bytes: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class Trace:
    """Attributes:
    layers: every module that holds parameters, multiplies or is a leaf, in order of execution.
    exits: (module name, reach of its output) each time a module finished, in order.
    guessed: operations without a rule, taken to mix everything.
    """

    layers: tuple[Layer, ...]
    exits: tuple[tuple[str, Reach], ...]
    guessed: tuple[str, ...]


def trace(module: nn.Module, image: Tensor) -> Trace:
    """Run `module` once in eval mode on a batch of one and watch.

    Args:
        image: float (1, 3, s, s) or uint8 (1, s, s, 3).
    """
    watch = _Watch(image)
    was_training = module.training
    module.eval()
    try:
        # Attention is decomposed into its two matrix products: one rule for all its forms.
        # Not inference_mode: there, composite operations would arrive whole.
        with torch.no_grad(), _plain_attention(), _entered(module, watch), watch:
            module(image)
    finally:
        module.train(was_training)
    return Trace(_layers(module, watch), tuple(watch.exits), tuple(sorted(watch.guessed)))


def _layers(module: nn.Module, watch: _Watch) -> tuple[Layer, ...]:
    parts = dict(module.named_modules())
    parameters: Counter[str] = Counter()
    for name, part in parts.items():
        # Some forward methods use a sub-module's weights without calling it: they belong to the
        # module that did run.
        ran = name
        while ran not in watch.order:
            ran = ran.rpartition(".")[0]
        parameters[ran] += sum(p.numel() for p in part.parameters(recurse=False))
    layers = []
    for name in watch.order:
        has_children = next(parts[name].children(), None) is not None
        is_leaf = not has_children and not isinstance(parts[name], nn.Identity)
        if not (is_leaf or watch.macs[name] or parameters[name]):
            continue
        shape, output_bytes, field = watch.outputs.get(name, ((), 0, None))
        kind = type(parts[name]).__name__
        macs = watch.macs[name]
        layers.append(Layer(name, kind, shape, parameters[name], macs, output_bytes, field))
    return tuple(layers)


@contextmanager
def _plain_attention() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _entered(module: nn.Module, watch: _Watch) -> Iterator[None]:
    """Tell `watch` which module is running."""
    handles = []
    for name, part in module.named_modules():

        def enter(_part: nn.Module, _inputs: Any, name: str = name) -> None:
            watch.enter(name)

        def leave(_part: nn.Module, _inputs: Any, output: Any) -> None:
            watch.leave(output)

        handles.append(part.register_forward_pre_hook(enter))
        handles.append(part.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reaches: MutableMapping[Tensor, Reach] = WeakTensorKeyDictionary()
        self.reaches[image] = image_reach(image.shape)
        self.order: dict[str, None] = {}
        self.macs: Counter[str] = Counter()
        self.outputs: dict[str, tuple[tuple[int, ...], int, ReceptiveField | None]] = {}
        self.exits: list[tuple[str, Reach]] = []
        self.guessed: set[str] = set()
        self._inside: list[str] = []

    def enter(self, name: str) -> None:
        self._inside.append(name)
        self.order.setdefault(name)

    def leave(self, output: Any) -> None:
        name = self._inside.pop()
        if not isinstance(output, Tensor):
            return
        reach = self.reaches.get(output)
        output_bytes = output.numel() * output.element_size()
        field = reach.receptive_field if reach else None
        self.outputs[name] = (tuple(output.shape), output_bytes, field)
        if reach is not None:
            self.exits.append((name, reach))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if self._inside:
            self.macs[self._inside[-1]] += _macs(name, args, out)
        self._follow(name, args, out)
        return out

    def _follow(self, name: str, args: Sequence[Any], out: Any) -> None:
        inputs = [self.reaches[tensor] for tensor in _tensors(args) if tensor in self.reaches]
        if not inputs:
            return
        outputs = list(_tensors([out]))
        for output in outputs:
            # Running statistics and indices come along with the first output; they end here.
            if isinstance(out, tuple) and output.shape != outputs[0].shape:
                continue
            self.reaches[output] = self._reach(name, args, inputs, tuple(output.shape))

    def _reach(
        self, name: str, args: Sequence[Any], inputs: list[Reach], shape: tuple[int, ...]
    ) -> Reach:
        rule = RULES.get(name.removesuffix("_") if name not in RULES else name)
        if rule is not None:
            reach = rule(args, self.reaches.get, shape)
            if _sizes(reach) == shape:
                return reach
        elif name not in _MIXERS and all(_broadcasts(_sizes(i), shape) for i in inputs):
            return elementwise(inputs, shape)
        self.guessed.add(name)
        dims = tuple((Atom(MIXED, size, math.nan),) for size in shape)
        return Reach(dims, Window(side_px=(math.inf, math.inf)))


def _sizes(reach: Reach) -> tuple[int, ...]:
    return tuple(math.prod(atom.size for atom in dim) for dim in reach.dims)


def _broadcasts(sizes: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    if len(sizes) > len(shape):
        return False
    pairs = zip(reversed(sizes), reversed(shape), strict=False)
    return all(size in (1, target) for size, target in pairs)


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _macs(name: str, args: Sequence[Any], out: Any) -> int:
    """Multiply-adds of one operation: those of its matrix product, biases not counted."""
    if name == "convolution":
        weight, transposed = args[1], args[6]
        # Each element of the output (of the input, when transposed) meets this many weights.
        elements = args[0].numel() if transposed else out.numel()
        return int(elements * math.prod(weight.shape[1:]))
    if name in _PRODUCTS:
        first, second = args[_PRODUCTS[name] : _PRODUCTS[name] + 2]
        return int(first.numel() * second.shape[-1])
    return 0
