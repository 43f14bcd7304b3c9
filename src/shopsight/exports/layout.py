"""Which platform a file is of, by the names of its columns, and where each column stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shopsight.exports.profiles import PLATFORMS, Names, Profile
from shopsight.tables.column_names import canonical

IMAGE, OPTION, ATTRIBUTE, KEY, OF_VARIANT = "image:", "option:", "attribute:", "key:", "variant:"
"""Columns of which there may be several have such a name and a number, or the attribute's code."""


@dataclass(frozen=True)
class Layout:
    """Where the columns of one file stand.

    Attributes:
        profile: of its platform.
        header: names of all columns.
        places: for what is read the places in the header, from 0: "text", "category", "image:0" ...
    """

    profile: Profile
    header: tuple[str, ...]
    places: Mapping[str, int]

    def name_of(self, role: str) -> str:
        """The file's own name for a column; "" where it has none."""
        return self.header[self.places[role]] if role in self.places else ""


def recognize(header: Sequence[str]) -> Profile | None:
    """The platform whose anchors are all among these names of columns; None for other tables."""
    return next((one for one in PLATFORMS.values() if not missing_anchors(one, header)), None)


def missing_anchors(profile: Profile, header: Sequence[str]) -> list[str]:
    """The columns that a platform's export must have and this header has not, in words."""
    known = {plain_name(name) for name in header}
    return [
        " or ".join(repr(name) for name in names)
        for names in profile.anchors
        if known.isdisjoint(map(plain_name, names))
    ]


def column_layout(profile: Profile, header: Sequence[str], *, label: str | None = None) -> Layout:
    """Find the columns of a platform in a header; of one name the first column counts.

    Args:
        profile: of the platform.
        header: names of the file's columns.
        label: the name of the column that the user called the label, if it is in the header.
    """
    by_name: dict[str, int] = {}
    for place, name in enumerate(header):
        by_name.setdefault(plain_name(name), place)
    single: dict[str, Names] = {
        "text": profile.text,
        "price": profile.price,
        "status": profile.status,
        "position": profile.position,
        "variant_image": profile.variant_image,
    }
    single |= {str(column): names for column, names in profile.labels.items()}
    found_first = {role: _first(by_name, names) for role, names in single.items()}
    places = {role: place for role, place in found_first.items() if place is not None}
    keys = [by_name[name] for name in map(plain_name, profile.key) if name in by_name]
    places |= {f"{KEY}{number}": place for number, place in enumerate(keys)}
    several = {IMAGE: profile.images, OPTION: profile.options, OF_VARIANT: profile.of_variant}
    for prefix, patterns in several.items():
        found = _matching(header, patterns)
        places |= {f"{prefix}{number}": place for number, place in enumerate(found)}
    if label in header:
        places["label"] = header.index(label)
    for code, column in _attributes(profile, header):
        places.setdefault(f"{ATTRIBUTE}{code}", column)
    return Layout(profile, tuple(header), places)


def plain_name(name: str) -> str:
    """A column's name as names are compared: those of feeds may begin with `g:`.

    >>> plain_name("g:image_link"), plain_name("Product image URL")
    ('image_link', 'product_image_url')
    """
    return canonical(name.strip().removeprefix("g:").removeprefix("G:"))


def _first(by_name: Mapping[str, int], names: Names) -> int | None:
    return next((by_name[name] for name in map(plain_name, names) if name in by_name), None)


def _matching(header: Sequence[str], patterns: Names) -> list[int]:
    """Places of the columns that fit the patterns, in the order of these."""
    plain = [plain_name(name) for name in header]
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
