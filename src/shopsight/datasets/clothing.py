"""The clothing data set (5,403 photos, 20 labels) and its small form with 10 classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.tables import table_catalog
from shopsight.datasets.kaggle import fetch_from_kaggle
from shopsight.errors import ArchiveError, LocationError, SourceError, first_line
from shopsight.files import atomic_folder, scratch_folder
from shopsight.folders.folders import folder_catalog
from shopsight.image_files.scan import list_images, scan_folder
from shopsight.images.kinds import has_image_suffix
from shopsight.io.archives import unpack_zip, zip_hashes
from shopsight.io.web import download
from shopsight.read_options import NO_COLUMN, ReadOptions

KAGGLE_HANDLE = "agrigorev/clothing-dataset-full"
IMAGE_FOLDERS = ("images", "images_compressed", "images_original")

SMALL_REPOSITORY = "https://github.com/alexeygrigorev/clothing-dataset-small"
SMALL_COMMIT = "11961516512414bf9f6c150a832cfd21b54a6b54"
FETCH_BY_HAND = (
    f"git clone {SMALL_REPOSITORY}   (or download its zip file there, and unpack it)\n"
    "then name the folder: --root clothing-dataset-small"
)
# sha256 of the lines "<sha256>  <path>", sorted by path, of all 3,781 images of that commit.
SMALL_SHA256 = "f8667cfe4a397f1be854d7d6c56118e4eaf6e9654ac37940e443dec3b4e55721"
SMALL_BYTES = 1 << 30
"""The most that its archive may have; it has some 200 MB."""
DOWNLOAD_S = 3600.0
"""How long it may take in all, however steadily it comes."""


def open_clothing(root: Path | None, images_root: str | None = None) -> Catalog:
    """Read the photos of `images.csv`; the contributor stays a plain column.

    A split by contributor (`--group sender_id`) is the stricter test. The published figures come
    from splits that ignore the contributor, so the default split does too.

    Args:
        root: the folder with images.csv; None fetches the data set from Kaggle.
        images_root: the folder of the photos; None looks for `images/` beside images.csv.

    Raises:
        SourceError: the files are not in `root`, or Kaggle does not give them.
    """
    home = root or fetch_from_kaggle("datasets", KAGGLE_HANDLE, wanted_by="clothing")
    table = home / "images.csv"
    folders = [images_root] if images_root else [f"{home}/{name}" for name in IMAGE_FOLDERS]
    images = next((folder for folder in folders if list_images(Path(folder))), None)
    if not table.is_file() or images is None:
        raise SourceError(
            "the clothing data set has images.csv and a folder images/ beside it",
            where=str(home),
            details=[f"looked for {table}", *(f"looked for images in {name}" for name in folders)],
        )
    catalog = table_catalog(
        str(table),
        ReadOptions(image="image", label="label", group=NO_COLUMN, images_root=images),
    )
    hint = "`sender_id` is who took a photo: --group sender_id keeps each person in one split"
    return Catalog(
        catalog.table, "clothing", catalog.root, (*catalog.notes, hint), catalog.unlisted
    )


def open_clothing_small(root: Path | None) -> Catalog:
    """Read the ten most frequent classes from the folders train, validation and test.

    Args:
        root: the folder that holds them; None downloads the data set.

    Raises:
        SourceError: the folders are not in `root`, or the download failed or differs from the
            published images.
    """
    home = root or _fetched_small()
    if not (home / "train").is_dir():
        raise SourceError(
            "clothing-small has the folders train/, validation/ and test/",
            where=str(home),
            fix=FETCH_BY_HAND,
        )
    return folder_catalog(scan_folder(str(home)), name="clothing-small", root=str(home))


def _fetched_small() -> Path:
    """The folder in the cache, downloaded when it is not there."""
    kept = cache_folder() / "datasets" / "clothing-small"
    if kept.is_dir():
        return kept
    url = f"{SMALL_REPOSITORY}/archive/{SMALL_COMMIT}.zip"
    try:
        with atomic_folder(kept) as part, scratch_folder(kept) as scratch:
            archive = scratch / "small.zip"
            download(url, archive, most_bytes=SMALL_BYTES, answer_s=DOWNLOAD_S)
            if digest_of_images(zip_hashes(archive, rename=_image_in_repository)) != SMALL_SHA256:
                raise SourceError("the images are not the published ones", where=url)
            unpack_zip(archive, part, rename=_image_in_repository)
    except (OSError, SourceError, ArchiveError, LocationError) as error:
        what = first_line(error) if isinstance(error, OSError) else error.what
        raise SourceError(
            f"clothing-small is not on this machine, and its download failed: {what}",
            where=url,
            fix=FETCH_BY_HAND,
        ) from error
    return kept


def digest_of_images(hashes: Mapping[str, str]) -> str:
    """sha256 over the sha256 and path of every image, sorted by path.

    Args:
        hashes: the sha256 of files by their paths; those that are no images do not count.
    """
    lines = [f"{hashes[name]}  {name}\n" for name in sorted(filter(has_image_suffix, hashes))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _image_in_repository(member: str) -> str | None:
    """`"repo-1a2b/train/hat/1.jpg"` -> `"train/hat/1.jpg"`; None for other files.

    GitHub wraps everything in one folder that is named after the commit.
    """
    inner = member.partition("/")[2]
    return inner if inner.count("/") >= 2 else None
