"""Which input pixels an activation can depend on, followed through one forward pass.

The receptive field of a position is the smallest window of the input that holds every pixel it can
depend on. For a chain of convolutions and poolings with kernel k_l, stride s_l and dilation d_l,

    r_l = r_{l-1} + d_l (k_l - 1) j_{l-1}    side of the window; a dilated kernel spans d(k-1) + 1
    j_l = j_{l-1} s_l                        input pixels between neighboring positions

with r_0 = j_0 = 1 (Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural
Networks", Distill). Padding p moves the window's start by -p j_{l-1} and is not subtracted from its
side. Where branches join, the window is the smallest that holds the windows of all branches.

The recursion runs on the edges of the windows: each activation is accompanied by the first and the
last input row and column that it depends on. Functions that move values (reshape, slice ...) are
applied to the edges too, so that no layout has to be known in advance.

The receptive field is "global" once all positions along an axis are combined: by global pooling, a
fully connected layer, attention, or a kernel on a map of one position. Squeeze-and-excitation (a
gate computed from the map's mean) and GroupNorm make it global too; published figures often leave
the squeeze out. As an upper bound, attention confined to windows or to channels counts as global,
and so do functions without a rule here, which are reported by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

ReceptiveField = int | Literal["global"]

_KINDS = {
    name: kind
    for kind, names in {
        "elementwise": "add addcmul batch_norm clamp clone contiguous detach div dropout dropout2d"
        " elu exp float gelu hardsigmoid hardswish hardtanh leaky_relu maximum minimum mish mul neg"
        " pow prelu rdiv relu relu6 rpow rsqrt rsub sigmoid silu sqrt square sub tanh to type_as",
        "move": "T chunk expand expand_as flatten flip getitem index_select mT movedim narrow"
        " permute pixel_shuffle pixel_unshuffle repeat reshape reshape_as roll select split"
        " split_with_sizes squeeze swapaxes tile transpose unbind unflatten unsqueeze view",
        "product": "bmm einsum matmul multi_head_attention_forward scaled_dot_product_attention",
        "reduce": "amax amin mean norm normalize softmax std sum var",
    }.items()
    for name in names.split()
}
# How many arguments count, where others only lend their type or shape.
_INPUTS = {"to": 1, "type_as": 1, "expand_as": 1, "reshape_as": 1, "zeros_like": 0, "ones_like": 0}


@dataclass(frozen=True, eq=False)
class Reach:
    """The windows of input pixels that the elements of one tensor depend on.

    Attributes:
        edges: (*shape of the tensor, 4), first row, first column, minus last row, minus last column
            of each window, so that a union is a minimum; infinite where there is no window.
        is_global: all positions of an axis were combined; the edges only tell positions apart.
    """

    edges: Tensor
    is_global: bool = False

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """Side of the largest window, pixels; None if the tensor depends on no pixel."""
        first, last = _distinct(self.edges).chunk(2, -1)
        side = 1 - float((first + last).min())
        return "global" if self.is_global else None if math.isinf(side) else round(side)

    @property
    def stride_px(self) -> float | None:
        """Input pixels between neighboring rows; None where positions are not distinguished."""
        rows = _centers(self.edges)[..., 0]
        steps = (rows.diff(dim=dim).abs() for dim in range(rows.dim()))
        # Rows that a space-to-depth moved into the channels lie closer together.
        return max((min(s[s > 0].tolist(), default=0.0) for s in steps), default=0.0) or None


class ReceptiveFields(TorchFunctionMode):
    """While active, around `model(image)`, follows what torch's functions return.

    Args:
        image: float (1, 3, s, s) or uint8 (1, s, s, 3).

    Attributes:
        reaches: of each tensor; None for constants.
        unknown: names of the functions without a rule, whose results are taken to be global.
    """

    def __init__(self, model: nn.Module, image: Tensor) -> None:
        super().__init__()
        self.unknown: set[str] = set()
        self.reaches: MutableMapping[Tensor, Reach | None] = WeakTensorKeyDictionary()
        self.reaches.update((tensor, None) for tensor in (*model.parameters(), *model.buffers()))
        line = torch.arange(image.shape[2], dtype=torch.float32, device=image.device)
        pixels = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
        pixels = pixels[:, :, None] if image.shape[-1] == 3 else pixels
        self.reaches[image] = Reach(torch.cat((pixels, -pixels), -1).expand(*image.shape, 4))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs := kwargs or {}))
        # Properties such as Tensor.T arrive as the __get__ of their descriptor.
        name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__.strip("_")
        outputs = _tensors([args[0]] if name == "setitem" else [out])
        inputs = _tensors([*args, *kwargs.values()][: _INPUTS.get(name)])
        for tensor in inputs:
            if tensor not in self.reaches:  # it was made by code that bypasses torch's functions
                self.reaches[tensor] = _constant(tensor, is_global=True)
                self.unknown.add(name)
        known = [reach for reach in map(self.reaches.get, inputs) if reach is not None]
        found: Sequence[Reach | None] = [None] * len(outputs)
        if outputs and known:
            found = self._follow(name, func, args, kwargs, known, outputs) if args else [None]
            if None in found:
                if not any(reach.is_global for reach in known):
                    self.unknown.add(name)
                found = [_constant(output, is_global=True) for output in outputs]
        self.reaches.update(zip(outputs, found, strict=True))
        return out

    def _follow(
        self, name: str, func: Any, args: Any, kwargs: Any, known: list[Reach], outputs: Any
    ) -> Sequence[Reach | None]:
        """One reach per output; None without a rule."""
        kind = _KINDS.get(name)

        def argument(index: int, keyword: str, default: Any = None) -> Any:
            return kwargs.get(keyword, args[index] if len(args) > index else default)

        if kind == "elementwise":
            edges = reduce(torch.minimum, [_distinct(reach.edges) for reach in known])
            is_global = any(reach.is_global for reach in known)
            return [Reach(edges.expand(*output.shape, 4), is_global) for output in outputs]
        if kind == "product" and len(known) > 1:
            return [_constant(output, is_global=True) for output in outputs]
        if name in ("cat", "stack"):
            parts = [self.reaches[part] or _constant(part) for part in args[0]]
            return _move(lambda edges: func(edges, *args[1:], **kwargs), parts)
        if len(known) > 1 or not isinstance(args[0], Tensor) or not self.reaches[args[0]]:
            return [None]
        if kind == "move":
            # Edges are expanded tensors, of which there may be no view.
            move = Tensor.reshape if name == "view" else func
            return _move(lambda edges: move(edges[0], *args[1:], **kwargs), known)
        return [_rule(name, argument, known[0], tuple(output.shape)) for output in outputs]


def _rule(name: str, argument: Any, reach: Reach, shape: tuple[int, ...]) -> Reach | None:
    """The reach of a function that combines values of one tensor; None without a rule."""
    if name == "conv2d":
        kernel, stride = argument(1, "weight").shape[2:], argument(3, "stride", 1)
        padding, dilation = argument(4, "padding", 0), argument(5, "dilation", 1)
        if isinstance(padding, str):  # "same" or "valid"
            padding = (padding == "same") * (torch.tensor(kernel) - 1) * torch.tensor(dilation) // 2
        return _slide(reach, shape, kernel, stride, padding, dilation)
    if name in ("avg_pool2d", "max_pool2d"):
        kernel, padding = argument(1, "kernel_size"), argument(3, "padding", 0)
        dilation = argument(4, "dilation", 1) if name == "max_pool2d" else 1
        return _slide(reach, shape, kernel, argument(2, "stride") or kernel, padding, dilation)
    if name == "pad" and any(argument(1, "pad")):
        pads = [*argument(1, "pad"), 0, 0]  # left, right, top, bottom, other dimensions
        is_map = len(shape) > 2 and not any(pads[4:])
        return _slide(reach, shape, 1, 1, (pads[2], pads[0]), 1) if is_map else None
    if name in ("group_norm", "instance_norm", "pad"):
        return replace(reach, is_global=reach.is_global or name != "pad")
    if name in ("linear", "matmul"):
        return _combine(reach, shape, [-1])
    if name in ("layer_norm", "rms_norm"):
        return _combine(reach, shape, range(-len(argument(1, "normalized_shape")), 0))
    if name in ("adaptive_avg_pool2d", "adaptive_max_pool2d") and shape[-2:] == (1, 1):
        return _combine(reach, shape, [-2, -1])
    dims = argument(2 if "norm" in name else 1, "dim")
    return _combine(reach, shape, dims) if _KINDS.get(name) == "reduce" else None


def _constant(tensor: Tensor, *, is_global: bool = False) -> Reach:
    """No pixel, or else the whole image: positions are not distinguished."""
    return Reach(torch.tensor(math.inf, device=tensor.device).expand(*tensor.shape, 4), is_global)


def _move(call: Callable[[list[Tensor]], Any], sources: Sequence[Reach]) -> list[Reach]:
    """One reach per output of `call`, which picks and orders elements of the sources."""
    edges = zip(*(source.edges.unbind(-1) for source in sources), strict=True)
    moved = zip(*(_tensors([call(list(each))]) for each in edges), strict=True)
    return [Reach(torch.stack(each, -1), any(s.is_global for s in sources)) for each in moved]


def _combine(reach: Reach, shape: tuple[int, ...], dims: Any) -> Reach:
    """Each element depends on all elements along `dims`, or along all dimensions when None."""
    rank = reach.edges.dim() - 1
    dims = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    gone = [dim % rank for dim in dims]
    edges = _distinct(reach.edges).amin(gone, keepdim=len(shape) == rank)
    before = _centers(reach.edges).nan_to_num()
    left = _centers(edges).nan_to_num().reshape(-1, 2)
    combined = (before.amax(gone) - before.amin(gone)).reshape(-1, 2).amax(0)
    # Positions, rather than channels, were combined if fewer are left along the axis.
    if bool((combined > left.amax(0) - left.amin(0)).any()):
        return Reach(edges.new_tensor(math.inf).expand(*shape, 4), is_global=True)
    return Reach(edges.expand(*shape, 4), reach.is_global)


def _slide(reach: Reach, shape: tuple[int, ...], *window: Any) -> Reach | None:
    """A window slides over the last two dimensions; None unless these are rows and columns.

    Position i combines the inputs i s - p + d t for t = 0 ... k-1. The edge of input x is e + c x
    inside the map and, extrapolated, in its padding, where c is plus or minus the spacing. Its
    minimum over the window is therefore e + c (i s - p) + min(0, c d (k-1)).
    """
    plane = _combine(reach, reach.edges.shape[-3:-1], range(len(shape) - 2)).edges
    regular, edges, is_global = plane[0, 0], plane[0, 0], reach.is_global
    for axis, sizes in enumerate(zip(plane.shape[:2], shape[-2:], strict=True)):
        k, s, p, d = (int(torch.as_tensor(value).expand(2)[axis]) for value in window)
        x, i = (torch.arange(n, device=edges.device).view(-1, *[1] * (2 - axis)) for n in sizes)
        c = plane.select(axis, min(1, len(x) - 1))[0] - plane[0, 0]
        regular = regular + c * x
        edges = edges + c * (i * s - p) + (c * d * (k - 1)).clamp(max=0)
        is_global |= k > 1 and (len(x) == 1 or (p == 0 and d * (k - 1) + 1 >= len(x)))
    return Reach(edges.expand(*shape, 4), is_global) if regular.equal(plane) else None


def _distinct(edges: Tensor) -> Tensor:
    """The edges without the repetitions of an expanded tensor, which have stride 0."""
    return edges[tuple(slice(None if stride else 1) for stride in edges.stride()[:-1])]


def _centers(edges: Tensor) -> Tensor:
    """Row and column of the windows' centers; NaN where there is no window."""
    first, last = _distinct(edges).chunk(2, -1)
    return (first - last) / 2


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors in `values`, and in the lists and tuples among them."""
    nested = (value if isinstance(value, list | tuple) else [value] for value in values)
    return [value for each in nested for value in each if isinstance(value, Tensor)]
