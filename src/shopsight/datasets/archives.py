"""Archives that come from elsewhere, unpacked without leaving the folder they are unpacked into."""

from __future__ import annotations

import io
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PureWindowsPath

from shopsight.errors import SourceError
from shopsight.progress import task

AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60


def unpack_zip(
    archive: Path, folder: Path, *, rename: Callable[[str], str | None] = lambda member: member
) -> None:
    r"""Unpack the files of a zip archive; nothing is written when one of them is refused.

    Args:
        archive: the zip file.
        folder: where the files go; it is made when it is missing.
        rename: gives the path in `folder` for the path in the archive, or None to skip the file.

    Raises:
        SourceError: it is not a readable zip file, two files would get one name, or a member is a
            link or has a path that leads out of the folder (`../x`, `/x`, `C:\x`).
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            targets = _targets(archive, members, rename)
            with task(f"Unpacking {archive.name}", len(targets), "files") as advance:
                for target, member in targets.items():
                    path = folder / target
                    path.parent.mkdir(parents=True, exist_ok=True)
                    # Where case does not count, two names of the archive may be one file.
                    with packed.open(member) as source, path.open("xb") as file:
                        shutil.copyfileobj(source, file)
                    advance(1)
    # zipfile raises RuntimeError for encrypted members, NotImplementedError for odd compression.
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise SourceError(f"cannot be unpacked: {error}", where=str(archive)) from error


def unpack_deb(package: Path, folder: Path) -> None:
    """Unpack the files of a Debian package, with dpkg where it is installed.

    Args:
        package: the .deb file.
        folder: where its tree goes; it must not exist.

    Raises:
        SourceError: it is not a Debian package.
    """
    folder.mkdir()
    if shutil.which("dpkg") is not None:
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True, capture_output=True)
        return
    for name, data in ar_members(package.read_bytes()):
        if name.startswith("data.tar"):
            # The filter "data" refuses links and paths that lead out of the folder.
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(folder, filter="data")


def ar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a Unix `ar` archive, which is what a .deb file is.

    A member is a header of 60 bytes (16 of the name, 10 of the size from byte 48 on, in decimal)
    and its content, padded to an even length.

    Raises:
        SourceError: it is not an ar archive.
    """
    if not data.startswith(AR_MAGIC):
        raise SourceError("the package is not an ar archive")
    offset = len(AR_MAGIC)
    while offset + _AR_HEADER_BYTES <= len(data):
        header = data[offset : offset + _AR_HEADER_BYTES]
        size = int(header[48:58])
        offset += _AR_HEADER_BYTES
        yield header[:16].decode("ascii").strip().rstrip("/"), data[offset : offset + size]
        offset += size + size % 2


def _targets(
    archive: Path, members: list[zipfile.ZipInfo], rename: Callable[[str], str | None]
) -> dict[str, zipfile.ZipInfo]:
    """The members that are unpacked, by their new names."""
    targets: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        target = rename(member.filename)
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if is_link or _leads_out(member.filename) or (target is not None and _leads_out(target)):
            raise SourceError(
                f"refused: {'a link' if is_link else 'a path out of the folder'} in the archive",
                where=str(archive),
                details=[member.filename],
                fix="fetch the archive again from its publisher",
            )
        if target is None:
            continue
        if target in targets:
            raise SourceError(
                f"two files would be unpacked as {target}",
                where=str(archive),
                details=[targets[target].filename, member.filename],
            )
        targets[target] = member
    return targets


def _leads_out(name: str) -> bool:
    # Windows' rules cover the others: they see drives, and both kinds of slashes.
    path = PureWindowsPath(name)
    return bool(path.drive or path.root) or ".." in path.parts
