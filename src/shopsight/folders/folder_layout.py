"""Which folders are splits and which may be classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shopsight.errors import CatalogError
from shopsight.folders.folder_tree import Parts, Tree
from shopsight.folders.label_patterns import Reading, pattern_flag
from shopsight.tables.split_names import Role, is_filler, is_split, role_of, role_within, roles_of
from shopsight.text import command_line, counted, listed

_MOST_SKIPPED = 5


@dataclass(frozen=True)
class Place:
    """What the folder of an image says of it.

    Attributes:
        split: "train", "val" or "test", or None.
        classes: the folders that can be its class, outermost first; empty when it is unlabeled.
    """

    split: str | None
    classes: Parts


NOWHERE = Place(None, ())


@dataclass(frozen=True)
class Layout:
    """The meaning of all folders.

    Attributes:
        places: what each folder says of the images directly in it, by its path.
        splits: the folders that were taken for a split, and for which.
        notes: what else was decided, a line each.
    """

    places: dict[str, Place]
    splits: Mapping[str, str]
    notes: tuple[str, ...] = ()


def read_layout(tree: Tree, *, root: str) -> Layout:
    """Tell splits from classes.

    Args:
        tree: the folders that say something.
        root: where they lie, for errors.

    Raises:
        CatalogError: folders can be read in two ways; both are named, with the flag for each.
    """
    tops = sorted(tree.children[()])
    roles = roles_of(tops)
    others = [top for top in tops if top not in roles]
    if not others:
        return _by_roles(tree, roles)
    within = {top: found for top in tops if (found := role_within(top))}
    if len(within) == len(tops) and is_split(role for role, _ in within.values()):
        return _by_words(tree, within, root)
    splits = _of_splits(roles)
    if is_split(splits.values()):
        raise _foreign(list(splits), others, tree, root)
    if not splits:
        return _below_classes(tree, roles, root) or _by_class(tree, roles, root)
    if any(tree.is_nested((top,)) for top in (*splits, *others)):
        raise _split_or_class(list(splits), others, tree, root)
    named = (
        f"{_slashed(splits)} {_is(splits)} named like a split: read as unlabeled, not as a class"
    )
    note = f"{named} ({_class_flag(tree)} makes it one)"
    return _by_class(tree, roles, root, note)


def _by_roles(tree: Tree, roles: Mapping[str, Role]) -> Layout:
    """Every folder at the top is a split, or holds images to be labeled."""
    places = {
        folder: _place(roles[parts[0]], parts[1:]) if parts else NOWHERE
        for folder, parts in tree.parts_of.items()
    }
    return Layout(places, _of_splits(roles))


def _by_words(tree: Tree, within: Mapping[str, tuple[Role, str]], root: str) -> Layout:
    """`Shoes_train` and `Shoes_test`: the rest of their names is the class where it tells more."""
    rests: dict[Role, set[str]] = defaultdict(set)
    for role, rest in within.values():
        if role != "unlabeled":
            rests[role].add(rest)
    every = set().union(*rests.values())
    several = any(len(found) > 1 for found in rests.values())
    if several and "" in every:
        # train_masks/ beside train/.
        more = [top for top, (role, rest) in within.items() if rest and role != "unlabeled"]
        raise _foreign([top for top, (_, rest) in within.items() if not rest], more, tree, root)
    nested = any(len(parts) > 1 for parts in tree.parts_of.values())
    is_class = "" not in every and (several or (len(every) > 1 and not nested))
    places = dict.fromkeys(tree.parts_of, NOWHERE)
    for folder, parts in tree.parts_of.items():
        if parts:
            role, rest = within[parts[0]]
            places[folder] = _place(role, (rest, *parts[1:]) if is_class else parts[1:])
    return Layout(places, _of_splits({top: role for top, (role, _) in within.items()}))


def _below_classes(tree: Tree, roles: Mapping[str, Role], root: str) -> Layout | None:
    """`cats/train` and `cats/test`: the splits are in the classes; None where they are not."""
    tops = [top for top in sorted(tree.children[()]) if top not in roles]
    names = set().union(*(tree.children[(top,)] for top in tops))
    inner = roles_of(sorted(names))
    splits_in = {
        top: {inner[name] for name in tree.children[(top,)] if name in inner} for top in tops
    }
    if not any(is_split(found) for found in splits_in.values()):
        return None
    foreign = [top for top in tops if not splits_in[top]] or sorted(names - set(inner))
    if foreign:
        raise _foreign(sorted(inner), foreign, tree, root)
    places = dict.fromkeys(tree.parts_of, NOWHERE)
    for folder, parts in tree.parts_of.items():
        if len(parts) > 1 and parts[0] not in roles:
            places[folder] = _place(inner[parts[1]], (parts[0], *parts[2:]))
    return Layout(places, _of_splits(inner))


def _by_class(tree: Tree, roles: Collection[str], root: str, *notes: str) -> Layout:
    """Every folder at the top is a class, but those of a role, whose images are unlabeled."""
    tops = sorted(tree.children[()] - set(roles))
    nameless = [top for top in tops if is_filler(top)]
    if nameless and len(nameless) < len(tops):
        raise _nameless(nameless, [top for top in tops if top not in nameless], tree, root)
    places = {
        folder: NOWHERE if parts and parts[0] in roles else Place(None, parts)
        for folder, parts in tree.parts_of.items()
    }
    return Layout(places, {}, notes)


def _place(role: Role, classes: Parts) -> Place:
    if role == "unlabeled" or (classes and role_of(classes[0]) == "unlabeled"):
        return NOWHERE
    return Place(role, classes)


def _of_splits(roles: Mapping[str, Role]) -> dict[str, Role]:
    return {name: role for name, role in roles.items() if role != "unlabeled"}


def _foreign(
    splits: Collection[str], others: Collection[str], tree: Tree, root: str
) -> CatalogError:
    return CatalogError(
        f"{_slashed(splits)} are splits; {_slashed(others)} {_is(others)} neither a split nor a "
        "class",
        where=root,
        fix=_leaving_out(others, tree),
    )


def _nameless(
    nameless: Collection[str], others: Collection[str], tree: Tree, root: str
) -> CatalogError:
    """`images/` beside `masks/`."""
    return CatalogError(
        f"the name of {_slashed(nameless)} says nothing of a class, and {_slashed(others)} "
        f"{_is(others)} beside it",
        where=root,
        fix=_leaving_out(others, tree),
    )


def _leaving_out(others: Collection[str], tree: Tree) -> str:
    them = "it" if len(others) == 1 else "them"
    return (
        f"{_skip_flags(others, tree)}   (leaves {them} out)\n"
        f"{_class_flag(tree)}   (every folder is a class)"
    )


def _split_or_class(
    splits: Collection[str], others: Collection[str], tree: Tree, root: str
) -> CatalogError:
    """One part of a split beside other folders: two readings, and the flag for each."""
    is_nested = any(tree.is_nested((top,)) for top in splits)
    if is_nested:
        both = any(tree.is_nested((top,)) for top in others)
        held = "sub-folders, and so do" if both else "sub-folders, and images lie directly in"
        first = _skipping(others, splits, tree, root)
    else:
        held = "images, and there are sub-folders in"
        first = f"{_skip_flags(splits, tree)}   (leaves it out: a split without classes)"
    return CatalogError(
        f"{_slashed(splits)} can be a split or a class: it holds {held} {_slashed(others)}",
        where=root,
        details=[f"{top}/: {counted(tree.below[(top,)], 'image')}" for top in (*splits, *others)],
        fix=f"{first}\n{_class_flag(tree)}   (every folder is a class)",
    )


def _skipping(others: Collection[str], splits: Collection[str], tree: Tree, root: str) -> str:
    """The way to read the splits alone."""
    why = f"the folders in {_slashed(splits)} are the classes"
    if len(others) <= _MOST_SKIPPED or len(splits) > 1:
        return f"{_skip_flags(others, tree)}   ({why})"
    (split,) = splits
    inner = f"{root}/{_path_of(split, tree)}"
    return f"{command_line([inner])}   (as DATA: {why})"


def _skip_flags(names: Collection[str], tree: Tree) -> str:
    """The flags that leave folders out: by name, or by path where the name is elsewhere too."""
    tops = tree.children[()]
    paths = [_path_of(name, tree) if name in tops else name for name in names]
    elsewhere = {
        part
        for path, parts in tree.parts_of.items()
        for part in path.split("/")
        if part in names and parts[:1] != (part,)
    }
    words = [path if name in elsewhere else name for name, path in zip(names, paths, strict=True)]
    return command_line([word for name in words for word in ("--skip-folder", name)])


def _path_of(top: str, tree: Tree) -> str:
    """Where a folder at the top lies, with what is around everything."""
    path = next(path for path, parts in tree.parts_of.items() if parts[:1] == (top,))
    names = path.split("/")
    at = len(names)
    for part in reversed(tree.parts_of[path]):
        at = len(names) - 1 - names[::-1].index(part, len(names) - at)
    return "/".join(names[: at + 1])


def _class_flag(tree: Tree) -> str:
    """The flag with which every folder at the top is a class."""
    readings = {path: Reading(parts[0] if parts else None) for path, parts in tree.parts_of.items()}
    return pattern_flag(readings) or "--label-pattern PATTERN"


def _slashed(names: Collection[str]) -> str:
    return listed([f"{name}/" for name in names])


def _is(names: Collection[str]) -> str:
    return "is" if len(names) == 1 else "are"
