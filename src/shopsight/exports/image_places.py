"""Where the images of an export are: at addresses, or in files of a folder beside it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shopsight import paths
from shopsight.image_files.file_lookup import Folders
from shopsight.image_files.find_files import find_files
from shopsight.image_files.image_roots import MAX_FOLDERS, table_roots, with_chosen_root
from shopsight.read_options import ReadOptions
from shopsight.text import counted


@dataclass(frozen=True, eq=False)
class ImagePlaces:
    """Where images are.

    Attributes:
        images: paths below the root, or addresses.
        root: the folder; "" where all are addresses.
        roots: below which folders they may lie, as `Access.roots` has them.
        notes: lines for the user.
    """

    images: pl.Series
    root: str
    roots: tuple[str, ...] | None
    notes: tuple[str, ...]


def place_images(images: pl.Series, file: str, read: ReadOptions) -> ImagePlaces:
    """Find the files of images that are no addresses.

    Args:
        images: addresses and paths.
        file: the export; without a folder that the user names, images lie beside it.
        read: that folder.

    Raises:
        CatalogError: a path could mean several files.
    """
    root = None if read.images_root is None else str(read.images_root)
    roots = None if read.allow_outside else table_roots(file, root)
    is_path = ~images.str.contains("://", literal=True)
    if not is_path.any():
        return ImagePlaces(images, "", roots, ())
    home = paths.parent_of(file) if root is None else root
    folders = Folders(roots)
    names = images.to_list()
    found = find_files(
        names,
        home,
        folders=folders,
        most_folders=None if root else MAX_FOLDERS,
        take_whole_folder=root is not None,
        take_spread=True,
    )
    found.refuse_unclear(file)
    files = [place or name for place, name in zip(found.files, names, strict=True)]
    absent = sum(place is None for place in found.files)
    notes = found.notes()
    if absent:
        notes.append(
            f"not there: {counted(absent, 'image file')} of {len(names):,}, below {home} "
            "(--images-root FOLDER)"
        )
    if roots is not None:
        roots = with_chosen_root(roots, file, home)
    return ImagePlaces(pl.Series("image", files, dtype=pl.String), home, roots, tuple(notes))
