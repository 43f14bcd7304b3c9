"""The clothing data set (5,403 photos, 20 labels) and its small form with 10 classes."""

from __future__ import annotations

import hashlib
import urllib.request
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.folders import folder_catalog
from shopsight.catalog.scan import list_images, scan_folder
from shopsight.catalog.tables import table_catalog
from shopsight.datasets.kaggle import fetch_from_kaggle
from shopsight.errors import SourceError
from shopsight.files import atomic_folder, cache_folder, sha256_file
from shopsight.progress import task
from shopsight.read_options import NO_COLUMN, ReadOptions

KAGGLE_HANDLE = "agrigorev/clothing-dataset-full"
IMAGE_FOLDERS = ("images", "images_compressed", "images_original")

SMALL_REPOSITORY = "https://github.com/alexeygrigorev/clothing-dataset-small"
SMALL_COMMIT = "11961516512414bf9f6c150a832cfd21b54a6b54"
# Of the lines "<sha256>  <path>", sorted by path, over all 3,781 images of that commit.
SMALL_SHA256 = "f8667cfe4a397f1be854d7d6c56118e4eaf6e9654ac37940e443dec3b4e55721"
NETWORK_TIMEOUT_S = 30
BLOCK_BYTES = 1 << 20


def open_clothing(root: Path | None, images_root: str | None = None) -> Catalog:
    """The photos of `images.csv`, labels as they are; the contributor stays a plain column.

    A split by contributor (`--group sender_id`) is the stricter test; the published figures are
    of splits that ignore the contributor, so that is what an unasked split does.

    Raises:
        SourceError: the files are not in `root`, or not to be had from Kaggle.
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
    hint = "`sender_id` is who took the photos: --group sender_id keeps each person on one side"
    return Catalog(
        catalog.table, "clothing", catalog.root, (*catalog.notes, hint), catalog.unlisted
    )


def open_clothing_small(root: Path | None) -> Catalog:
    """The ten most frequent classes, split into train, validation and test folders.

    Raises:
        SourceError: the folders are not in `root`, or the download fails or differs.
    """
    home = root or _fetched_small()
    if not (home / "train").is_dir():
        raise SourceError(
            "clothing-small has the folders train/, validation/ and test/",
            where=str(home),
            fix=f"git clone {SMALL_REPOSITORY}, then --root clothing-dataset-small",
        )
    return folder_catalog(scan_folder(str(home)), name="clothing-small", root=str(home))


def _fetched_small() -> Path:
    kept = cache_folder() / "datasets" / "clothing-small"
    if kept.is_dir():
        return kept
    url = f"{SMALL_REPOSITORY}/archive/{SMALL_COMMIT}.zip"
    try:
        with TemporaryDirectory() as scratch, atomic_folder(kept) as part:
            archive = Path(scratch) / "small.zip"
            _download(url, archive)
            _unpack(archive, part)
            if digest_of_images(part) != SMALL_SHA256:
                raise SourceError("the images are not the published ones", where=url)
    except (OSError, zipfile.BadZipFile, SourceError) as error:
        raise SourceError(
            f"clothing-small is not at hand and cannot be fetched: {error}",
            fix=f"git clone {SMALL_REPOSITORY}, then --root clothing-dataset-small",
        ) from error
    return kept


def digest_of_images(folder: Path) -> str:
    """sha256 over the sha256 and path of every image below `folder`, sorted by path."""
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in scan_folder(str(folder)).images]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _download(url: str, to: Path) -> None:
    with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT_S) as reply:
        total = int(reply.headers.get("Content-Length") or 0) or None
        with task("Fetching", total=total, unit="bytes") as advance, to.open("wb") as file:
            while block := reply.read(BLOCK_BYTES):
                file.write(block)
                advance(len(block))


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.namelist():
            # GitHub wraps everything in one folder named after the commit.
            inner = member.partition("/")[2]
            parts = Path(inner).parts
            if member.endswith("/") or len(parts) < 3 or ".." in parts:
                continue
            target = folder / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(packed.read(member))
