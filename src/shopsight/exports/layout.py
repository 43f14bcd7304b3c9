"""Which platform a file is of, by the names of its columns, and where each column stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shopsight.exports.platforms import PLATFORMS
from shopsight.exports.profiles import Names, Profile
from shopsight.tables.column_names import canonical

IMAGE, IMAGE_ELSE, OPTION, WITHIN = "image:", "else:", "option:", "within:"
ATTRIBUTE, NAME, VALUES, LIST = "attribute:", "name:", "values:", "list:"
KEY, OF_VARIANT = "key:", "variant:"
"""Columns of which there may be several have such a name and a number, or the attribute's code."""


@dataclass(frozen=True)
class Layout:
    """Where the columns of one file stand.

    Attributes:
        profile: of its platform.
        header: names of all columns.
        places: for what is read the places in the header, from 0: "text", "category", "image:0" ...
        is_text_table: places are those of cells in a row of text.
    """

    profile: Profile
    header: tuple[str, ...]
    places: Mapping[str, int]
    is_text_table: bool = True

    def name_of(self, role: str) -> str:
        """The file's own name for a column; "" where it has none."""
        return self.header[self.places[role]] if role in self.places else ""


def recognize(header: Sequence[str]) -> Profile | None:
    """The platform whose anchors are all among these names of columns; None for other tables."""
    known = {plain_name(name) for name in header}
    return next(
        (
            one
            for one in PLATFORMS.values()
            if not missing_anchors(one, header)
            and (not one.marks or not known.isdisjoint(map(plain_name, one.marks)))
        ),
        None,
    )


def missing_anchors(profile: Profile, header: Sequence[str]) -> list[str]:
    """The columns that a platform's export must have and this header has not, in words."""
    known = {plain_name(name) for name in header}
    return [
        " or ".join(repr(name) for name in names)
        for names in profile.anchors
        if known.isdisjoint(map(plain_name, names))
    ]


def column_layout(
    profile: Profile,
    header: Sequence[str],
    *,
    known: Sequence[str] | None = None,
    label: str | None = None,
) -> Layout:
    """Find the columns of a platform in a header; of one name the first column counts.

    Args:
        profile: of the platform.
        header: names of the file's columns.
        known: the same in the language of the profile, where they are in another.
        label: the name of the column that the user called the label, if it is in the header.
    """
    plain = [plain_name(name) for name in known or header]
    found = _single_columns(profile, plain) | _several_columns(profile, plain)
    if label is not None and label in header:
        found["label"] = list(header).index(label)
    for code, place in _attributes(profile, header):
        found.setdefault(f"{ATTRIBUTE}{code}", place)
    return Layout(profile, tuple(header), found)


def _single_columns(profile: Profile, plain: Sequence[str]) -> dict[str, int]:
    """The columns of which a row has one cell that counts, by their roles."""
    roles: dict[str, Names] = {
        "text": profile.text,
        "price": profile.price,
        "status": profile.status,
        "position": profile.position,
        "variant_image": profile.variant_image,
        "parent": profile.parent,
        "kind": profile.kind,
        "repeated": profile.repeated,
        **{str(column): names for column, names in profile.labels.items()},
    }
    found = {role: _named(plain, names) for role, names in roles.items()}
    return {role: places[0] for role, places in found.items() if places}


def _several_columns(profile: Profile, plain: Sequence[str]) -> dict[str, int]:
    """The columns of which there may be several, by their prefixes and numbers."""
    several = {
        KEY: _named(plain, profile.key),
        WITHIN: _named(plain, profile.options_within),
        LIST: _named(plain, profile.attribute_lists),
        IMAGE: _matching(plain, profile.images),
        IMAGE_ELSE: _matching(plain, profile.images_else),
        OPTION: _matching(plain, profile.options),
        OF_VARIANT: _matching(plain, profile.of_variant),
    }
    found = {
        f"{prefix}{number}": place
        for prefix, places in several.items()
        for number, place in enumerate(places)
    }
    pairs = ((NAME, profile.attribute_names), (VALUES, profile.attribute_values))
    for prefix, pattern in pairs:
        fits = [(re.fullmatch(pattern, name), place) for place, name in enumerate(plain)]
        found |= {f"{prefix}{fit['number']}": place for fit, place in fits if pattern and fit}
    return found


def plain_name(name: str) -> str:
    """A column's name as names are compared: those of feeds may begin with `g:`.

    >>> plain_name("g:image_link"), plain_name("Product image URL")
    ('image_link', 'product_image_url')
    """
    return canonical(name.strip().removeprefix("g:").removeprefix("G:"))


def _named(plain: Sequence[str], names: Names) -> list[int]:
    """Places of the columns of these names, in their order; of one name the first counts."""
    return [plain.index(name) for name in map(plain_name, names) if name in plain]


def _matching(plain: Sequence[str], patterns: Names) -> list[int]:
    """Places of the columns that fit the patterns, in the order of these."""
    found = [
        place
        for pattern in patterns
        for place, name in enumerate(plain)
        if re.fullmatch(pattern, name)
    ]
    return list(dict.fromkeys(found))


def _attributes(profile: Profile, header: Sequence[str]) -> Iterator[tuple[str, int]]:
    codes = {plain_name(name): code for name, code in profile.attributes.items()}
    for place, name in enumerate(header):
        fit = re.fullmatch(profile.attribute_pattern, name.strip())
        if profile.attribute_pattern and fit is not None:
            yield fit["code"], place
        elif plain_name(name) in codes:
            yield codes[plain_name(name)], place
