"""Which of several folders around an image is its class, and which its group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from shopsight.folders.folder_layout import Place
from shopsight.folders.folder_tree import SMALL_FOLDER, Parts, Tree
from shopsight.folders.label_patterns import Reading, pattern_flag
from shopsight.tables.split_names import are_shards, is_filler, is_number
from shopsight.text import counted, listed

_MOSTLY = 0.75
"""Fraction of folders that must have a name of their own for the name to tell products apart."""


@dataclass(frozen=True)
class Classes:
    """The class of each folder, and what to say about it.

    Attributes:
        readings: label, split and group of the images directly in each folder, by its path.
        notes: what was decided, a line each.
    """

    readings: dict[str, Reading]
    notes: tuple[str, ...] = ()


def read_classes(places: Mapping[str, Place], tree: Tree) -> Classes:
    """Choose the class of each folder.

    With folders in folders, the innermost is the class when it has at least ten images in the
    median; else the outermost is, and the innermost is the group. A folder with more images in it
    than in its sub-folders is innermost.

    Args:
        places: the split and the folders that can be a class, by the path of each folder.
        tree: all folders.
    """
    tree = _telling_levels(tree.with_parts({path: one.classes for path, one in places.items()}))
    names = tree.parts_of
    leaves = {path: _leaf(parts, tree) for path, parts in names.items()}
    outer = {path: parts[0] if parts else None for path, parts in names.items()}
    inner = {path: leaf[-1] if leaf else None for path, leaf in leaves.items()}
    deep = {path: leaf for path, leaf in leaves.items() if leaf and len(leaf) > 1}
    if not deep:
        return Classes(_readings(places, outer), tuple(_about_deeper(places, names)))
    in_leaf: Counter[Parts] = Counter()
    for path, leaf in leaves.items():
        if leaf:
            in_leaf[leaf] += tree.sizes[path]
    by_inner = _readings(places, inner)
    by_outer = _readings(places, outer, _groups(leaves))
    example = next(iter(deep))
    if median(in_leaf.values()) >= SMALL_FOLDER:
        notes = _about_choice("innermost", by_inner, example, in_leaf)
        notes += _about_other("outermost", _without_torn(by_outer))
        return Classes(by_inner, (*notes, *_about_equal_names(in_leaf)))
    notes = _about_choice("outermost", by_outer, example, in_leaf)
    notes += _about_other("innermost", by_inner)
    return Classes(by_outer, (*notes, *_about_equal_names(in_leaf)))


def _telling_levels(tree: Tree) -> Tree:
    """Without the levels, around all classes or innermost, that have one name everywhere."""
    around = tree.common_depth()
    kept = {path: parts[around:] for path, parts in tree.parts_of.items()}
    only = {parts[0] for parts in kept.values() if parts}
    if are_shards(only):
        # The images of one data set, in several archives.
        kept = {path: parts[1:] for path, parts in kept.items()}
        only = {parts[0] for parts in kept.values() if parts}
    if len(only) == 1 and (is_filler(*only) or is_number(*only)):
        # images/ alone, here or in each split, is no class.
        return tree.with_parts(dict.fromkeys(kept, ()))
    while True:
        last = {parts[-1] for parts in kept.values() if len(parts) > 1}
        outside = {parts[:-1] for parts in kept.values() if len(parts) > 1}
        if len(last) != 1 or len(outside) < 2:
            return tree.with_parts(kept)
        kept = {path: parts[:-1] if len(parts) > 1 else parts for path, parts in kept.items()}


def _leaf(parts: Parts, tree: Tree) -> Parts | None:
    """The innermost folders that can be a class; None for a few images above others."""
    for depth in range(1, len(parts) + 1):
        if tree.direct[parts[:depth]] and not tree.is_nested(parts[:depth]):
            return parts[:depth]
    return None


def _groups(leaves: Mapping[str, Parts | None]) -> dict[str, str | None]:
    """The group of each folder where the outermost is the class: what tells products apart.

    The innermost folder, but for `shirts/SKU1/front`, where `front` is in every product.
    """
    deep = {leaf for leaf in leaves.values() if leaf and len(leaf) > 1}
    for up in range(1, max(map(len, deep))):
        folders = {leaf[: max(2, len(leaf) - up + 1)] for leaf in deep}
        if len({folder[-1] for folder in folders}) >= _MOSTLY * len(folders):
            return {
                path: leaf[max(1, len(leaf) - up)] if leaf in deep else None
                for path, leaf in leaves.items()
            }
    return {path: "/".join(leaf) if leaf in deep else None for path, leaf in leaves.items()}


def _without_torn(readings: Mapping[str, Reading]) -> dict[str, Reading]:
    """Without the groups, where any is in several parts of the given split."""
    pairs = {(one.group, one.split) for one in readings.values() if one.group is not None}
    torn = len(pairs) > len({group for group, _ in pairs})
    return {path: one._replace(group=None) if torn else one for path, one in readings.items()}


def _readings(
    places: Mapping[str, Place],
    labels: Mapping[str, str | None],
    groups: Mapping[str, str | None] | None = None,
) -> dict[str, Reading]:
    """Images without a label have no split either."""
    return {
        path: Reading(label, places[path].split, groups[path] if groups else None)
        if (label := labels[path]) is not None
        else Reading(None)
        for path in places
    }


def _about_choice(
    which: str, readings: Mapping[str, Reading], example: str, in_leaf: Mapping[Parts, int]
) -> list[str]:
    label, _, group = readings[example]
    in_group = f" of group {group!r} (--group none turns grouping off)" if group else ""
    return [
        f"the {which} folder is the class ({len(in_leaf):,} innermost folders, of "
        f"{median(in_leaf.values()):g} images in the median): {_classes_of(readings)}, e.g. "
        f"{example}/ is {label!r}{in_group}"
    ]


def _about_other(which: str, readings: Mapping[str, Reading]) -> list[str]:
    flag = pattern_flag(readings)
    gives = f"the {which} folder would make {_classes_of(readings)}"
    return [f"{gives}: {flag}" if flag else gives]


def _classes_of(readings: Mapping[str, Reading]) -> str:
    labels = {reading.label for reading in readings.values()} - {None}
    return counted(len(labels), "class")


def _about_deeper(places: Mapping[str, Place], names: Mapping[str, Parts]) -> list[str]:
    deeper = [path for path, parts in names.items() if len(parts) > 1]
    if not deeper:
        return []
    return [
        f"deeper than their class folder: {counted(len(deeper), 'folder')}, e.g. {deeper[0]}/ is "
        f"{names[deeper[0]][0]!r}"
    ]


def _about_equal_names(in_leaf: Mapping[Parts, int]) -> list[str]:
    """Say which innermost names are in several folders: one class then, or perhaps a split."""
    outside: dict[str, list[Parts]] = defaultdict(list)
    for leaf in in_leaf:
        outside[leaf[-1]].append(leaf)
    equal = {name: leaves for name, leaves in outside.items() if len(leaves) > 1}
    if not equal:
        return []
    first = next(iter(equal))
    where = listed(["/".join(leaf) for leaf in equal[first]], most=3)
    return [
        f"equal names in several folders: {listed(sorted(equal))}, e.g. {where} "
        "(read as one class where the innermost folder is the class)"
    ]
