"""Fashion-MNIST: 70,000 product images of 28 x 28 pixels, and where to get them.

Source: Xiao, Rasul and Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
Machine Learning Algorithms".
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.idx_pairs import container_catalog
from shopsight.errors import ArchiveError, LocationError, ShopsightError, SourceError, first_line
from shopsight.files import atomic_folder, scratch_folder, sha256_bytes
from shopsight.io.archives import unpack_deb
from shopsight.io.compressed import gunzip
from shopsight.io.local_files import read_file
from shopsight.io.web import download
from shopsight.progress import notify
from shopsight.write_errors import check_room

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
# Hashes of the unpacked files.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SUBFOLDERS = ("", "FashionMNIST/raw", "fashion-mnist", "data/fashion", "raw")
FILE_BYTES = 64 << 20
"""The most that a file of it may have, packed or not; the largest has 47 MB."""
DEBIAN_BYTES = 200_000_000
"""What its package, the files in it, their copies and apt-get's lists take together, at most."""
DOWNLOAD_S = 600.0
"""How long a file may take in all, however steadily it comes."""
APT_CONNECTION_TIMEOUT_S = 20
APT_TIMEOUT_S = 240


def open_fashion_mnist(root: Path | None) -> Catalog:
    """Read 60,000 train and 10,000 test images; a split takes validation out of train.

    Args:
        root: the folder of the four files. None takes the first of: the cache, the folder of
            Debian's package where it is installed, the public download (given up after 10 s without
            a connection), and Debian's package, which apt-get downloads without root rights.

    Raises:
        SourceError: no source has the files, or a file is not the published one.
    """
    folder = _folder(root)
    verify(folder)
    files = [path.name for path in sorted(folder.iterdir()) if path.name.endswith(("ubyte", ".gz"))]
    # A folder may hold both forms of a file; one is enough.
    chosen = [name for name in files if f"{name}.gz" not in files]
    catalog = container_catalog(
        chosen,
        name="fashion-mnist",
        root=str(folder),
        class_names=CLASS_NAMES,
        # The files are those that were published, wherever they lie.
        follow_outside=True,
    )
    return catalog.with_notes("fashion-mnist: files match the published checksums")


def verify(folder: Path) -> None:
    """Compare the four files in a folder with the published ones.

    Raises:
        SourceError: one is missing or differs.
    """
    for name, expected in SHA256.items():
        path = _file(folder, name)
        if path is None:
            raise SourceError(f"{name} is missing", where=str(folder))
        try:
            data = read_file(path, most_bytes=FILE_BYTES)
            data = gunzip(data, most_bytes=FILE_BYTES) if path.suffix == ".gz" else data
        except (OSError, LocationError, ArchiveError) as error:
            raise SourceError(f"cannot be read: {first_line(error)}", where=str(path)) from error
        if sha256_bytes(data) != expected:
            raise SourceError(
                "not the published file: its sha256 differs",
                where=str(path),
                fix="delete it and let shopsight fetch it again",
            )


def _folder(root: Path | None) -> Path:
    if root is not None:
        for inner in SUBFOLDERS:
            if _complete(root / inner):
                return root / inner
        raise SourceError(
            "this folder lacks the four Fashion-MNIST files",
            where=str(root),
            details=[f"{name} or {name}.gz" for name in SHA256],
        )
    kept = cache_folder() / "datasets" / "fashion-mnist"
    for folder in (kept, DEBIAN_FOLDER):
        if _complete(folder):
            return folder
    _fetch(kept)
    return kept


def _fetch(kept: Path) -> None:
    """Fill the folder `kept` from the first source that gives the published files."""
    sources: dict[str, Callable[[Path], None]] = {
        **{f"download from {mirror}": partial(_from_mirror, mirror) for mirror in MIRRORS},
        f"apt-get download {DEBIAN_PACKAGE}": from_debian,
    }
    failures = []
    for name, fetch in sources.items():
        notify(f"fashion-mnist: {name} (30 MB) into {kept}")
        try:
            with atomic_folder(kept) as part:
                fetch(part)
                verify(part)
            return
        except (
            SourceError,
            ArchiveError,
            LocationError,
            OSError,
            subprocess.SubprocessError,
        ) as error:
            what = error.what if isinstance(error, ShopsightError) else first_line(error)
            failures.append(f"{name}: {what}")
    has_apt = shutil.which("apt-get") is not None
    raise SourceError(
        "Fashion-MNIST is not on this machine and cannot be fetched",
        details=failures,
        fix="download the four *-ubyte.gz files of github.com/zalandoresearch/fashion-mnist and "
        "name their folder with --root" + f", or apt-get install {DEBIAN_PACKAGE}" * has_apt,
    )


def _complete(folder: Path) -> bool:
    return all(_file(folder, name) is not None for name in SHA256)


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _from_mirror(mirror: str, target: Path) -> None:
    for name in SHA256:
        file = f"{name}.gz"
        url, most = f"{mirror}{file}", FILE_BYTES
        download(url, target / file, most_bytes=most, answer_s=DOWNLOAD_S)


def from_debian(target: Path) -> None:
    """Copy the four files out of Debian's package, which apt-get downloads to a scratch folder.

    Raises:
        SourceError: there is no apt-get, or it has no such package.
        WriteError: the disk has no room for the package and its files.
    """
    if shutil.which("apt-get") is None:
        raise SourceError("there is no apt-get on this machine")
    check_room(target, DEBIAN_BYTES)
    with scratch_folder(target) as work:
        package = _download_package(work)
        unpack_deb(package, work / "tree")
        for name in SHA256:
            found = _file(work / "tree" / DEBIAN_FOLDER.relative_to("/"), name)
            if found is None:
                raise SourceError(f"the package holds no {name}")
            shutil.copyfile(found, target / found.name)


def _download_package(work: Path) -> Path:
    common = [
        "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=",
        "-o", f"Acquire::http::Timeout={APT_CONNECTION_TIMEOUT_S}",
        "-o", f"Acquire::https::Timeout={APT_CONNECTION_TIMEOUT_S}", "-o", "Acquire::Retries=1",
    ]  # fmt: skip
    own = ["-o", f"Dir::State::Lists={work}/lists", "-o", f"Dir::Cache={work}/cache"]
    for folder in ("lists/partial", "cache/archives/partial", "package"):
        (work / folder).mkdir(parents=True)
    # The machine's package lists may do; without them, lists in the scratch folder need no root.
    if not _apt([*common, "download", DEBIAN_PACKAGE], work):
        _apt([*common, *own, "update"], work)
        _apt([*common, *own, "download", DEBIAN_PACKAGE], work)
    packages = sorted((work / "package").glob("*.deb"))
    if not packages:
        raise SourceError(f"apt-get has no package {DEBIAN_PACKAGE}, or no network")
    return packages[0]


def _apt(arguments: list[str], work: Path) -> bool:
    done = subprocess.run(
        ["apt-get", "-qq", *arguments],
        cwd=work / "package",
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        timeout=APT_TIMEOUT_S,
        check=False,
    )
    return done.returncode == 0
