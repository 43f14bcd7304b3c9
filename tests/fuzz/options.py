"""Flags of DATA with values that make sense, and with those that do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from shopsight.read_options import DataKind, ReadOptions, flag_of

NAMES = (
    *("no such", "none", "", " ", "1", "-1", "a,b", "\u00e9", "split", "*", "images/1.jpg", "None"),
)
PLACES = ("nowhere", "..", "", "t.csv", "s3://b", "http://127.0.0.1:1/", "~", "-")
LABELS = ("", "no such", "Shoe", "(rare)", "\u00e9", "-", "shoe/hat")
MAP_TEXTS = {
    "map.csv": b"label,to\nshoe,footwear\nhat,footwear\n",
    "names.txt": b"0 shoe\n1 hat\n2 dress\n",
    "odd.csv": b"label,to,label\nshoe\n,\n\xff,\0\n",
    "empty.csv": b"",
    "image.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
}
VALUES: Mapping[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "image": (("image", "filename", "file"), NAMES),
    "label": (("label", "class", "category", "none"), NAMES),
    "group": (("none", "group", "sku", "label"), NAMES),
    "text": (("none", "title", "label"), NAMES),
    "images_root": ((".", "images", "photos"), PLACES),
    "label_pattern": (
        ("{label}_*.jpg", "*_{label}.*", "{label}/*", "(?P<label>[a-z]+)", "*{label}*"),
        (
            *(
                "{group}/{label}.jpg",
                "{label}",
                "{}",
                "{label",
                "}",
                "(?P<label>",
                "(",
                "[",
                "*",
                "",
            ),
            *("(?P<label>x)(?P<label>y)", "(?P<other>.)", "(?P<label>(a+)+)$", "{label}{label}"),
            *(
                "{label}-{nothing}",
                "\\",
                "(?P<label>.*",
                "(?P<label>)?",
                "(?P<label>.)(?P<group>.)",
            ),
        ),
    ),
    "skip_folder": (("hat", "photos", "test"), (*LABELS, "shoe/more", "..", "*")),
    "label_separator": (("", "|", ", ", " "), (";", "a", "\n", "\\", "(", "ab", "\t")),
    "path_separator": ((">", "/", " > "), ("", " ", "a", "\n", "\\", "|")),
    "platform": (("shopify", "google"), ("woocommerce", "amazon", "no such", "")),
    "status": (("active", "draft"), ("", "Active", "no such", "\n")),
    "label_column": (("category", "type", "tags"), ("", "label", "no such")),
    "root": (("photos", "."), PLACES),
    "label_map": (("map.csv", "names.txt"), (*MAP_TEXTS, "nowhere.csv", "images", "t.csv", "")),
    "drop": (("hat", "dress"), LABELS),
    "encoding": (
        ("utf-8", "cp1252", "UTF-16", "utf-8-sig", "latin-1"),
        (
            *(
                "shift_jis",
                "no such",
                "",
                "base64",
                "rot13",
                "idna",
                "undefined",
                "punycode",
                "hex",
            ),
            *("unicode_escape", "zlib", "mbcs", "utf-7", "raw_unicode_escape", "bz2", "uu"),
        ),
    ),
    "rare_below": (("1", "3", "10"), ("0", "-1", "x", "1000000000000000000000", "2.5", "")),
    "allow_private": ((None,), (None,)),
    "allow_remote": ((None,), (None,)),
    "allow_outside": ((None,), (None,)),
}
"""What is tried of each flag, what makes sense and what does not; of those with fixed values each
of them, and one more."""


def values_of(name: str) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What is tried of a flag: what makes sense, and what does not."""
    choices = next(one.metadata.get("choices") for one in fields(ReadOptions) if one.name == name)
    return (tuple(choices), ("neither", "")) if choices else VALUES[name]


@st.composite
def flags(draw: st.DrawFn, kind: DataKind, *, most: int = 1) -> list[str]:
    """Some flags, mostly of those that go with this kind of DATA; mostly values that make sense."""
    words: list[str] = []
    every = [one.name for one in fields(ReadOptions)]
    fitting = [one.name for one in fields(ReadOptions) if kind in one.metadata["of"]]
    for _ in range(draw(st.integers(0, most))):
        name = draw(st.sampled_from(every if draw(st.integers(0, 9)) == 0 else fitting))
        usual, odd = values_of(name)
        value = draw(st.sampled_from(odd if draw(st.integers(0, 3)) == 0 else usual))
        words += [flag_of(name)] if value is None else [flag_of(name), value]
    return words


def make_maps(root: Path) -> None:
    """The files that `--label-map` may name."""
    for name, data in MAP_TEXTS.items():
        (root / name).write_bytes(data)
