"""Which input pixels a value can depend on, followed through every tensor operation of a net.

Each tensor gets a `Reach`: per dimension the spatial content that it holds (height, width, windows
of either, or none), and the side of the input window that one element can see. The rules work on
ATen operations, so a net needs no annotations: reshapes into tokens or windows, strided slices and
residual branches are followed as they happen. Once an operation mixes all positions of an axis
(attention, global pooling, a fully connected layer over the map) the reach is infinite: "global".

Source: Araujo, Norris, Sim 2019, "Computing Receptive Fields of Convolutional Neural Networks",
for convolution and pooling; windows of attention count like the kernel of a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

HEIGHT, WIDTH, MIXED = 0, 1, 2
ReceptiveField = int | Literal["global"]
Pair = tuple[float, float]


class Atom(NamedTuple):
    """A run of positions inside a dimension: `size` of them, `stride_px` input pixels apart.

    `axis` is None for batch and channels, MIXED where the order of height and width was lost.
    """

    axis: int | None
    size: int
    stride_px: float


Dim = tuple[Atom, ...]


class Window(NamedTuple):
    """The input pixels that the first element of a tensor sees; its neighbors' are shifted.

    Both are (vertical, horizontal), pixels; `start_px` is negative inside the padding, an
    infinite `side_px` is the whole image.
    """

    start_px: Pair = (0.0, 0.0)
    side_px: Pair = (1.0, 1.0)

    def moved(self, axis: int, by_px: float) -> Window:
        start = list(self.start_px)
        start[axis] += by_px
        return Window((start[0], start[1]), self.side_px)

    def widened(self, axis: int, by_px: float) -> Window:
        side = list(self.side_px)
        side[axis] += by_px
        return Window(self.start_px, (side[0], side[1]))


PIXEL = Window()


@dataclass(frozen=True)
class Reach:
    """What the elements of one tensor depend on.

    Attributes:
        dims: spatial content per dimension, outermost atom first.
        window: of the first element.
    """

    dims: tuple[Dim, ...]
    window: Window = PIXEL

    @property
    def receptive_field(self) -> ReceptiveField:
        """Side of the window, pixels."""
        side = max(self.window.side_px)
        return "global" if math.isinf(side) else round(side)


def image_reach(shape: Sequence[int]) -> Reach:
    """The reach of an input of shape (b, 3, h, w), or (b, h, w, 3)."""
    height, width = (1, 2) if shape[-1] == 3 else (2, 3)
    places = {height: HEIGHT, width: WIDTH}
    return Reach(tuple((Atom(places.get(dim), size, 1.0),) for dim, size in enumerate(shape)))


def plain(shape: Iterable[int]) -> tuple[Dim, ...]:
    """Dimensions without spatial content."""
    return tuple((Atom(None, size, 1.0),) for size in shape)


def axes(dims: Iterable[Dim]) -> set[int]:
    """The axes that some of the dimensions hold."""
    return {atom.axis for dim in dims for atom in dim if atom.axis is not None}


def united(windows: Iterable[Window]) -> Window:
    """The smallest window that holds all of these: what a residual sum sees."""
    windows = list(windows)
    start = [min(w.start_px[axis] for w in windows) for axis in (HEIGHT, WIDTH)]
    end = [max(w.start_px[axis] + w.side_px[axis] for w in windows) for axis in (HEIGHT, WIDTH)]
    return Window((start[0], start[1]), (end[0] - start[0], end[1] - start[1]))


def regrouped(dims: Sequence[Dim], shape: Sequence[int]) -> tuple[Dim, ...]:
    """Dimensions after a view: atoms are split and joined in memory order."""
    if [math.prod(a.size for a in dim) for dim in dims] == list(shape):
        return tuple(dims)
    left = list(reversed(_joined(atom for dim in dims for atom in dim if atom.size > 1)))
    out: list[Dim] = []
    for size in shape:
        need, got = size, []
        while need > 1:
            atom = left.pop()
            if need % atom.size and atom.size % need:
                return _opaque(dims, shape)
            if atom.size > need:
                inner = atom.size // need
                left.append(Atom(atom.axis, inner, atom.stride_px))
                atom = Atom(atom.axis, need, atom.stride_px * inner)
            got.append(atom)
            need //= atom.size
        out.append(_joined(got))
    return tuple(out)


def _joined(atoms: Iterable[Atom]) -> Dim:
    out: list[Atom] = []
    for atom in atoms:
        last = out[-1] if out else None
        if (
            last is not None
            and last.axis == atom.axis != MIXED
            and (atom.axis is None or last.stride_px == atom.size * atom.stride_px)
        ):
            out[-1] = Atom(atom.axis, last.size * atom.size, atom.stride_px)
        else:
            out.append(atom)
    return tuple(out)


def _opaque(dims: Sequence[Dim], shape: Sequence[int]) -> tuple[Dim, ...]:
    if not axes(dims):
        return plain(shape)
    return tuple((Atom(MIXED, size, math.nan),) for size in shape)


def resized(dim: Dim, size: int, step: float = 1.0) -> Dim:
    """A dimension after slicing, padding or joining along it."""
    if math.prod(atom.size for atom in dim) == size:
        return dim
    spatial = [atom for atom in dim if atom.axis is not None]
    if not spatial:
        return (Atom(None, size, 1.0),)
    if len(dim) == 1 and spatial[0].axis != MIXED:
        return (Atom(spatial[0].axis, size, spatial[0].stride_px * step),)
    return (Atom(MIXED, size, math.nan),)


def contracted(reach: Reach, which: Iterable[int]) -> Window:
    """The window after elements along the dimensions `which` are combined.

    An axis of which nothing is left in the other dimensions has been seen whole.
    """
    gone_dims = {dim % len(reach.dims) for dim in which}
    gone = [atom for dim in gone_dims for atom in reach.dims[dim]]
    kept = axes(dim for index, dim in enumerate(reach.dims) if index not in gone_dims)
    window = reach.window
    for axis in (HEIGHT, WIDTH):
        atoms = [atom for atom in gone if atom.axis in (axis, MIXED)]
        if not atoms:
            continue
        if any(atom.axis == MIXED for atom in atoms) or not kept & {axis, MIXED}:
            window = window.widened(axis, math.inf)
        else:
            steps = sum((atom.size - 1) * atom.stride_px for atom in atoms)
            window = window.widened(axis, steps)
    return window


def slid(
    reach: Reach,
    shape: Sequence[int],
    *,
    kernel: Sequence[int],
    stride: Sequence[float],
    padding: Sequence[float],
) -> Reach:
    """The reach after a window slides over the last dimensions (convolution, pooling).

    `kernel` (dilation counted in), `stride` and `padding` are in positions of the incoming map.
    """
    first = len(reach.dims) - len(kernel)
    dims, window = list(reach.dims), reach.window
    for offset, side in enumerate(kernel):
        dim = dims[first + offset]
        size = shape[first + offset]
        spatial = [atom for atom in dim if atom.axis is not None]
        if not spatial:
            dims[first + offset] = (Atom(None, size, 1.0),)
            continue
        if len(dim) > 1 or spatial[0].axis == MIXED:
            dims[first + offset] = (Atom(MIXED, size, math.nan),)
            if side > 1:
                window = Window(window.start_px, (math.inf, math.inf))
            continue
        axis, length, jump = spatial[0]
        assert axis is not None
        sees_all = side >= length > 1 and not padding[offset]
        window = window.widened(axis, math.inf if sees_all else (side - 1) * jump)
        window = window.moved(axis, -padding[offset] * jump)
        dims[first + offset] = (Atom(axis, size, jump * stride[offset]),)
    return Reach(tuple(dims), window)
