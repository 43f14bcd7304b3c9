"""Files that belong to another image: raw files and HEIC beside JPEGs, thumbnails, masks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shopsight.images.kinds import KINDS, SUFFIXES_OF_FORMAT, suffix_of

THUMBNAIL_FOLDERS = frozenset({"thumb", "thumbs", "thumbnail", "thumbnails", "_thumbs", "_thumb"})

_OF_ANOTHER = re.compile(r"(?i)(.+)[ _-](?:masks?|seg|segmentation|thumb|thumbnail)[ _-]?\d*$")
# Of a million paths nearly all have none of these letters.
_HINTS = ("mask", "seg", "thumb")
_NOT_READ = frozenset().union(
    *(suffixes for name, suffixes in SUFFIXES_OF_FORMAT.items() if KINDS[name].way_out)
)


def companions_of(images: Sequence[str]) -> dict[str, str]:
    """The images that go with another one, each with that one.

    A camera writes `IMG_1.CR2` beside `IMG_1.JPG`, a phone `IMG_1.HEIC`: one photo, of which a
    format that needs nothing to be read is there. `hat/thumbs/1.jpg` is `hat/1.jpg` made small,
    and so is `thumbs/hat/1.jpg`; `1_mask.png` tells what is where in `1.png`.

    Args:
        images: paths with forward slashes.

    >>> companions_of(["1.jpg", "1_mask.png", "1_mask_1.png", "2_mask.png"])
    {'1_mask.png': '1.jpg', '1_mask_1.png': '1.jpg'}
    >>> companions_of(["hat/1.CR2", "hat/1.jpg", "hat/2.cr2", "hat/thumbs/1.jpg", "thumbs/9.jpg"])
    {'hat/1.CR2': 'hat/1.jpg', 'hat/thumbs/1.jpg': 'hat/1.jpg'}
    """
    others = {
        image: stem
        for image in images
        if (stem := _stem_of_original(image)) or suffix_of(image) in _NOT_READ
    }
    if not others:
        return {}
    originals = {_stem(image): image for image in images if image not in others}
    found = ((image, originals.get(stem or _stem(image))) for image, stem in others.items())
    return {image: original for image, original in found if original is not None}


def _stem(path: str) -> str:
    return path.removesuffix(path[path.rfind(".") :]).lower()


def _stem_of_original(path: str) -> str:
    """The path, without a suffix, of what this would be a mask or a thumbnail of; else empty."""
    lower = path.lower()
    if not any(hint in lower for hint in _HINTS):
        return ""
    *folders, name = path.split("/")
    kept = [folder for folder in folders if folder.lower() not in THUMBNAIL_FOLDERS]
    if len(kept) < len(folders):
        return _stem("/".join([*kept, name]))
    found = _OF_ANOTHER.fullmatch(_stem(path))
    return found[1] if found else ""
