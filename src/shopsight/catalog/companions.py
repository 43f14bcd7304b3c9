"""Files that show again what another image shows: raw files and HEIC beside JPEGs, thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shopsight.images.kinds import KINDS, SUFFIXES_OF_FORMAT, suffix_of

THUMBNAIL_FOLDERS = frozenset({"thumb", "thumbs", "thumbnail", "thumbnails", "_thumbs", "_thumb"})

_NOT_READ = frozenset().union(
    *(suffixes for name, suffixes in SUFFIXES_OF_FORMAT.items() if KINDS[name].way_out)
)


def companions_of(images: Sequence[str]) -> dict[str, str]:
    """The images that go with another one, each with that one.

    A camera writes `IMG_1.CR2` beside `IMG_1.JPG`, a phone `IMG_1.HEIC`: one photo, of which a
    format that needs nothing to be read is there. `hat/thumbs/1.jpg` is `hat/1.jpg` made small,
    and so is `thumbs/hat/1.jpg`.

    Args:
        images: paths with forward slashes.

    >>> companions_of(["hat/1.CR2", "hat/1.jpg", "hat/2.cr2", "hat/thumbs/1.jpg", "thumbs/9.jpg"])
    {'hat/1.CR2': 'hat/1.jpg', 'hat/thumbs/1.jpg': 'hat/1.jpg'}
    """
    thumbnails = {image: path for image in images if (path := _without_thumbnails(image))}
    not_read = [image for image in images if suffix_of(image) in _NOT_READ]
    if not thumbnails and not not_read:
        return {}
    originals = _by_stem(
        image for image in images if image not in thumbnails and suffix_of(image) not in _NOT_READ
    )
    found = {}
    for image in images:
        if image in thumbnails or suffix_of(image) in _NOT_READ:
            original = originals.get(_stem(thumbnails.get(image, image)))
            if original is not None:
                found[image] = original
    return found


def _by_stem(images: Iterable[str]) -> dict[str, str]:
    return {_stem(image): image for image in images}


def _stem(path: str) -> str:
    return path.removesuffix(path[path.rfind(".") :]).lower()


def _without_thumbnails(path: str) -> str:
    """The path without the folder of thumbnails in it; empty where there is none."""
    *folders, name = path.split("/")
    kept = [folder for folder in folders if folder.lower() not in THUMBNAIL_FOLDERS]
    return "/".join([*kept, name]) if len(kept) < len(folders) else ""
