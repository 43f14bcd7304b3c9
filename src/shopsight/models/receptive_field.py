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
Extent = tuple[float, float]


class Atom(NamedTuple):
    """A run of positions inside a dimension: `size` of them, `stride_px` input pixels apart.

    `axis` is None for batch and channels, MIXED where the order of height and width was lost.
    """

    axis: int | None
    size: int
    stride_px: float


Dim = tuple[Atom, ...]


@dataclass(frozen=True)
class Reach:
    """What the elements of one tensor depend on.

    Attributes:
        dims: spatial content per dimension, outermost atom first.
        extent_px: height and width of the input window that an element sees; inf is global.
    """

    dims: tuple[Dim, ...]
    extent_px: Extent = (1.0, 1.0)

    @property
    def receptive_field(self) -> ReceptiveField:
        side = max(self.extent_px)
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


def united(extents: Iterable[Extent]) -> Extent:
    """The extent of a value that depends on all of these."""
    extents = list(extents)
    return max(e[0] for e in extents), max(e[1] for e in extents)


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


def contracted(reach: Reach, which: Iterable[int]) -> Extent:
    """The extent after elements along the dimensions `which` are combined.

    An axis of which nothing is left in the other dimensions has been seen whole.
    """
    gone_dims = {dim % len(reach.dims) for dim in which}
    gone = [atom for dim in gone_dims for atom in reach.dims[dim]]
    kept = axes(dim for index, dim in enumerate(reach.dims) if index not in gone_dims)
    extent = list(reach.extent_px)
    for axis in (HEIGHT, WIDTH):
        atoms = [atom for atom in gone if atom.axis in (axis, MIXED)]
        if not atoms:
            continue
        if any(atom.axis == MIXED for atom in atoms) or not kept & {axis, MIXED}:
            extent[axis] = math.inf
        else:
            extent[axis] += sum((atom.size - 1) * atom.stride_px for atom in atoms)
    return extent[0], extent[1]


def slid(
    reach: Reach,
    shape: Sequence[int],
    *,
    kernel: Sequence[int],
    stride: Sequence[float],
    padded: Sequence[bool],
) -> Reach:
    """The reach after a window slides over the last dimensions (convolution, pooling).

    `kernel` counts the dilation in, in positions of the incoming map.
    """
    first = len(reach.dims) - len(kernel)
    dims, extent = list(reach.dims), list(reach.extent_px)
    for offset, side in enumerate(kernel):
        dim = dims[first + offset]
        size = shape[first + offset]
        spatial = [atom for atom in dim if atom.axis is not None]
        if not spatial:
            dims[first + offset] = (Atom(None, size, 1.0),)
            continue
        if len(dim) > 1 or spatial[0].axis == MIXED:
            dims[first + offset] = (Atom(MIXED, size, math.nan),)
            extent = [math.inf, math.inf] if side > 1 else extent
            continue
        axis, length, jump = spatial[0]
        assert axis is not None
        sees_all = side >= length > 1 and not padded[offset]
        extent[axis] = math.inf if sees_all else extent[axis] + (side - 1) * jump
        dims[first + offset] = (Atom(axis, size, jump * stride[offset]),)
    return Reach(tuple(dims), (extent[0], extent[1]))
