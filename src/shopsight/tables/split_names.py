"""What the name of a folder, or the text of a cell, says about the part of a split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

Role = Literal["train", "val", "test", "unlabeled"]
"""A part of a split, or images that are there to be labeled."""

ROLE_OF_WORD: dict[str, Role] = {
    "train": "train", "training": "train", "trainval": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "holdout": "test", "eval": "test", "evaluation": "test",
    "pred": "unlabeled", "predict": "unlabeled", "prediction": "unlabeled",
    "predictions": "unlabeled", "unlabeled": "unlabeled", "unlabelled": "unlabeled",
}  # fmt: skip
# They name the validation images where there are others to test on.
_EITHER = frozenset({"eval", "evaluation"})
# Words that say what a folder holds, and nothing about it.
_FILLER = r"(?:sets?|images?|imgs?|data|photos?|pictures?|split)"
_WORDS = "|".join(sorted(ROLE_OF_WORD, key=len, reverse=True))
_ROLE = re.compile(rf"{_FILLER}*({_WORDS}){_FILLER}*")
_ONLY_FILLER = re.compile(rf"{_FILLER}+")
_NO_LETTERS = re.compile(r"[\W\d_]+")
# A run of letters; a capital letter after a small one begins another.
_WORD = re.compile(r"[^\W\d_]+?(?:(?<=[a-z])(?=[A-Z])|(?=[\W\d_])|$)")


def role_of(name: str) -> Role | None:
    """What a name means that is a role word with nothing around it but filler.

    >>> [role_of(name) for name in ("train2017", "test_set", "images-val", "TrainImages")]
    ['train', 'test', 'val', 'train']
    >>> [role_of(name) for name in ("training-shoes", "testimonials", "validated", "trains")]
    [None, None, None, None]
    """
    word = _role_word(name)
    return None if word is None else ROLE_OF_WORD[word]


def split_of(name: str) -> str | None:
    """The split that the name of a folder or the text of a cell means, or None."""
    role = role_of(name)
    return None if role == "unlabeled" else role


def roles_of(names: Iterable[str]) -> dict[str, Role]:
    """The roles of those names that have one, read together.

    `eval` is the test images, but the validation images where other names are the test images and
    none is for validation.

    >>> roles_of(["train", "eval", "shoes"]), roles_of(["train", "eval", "test"])["eval"]
    ({'train': 'train', 'eval': 'test'}, 'val')
    """
    words = {name: word for name in names if (word := _role_word(name)) is not None}
    roles = {name: ROLE_OF_WORD[word] for name, word in words.items()}
    sure = {roles[name] for name, word in words.items() if word not in _EITHER}
    if "test" in sure and "val" not in sure:
        roles |= {name: "val" for name, word in words.items() if word in _EITHER}
    return roles


def role_within(name: str) -> tuple[Role, str] | None:
    """The role of a name with one role word among its words, and the rest of the name.

    >>> role_within("Shoes_train"), role_within("test2-big-cats"), role_within("redShoesTest")
    (('train', 'Shoes'), ('test', 'big-cats'), ('test', 'redShoes'))
    >>> role_within("hats"), role_within("train_test"), role_within("images_val")
    (None, None, ('val', ''))
    """
    whole = role_of(name)
    if whole is not None:
        return whole, ""
    found = [(word, role) for word in _WORD.finditer(name) if (role := role_of(word[0]))]
    if len(found) != 1:
        return None
    word, role = found[0]
    before, after = name[: word.start()], re.sub(r"^[\W_]*\d*", "", name[word.end() :])
    if before and after.strip("_"):
        return role, before + after.lstrip("-_ .")
    return role, (before or after).strip("-_ .")


def is_split(roles: Iterable[str]) -> bool:
    """Whether these are several parts, or one and images to be labeled: a split."""
    return len(set(roles)) > 1


def is_filler(name: str) -> bool:
    """Whether a name says no more than that there are images.

    >>> [is_filler(name) for name in ("images", "photos (2)", "data_set", "2024", "dresses")]
    [True, True, True, False, False]
    """
    return _ONLY_FILLER.fullmatch(_NO_LETTERS.sub("", name.casefold())) is not None


def are_shards(names: Collection[str]) -> bool:
    """Whether several names are one with different numbers, and the one speaks of images.

    >>> are_shards({"HAM_images_part_1", "HAM_images_part_2"}), are_shards({"part_1", "part_2"})
    (True, False)
    """
    alike = {re.sub(r"\d+$", "", name) for name in names}
    words = {word[0].casefold() for name in alike for word in _WORD.finditer(name)}
    return len(names) > 1 and len(alike) == 1 and any(map(_ONLY_FILLER.fullmatch, words))


def is_number(name: str) -> bool:
    """Whether a name has no letters: `2024-05`, which may be a product, a class or a date."""
    return not _NO_LETTERS.sub("", name)


def _role_word(name: str) -> str | None:
    found = _ROLE.fullmatch(_NO_LETTERS.sub("", name.casefold()))
    return found[1] if found else None
