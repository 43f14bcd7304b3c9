"""How each ATen operation changes what its result depends on.

A rule gets the operation's arguments with tensors in place, a lookup from tensor to reach (None
for weights and constants) and the output's shape; it gives the output's reach. Operations without
a rule are element-wise, or else taken to mix everything (see `shopsight.profiling.trace`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from shopsight.profiling.receptive_field import (
    HEIGHT,
    MIXED,
    WIDTH,
    Atom,
    Dim,
    Reach,
    Window,
    axes,
    contracted,
    plain,
    regrouped,
    resized,
    slid,
    united,
)

Lookup = Callable[[Any], Reach | None]
Rule = Callable[[Sequence[Any], Lookup, Sequence[int]], Reach]


def _known(value: Any, reach_of: Lookup) -> Reach:
    return reach_of(value) or Reach(plain(value.shape))


def _spread(values: Any, count: int) -> list[Any]:
    spread = list(values) if isinstance(values, (list, tuple)) else [values]
    return spread * count if len(spread) == 1 else spread


def _view(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    return Reach(regrouped(reach.dims, shape), reach.window)


def _permute(args: Sequence[Any], reach_of: Lookup, _shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    return Reach(tuple(reach.dims[dim] for dim in args[1]), reach.window)


def _transpose(args: Sequence[Any], reach_of: Lookup, _shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    first, second = args[1:3] if len(args) > 2 else (0, -1)
    dims = list(reach.dims)
    dims[first], dims[second] = dims[second], dims[first]
    return Reach(tuple(dims), reach.window)


def _drop_dim(args: Sequence[Any], reach_of: Lookup, _shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    dim = (args[1] if len(args) > 1 else 0) % len(reach.dims)
    index = args[2] % args[0].shape[dim] if len(args) > 2 else 0
    window = _shifted(reach, dim, index)
    return Reach(reach.dims[:dim] + reach.dims[dim + 1 :], window)


def _expand(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    lead = len(shape) - len(reach.dims)
    kept = zip(reach.dims, shape[lead:], strict=True)
    dims = (*plain(shape[:lead]), *(resized(dim, size) for dim, size in kept))
    return Reach(dims, reach.window)


def _resize(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    """Slicing, splitting, padding, rolling, picking: positions come or go, none are combined."""
    reach = _known(args[0], reach_of)
    dims = zip(reach.dims, shape, strict=True)
    return Reach(tuple(resized(dim, size) for dim, size in dims), reach.window)


def _slice(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    dim = (args[1] if len(args) > 1 else 0) % len(reach.dims)
    begin = (args[2] or 0) if len(args) > 2 else 0
    step = args[4] if len(args) > 4 else 1
    dims = list(reach.dims)
    dims[dim] = resized(dims[dim], shape[dim], step)
    return Reach(tuple(dims), _shifted(reach, dim, begin % max(1, args[0].shape[dim])))


def _shifted(reach: Reach, dim: int, positions: float) -> Window:
    """The window of the element that lies so many positions further along `dim`."""
    content = reach.dims[dim]
    if positions and len(content) == 1 and content[0].axis in (HEIGHT, WIDTH):
        return reach.window.moved(content[0].axis, positions * content[0].stride_px)
    return reach.window


def _pad(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach = _resize(args, reach_of, shape)
    # (left, right, top, bottom, ...): from the last dimension backwards.
    for back, before in enumerate(args[1][::2], start=1):
        reach = Reach(reach.dims, _shifted(reach, len(reach.dims) - back, -before))
    return reach


def _pixel_unshuffle(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach, step = _known(args[0], reach_of), args[1]
    batch, channels, height, width = args[0].shape
    cut = (batch, channels, height // step, step, width // step, step)
    dims = regrouped(reach.dims, cut)
    turned = [dims[place] for place in (0, 1, 3, 5, 2, 4)]
    return Reach(regrouped(turned, shape), reach.window)


def _pixel_shuffle(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    return _upsample(args, reach_of, shape, taps=1)


def _cat(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    parts = [_known(part, reach_of) for part in args[0] if part.dim() == len(shape)]
    model = max(parts, key=lambda part: len(axes(part.dims)))
    dim = (args[1] if len(args) > 1 else 0) % len(shape)
    dims = list(model.dims)
    along = {part.dims[dim] for part in parts}
    if len({len(axes([content])) for content in along}) > 1:
        dims[dim] = (Atom(MIXED, shape[dim], math.nan),)
    else:
        dims[dim] = resized(dims[dim], shape[dim])
    return Reach(tuple(dims), united(part.window for part in parts))


def _stack(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    parts = [_known(part, reach_of) for part in args[0]]
    model = max(parts, key=lambda part: len(axes(part.dims)))
    dim = (args[1] if len(args) > 1 else 0) % len(shape)
    dims = (*model.dims[:dim], (Atom(None, shape[dim], 1.0),), *model.dims[dim:])
    return Reach(dims, united(part.window for part in parts))


def _convolution(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach, weight = _known(args[0], reach_of), args[1]
    count = weight.dim() - 2
    stride, padding, dilation = (_spread(args[i], count) for i in (3, 4, 5))
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    if args[6]:  # transposed: each output sees the kernel's taps that fall on input positions
        padding = [(k - 1 - p) // s for k, p, s in zip(kernel, padding, stride, strict=True)]
        kernel = [math.ceil(k / s) for k, s in zip(kernel, stride, strict=True)]
        stride = [1 / s for s in stride]
    mixed = Reach(reach.dims, contracted(reach, [1]))
    out = slid(mixed, shape, kernel=kernel, stride=stride, padding=padding)
    return Reach((out.dims[0], (Atom(None, shape[1], 1.0),), *out.dims[2:]), out.window)


def _pool(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    kernel = _spread(args[1], 2)
    stride = _spread(args[2], 2) if len(args) > 2 and args[2] else kernel
    padding = _spread(args[3], 2) if len(args) > 3 else [0, 0]
    dilation = _spread(args[4], 2) if len(args) > 4 and not isinstance(args[4], bool) else [1, 1]
    kernel = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    return slid(reach, shape, kernel=kernel, stride=stride, padding=padding)


def _adaptive_pool(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    sizes = list(args[0].shape)[-2:]
    outs = list(shape)[-2:]
    kernel = [math.ceil(i / o) + (i % o > 0) for i, o in zip(sizes, outs, strict=True)]
    stride = [i / o for i, o in zip(sizes, outs, strict=True)]
    out = slid(reach, shape, kernel=kernel, stride=stride, padding=[0, 0])
    if outs == [1, 1]:
        return Reach(out.dims, contracted(reach, [-2, -1]))
    return out


def _upsample(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int], taps: int) -> Reach:
    reach = _known(args[0], reach_of)
    stride = [i / o for i, o in zip(args[0].shape[2:], shape[2:], strict=True)]
    kernel = [taps] * len(stride)
    return slid(reach, shape, kernel=kernel, stride=stride, padding=[(taps - 1) / 2] * len(stride))


def _reduce(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int], at: int = 1) -> Reach:
    reach = _known(args[0], reach_of)
    named = args[at] if len(args) > at and args[at] not in (None, []) else None
    which = set(range(len(reach.dims)))
    if named is not None:
        which = {dim % len(reach.dims) for dim in _spread(named, 1)}
    window = contracted(reach, which)
    if len(shape) == len(reach.dims):
        dims = (plain([1])[0] if d in which else dim for d, dim in enumerate(reach.dims))
    else:
        dims = (dim for d, dim in enumerate(reach.dims) if d not in which)
    return Reach(tuple(dims), window)


def _along(args: Sequence[Any], reach_of: Lookup, shape: Sequence[int]) -> Reach:
    """Softmax and cumulative sums: mixed along a dimension that stays.

    All positions along it then see the same, so that summing over it adds nothing more.
    """
    reach = _known(args[0], reach_of)
    dim = (args[1] if len(args) > 1 and isinstance(args[1], int) else -1) % len(shape)
    dims = (*reach.dims[:dim], *plain([shape[dim]]), *reach.dims[dim + 1 :])
    return Reach(dims, contracted(reach, [dim]))


def _layer_norm(args: Sequence[Any], reach_of: Lookup, _shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    return Reach(reach.dims, contracted(reach, range(-len(args[1]), 0)))


def _group_norm(args: Sequence[Any], reach_of: Lookup, _shape: Sequence[int]) -> Reach:
    reach = _known(args[0], reach_of)
    return Reach(reach.dims, contracted(reach, range(1, len(reach.dims))))


def _matmul(first: Any, second: Any, reach_of: Lookup) -> Reach:
    left, right = _known(first, reach_of), _known(second, reach_of)
    window = united([contracted(left, [-1]), contracted(right, [-2])])
    lead = left.dims[0] if axes([left.dims[0]]) or len(left.dims) == 2 else right.dims[0]
    batch = (lead,) if len(left.dims) == 3 else ()
    return Reach((*batch, left.dims[-2], right.dims[-1]), window)


def _product(args: Sequence[Any], reach_of: Lookup, _shape: Sequence[int]) -> Reach:
    return _matmul(args[0], args[1], reach_of)


def _added_product(args: Sequence[Any], reach_of: Lookup, _shape: Sequence[int]) -> Reach:
    return _matmul(args[1], args[2], reach_of)


def elementwise(inputs: Sequence[Reach], shape: Sequence[int]) -> Reach:
    """Broadcast and united: residual sums take the larger reach."""
    dims: list[Dim] = []
    for back in range(len(shape), 0, -1):
        contents = [r.dims[-back] for r in inputs if len(r.dims) >= back]
        spatial = {content for content in contents if axes([content])}
        if len(spatial) > 1 and len({tuple(a.axis for a in c) for c in spatial}) > 1:
            dims.append((Atom(MIXED, shape[-back], math.nan),))
        else:
            content = max(spatial, key=lambda c: math.prod(a.size for a in c), default=None)
            dims.append(content if content else (Atom(None, shape[-back], 1.0),))
    return Reach(tuple(dims), united(r.window for r in inputs))


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("view", "_unsafe_view", "_reshape_alias", "reshape", "unsqueeze", "squeeze"), _view
    ),
    "permute": _permute,
    **dict.fromkeys(("transpose", "t"), _transpose),
    **dict.fromkeys(("select", "unbind"), _drop_dim),
    "expand": _expand,
    "slice": _slice,
    **dict.fromkeys(
        (
            "split",
            "split_with_sizes",
            "chunk",
            "narrow",
            "roll",
            "flip",
            "index_select",
            "gather",
            "repeat",
        ),
        _resize,
    ),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), _pad),
    "pixel_unshuffle": _pixel_unshuffle,
    "pixel_shuffle": _pixel_shuffle,
    "cat": _cat,
    "stack": _stack,
    "convolution": _convolution,
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool2d", "avg_pool2d"), _pool),
    **dict.fromkeys(
        ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool
    ),
    "upsample_nearest2d": lambda args, of, shape: _upsample(args, of, shape, 1),
    **dict.fromkeys(
        ("upsample_bilinear2d", "_upsample_bilinear2d_aa"),
        lambda args, of, shape: _upsample(args, of, shape, 2),
    ),
    **dict.fromkeys(
        ("upsample_bicubic2d", "_upsample_bicubic2d_aa"),
        lambda args, of, shape: _upsample(args, of, shape, 4),
    ),
    **dict.fromkeys(
        (
            "mean",
            "sum",
            "amax",
            "amin",
            "max",
            "min",
            "argmax",
            "argmin",
            "var",
            "std",
            "prod",
            "logsumexp",
            "var_mean",
            "std_mean",
        ),
        _reduce,
    ),
    "linalg_vector_norm": lambda args, of, shape: _reduce(args, of, shape, at=2),
    **dict.fromkeys(("_softmax", "_log_softmax", "cumsum"), _along),
    "native_layer_norm": _layer_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(("mm", "bmm"), _product),
    **dict.fromkeys(("addmm", "baddbmm"), _added_product),
}
