"""A tree of folders with the images in it, and the folders in it that say nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from statistics import median

from shopsight.tables.split_names import is_filler, is_number, is_split, role_of, roles_of

Parts = tuple[str, ...]
"""Names of folders, outermost first."""

SMALL_FOLDER = 10
"""Folders of fewer images, in the median, are single products' rather than classes."""
MANY_FOLDERS = 100
"""So many small folders in a single one are products of one class, not classes in a wrapper."""


class Tree:
    """Folders that images lie in.

    Attributes:
        parts_of: the names that count of each folder, by its path below the root; the root is "".
        sizes: the number of images directly in each folder, by its path.
        direct: the number of images directly in a folder, by its names.
        below: the number of images in a folder and its sub-folders, by its names.
        children: the names of the folders in a folder, by its names.
    """

    def __init__(self, parts_of: Mapping[str, Parts], sizes: Mapping[str, int]) -> None:
        self.parts_of = dict(parts_of)
        self.sizes = dict(sizes)
        self.direct: Counter[Parts] = Counter()
        self.below: Counter[Parts] = Counter()
        self.children: dict[Parts, set[str]] = defaultdict(set)
        for folder, parts in parts_of.items():
            self.direct[parts] += sizes[folder]
        for parts, count in self.direct.items():
            self.below[()] += count
            for depth in range(len(parts)):
                self.below[parts[: depth + 1]] += count
                self.children[parts[:depth]].add(parts[depth])

    def with_parts(self, parts_of: Mapping[str, Parts]) -> Tree:
        """The tree of the same folders with other names that count."""
        return self if parts_of == self.parts_of else Tree(parts_of, self.sizes)

    def is_nested(self, parts: Parts) -> bool:
        """Whether most images below a folder are in its sub-folders."""
        return self.below[parts] > 2 * self.direct[parts]

    def is_only_child(self, parts: Parts) -> bool:
        """Whether all images below the folder around it are below this one."""
        return self.below[parts] == self.below[parts[:-1]]

    def common_depth(self) -> int:
        """The number of levels around everything that are no class and no split.

        One folder, or several whose names say nothing: `images_001`, `images_002`.
        """
        depth = 0
        level: set[Parts] = {()}
        while True:
            inner = {(*parts, name) for parts in level for name in self.children[parts]}
            several = len(inner) > 1 and all(is_filler(parts[-1]) for parts in inner)
            if not several and (len(inner) != 1 or not self._is_wrapper(*inner)):
                return depth
            depth, level = depth + 1, inner

    def _is_wrapper(self, only: Parts) -> bool:
        """Whether the only folder at its place is looked through."""
        has_splits = is_split(roles_of(self.children[only]).values())
        if role_of(only[-1]) is not None or has_splits:
            return has_splits
        if is_filler(only[-1]) or is_number(only[-1]):
            return True
        if not self.is_nested(only):
            return False
        sizes = [n for parts, n in self.direct.items() if n and len(parts) > len(only)]
        return len(sizes) < MANY_FOLDERS or median(sizes) >= SMALL_FOLDER


def folder_tree(sizes: Mapping[str, int]) -> Tree:
    """The tree of the folders that say something.

    `photos/` around everything is left out, and so are `train/train/`, the `images/` in a class,
    and `training/` around `training/train/` and `training/val/`.

    Args:
        sizes: the number of images directly in each folder, by its path below the root; the root
            itself is "".
    """
    tree = Tree({path: tuple(path.split("/")) if path else () for path in sizes}, sizes)
    tree = tree.with_parts({path: _telling(parts, tree) for path, parts in tree.parts_of.items()})
    around = tree.common_depth()
    tree = tree.with_parts({path: parts[around:] for path, parts in tree.parts_of.items()})
    double = {(name,) for name in tree.children[()] if _is_double_split(name, tree)}
    return tree.with_parts(
        {path: parts[parts[:1] in double :] for path, parts in tree.parts_of.items()}
    )


def _telling(parts: Parts, tree: Tree) -> Parts:
    """`train/train/cats` is `train/cats`, and `cats/images` is `cats`."""
    kept = list(parts[:1])
    for depth in range(1, len(parts)):
        name, outer = parts[depth], parts[depth - 1]
        says_nothing = is_filler(name) or name.casefold() == outer.casefold()
        if not (says_nothing and tree.is_only_child(parts[: depth + 1])):
            kept.append(name)
    return tuple(kept)


def _is_double_split(name: str, tree: Tree) -> bool:
    """Whether a folder named like a split holds nothing but splits."""
    if role_of(name) is None or tree.direct[(name,)]:
        return False
    inner = tree.children[(name,)]
    roles = roles_of(inner)
    return len(roles) == len(inner) and is_split(roles.values())
