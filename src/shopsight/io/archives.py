"""Archives that come from elsewhere: unpacked into one folder, and to no more than may be.

No path and no link in one leads out of the folder, no device is made, and what the archive says of
its size and number of files is compared with what may be before anything is written.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import IO

from shopsight.errors import ArchiveError, first_line
from shopsight.io.local_files import read_file
from shopsight.progress import task
from shopsight.write_errors import is_of_disk

UNPACKED_BYTES = 64 << 30
"""The most that an archive may hold."""
UNPACKED_FILES = 1_000_000
"""The most files that an archive may hold."""
UNPACKED_RATIO = 200
"""What an archive holds may have so many times its own size: photos have about as much."""
PACKAGE_BYTES = 256 << 20
"""The most that a Debian package may have."""
AR_MAGIC = b"!<arch>\n"

_AR_HEADER_BYTES = 60
_ENTRY_MARK = b"PK\x01\x02"
_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 16 << 20
# zipfile raises RuntimeError for encrypted members, NotImplementedError for odd compression.
_ZIP_ERRORS = (
    OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError,
    NotImplementedError,
)  # fmt: skip


def zip_names(data: bytes, *, most: int) -> list[str]:
    """The names in a zip archive; none of its content is unpacked.

    Args:
        data: the archive.
        most: it may hold.

    Raises:
        ArchiveError: "damaged", or "too large": it holds more files.
    """
    _check_count(io.BytesIO(data), most, None)
    with _zip_errors_named(None), zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def zip_hashes(
    archive: Path, *, rename: Callable[[str], str | None] = lambda member: member
) -> dict[str, str]:
    """The sha256 of each file that `unpack_zip` would write, by its name there; nothing is written.

    Raises:
        ArchiveError: as `unpack_zip`.
    """
    with _zip_errors_named(archive):
        return {target: _sha256_of(content) for target, content in _contents(archive, rename)}


def _sha256_of(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := content.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def unpack_zip(
    archive: Path, folder: Path, *, rename: Callable[[str], str | None] = lambda member: member
) -> None:
    r"""Unpack the files of a zip archive; nothing is written when one of them is refused.

    Args:
        archive: the zip file.
        folder: where the files go; it is made when it is missing.
        rename: gives the path in `folder` for the path in the archive, or None to skip the file.

    Raises:
        ArchiveError: it is not a readable zip file, holds too much, two files would get one name,
            or a member is a link or has a path that leads out of the folder (`../x`, `/x`,
            `C:\x`).
        OSError: the disk is full or read-only.
    """
    home = folder.resolve()
    with _zip_errors_named(archive):
        for target, content in _contents(archive, rename):
            path = folder / target
            if not path.resolve().is_relative_to(home):
                raise _refused("a path out of the folder", target, archive)
            path.parent.mkdir(parents=True, exist_ok=True)
            # Where case does not count, two names of the archive may be one file.
            with path.open("xb") as file:
                shutil.copyfileobj(content, file)


@contextmanager
def _zip_errors_named(archive: Path | None) -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        if is_of_disk(error):
            raise
        what = f"cannot be unpacked: {first_line(error)}"
        where = None if archive is None else str(archive)
        raise ArchiveError("damaged", what, where=where) from error


def _contents(
    archive: Path, rename: Callable[[str], str | None]
) -> Iterator[tuple[str, IO[bytes]]]:
    """The files that are unpacked: their new names and their content, of the size that was said."""
    with archive.open("rb") as file:
        _check_count(file, UNPACKED_FILES, archive)
        with zipfile.ZipFile(file) as packed:
            members = [member for member in packed.infolist() if not member.is_dir()]
            _check_size(sum(one.file_size for one in members), archive)
            targets = _targets(archive, members, rename)
            with task(f"Unpacking {archive.name}", len(targets), "files") as advance:
                for target, member in targets.items():
                    with packed.open(member) as content:
                        yield target, content
                    advance(1)


def _check_count(file: IO[bytes], most: int, archive: Path | None) -> None:
    """Refuse more members than may be: each becomes an object of a kilobyte when it is listed."""
    file.seek(0)
    count, before = 0, b""
    while block := file.read(_BLOCK_BYTES):
        # A mark may lie across two blocks.
        block = before + block
        count += block.count(_ENTRY_MARK)
        before = block[-(len(_ENTRY_MARK) - 1) :]
    if count > most:
        where = None if archive is None else str(archive)
        raise ArchiveError("too large", f"it holds more than {most:,} files", where=where)


def _check_size(size: int, archive: Path) -> None:
    most = min(UNPACKED_BYTES, max(_SMALL_BYTES, UNPACKED_RATIO * archive.stat().st_size))
    if size > most:
        what = f"unpacked it would have {size:,} bytes; {most:,} may be, for its size"
        raise ArchiveError("too large", what, where=str(archive))


def unpack_deb(package: Path, folder: Path) -> None:
    """Unpack the files of a Debian package, with dpkg where it is installed.

    Args:
        package: the .deb file.
        folder: where its tree goes; it must not exist.

    Raises:
        ArchiveError: it is not a Debian package, or holds too much or what leads out of the folder.
        OSError: it cannot be read or written.
        subprocess.SubprocessError: dpkg fails.
    """
    folder.mkdir()
    if shutil.which("dpkg") is not None:
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True, capture_output=True)
        return
    for name, data in ar_members(read_file(package, most_bytes=PACKAGE_BYTES)):
        if name.startswith("data.tar"):
            _unpack_tar(data, folder, package)


def _unpack_tar(data: bytes, folder: Path, package: Path) -> None:
    size, count = 0, 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                size, count = size + member.size, count + 1
                if count > UNPACKED_FILES:
                    what = f"it holds more than {UNPACKED_FILES:,} files"
                    raise ArchiveError("too large", what, where=str(package))
                _check_size(size, package)
                # The filter refuses devices, and links and paths that lead out of the folder.
                archive.extract(member, folder, filter="data")
    except tarfile.FilterError as error:
        raise _refused("a path out of the folder", str(error), package) from error
    # What gzip and bzip2 refuse are errors of the system that have no number; a zero byte in a
    # name is a ValueError.
    except (
        tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError,
    ) as error:  # fmt: skip
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = f"cannot be unpacked: {first_line(error)}"
        raise ArchiveError("damaged", what, where=str(package)) from error


def ar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a Unix `ar` archive, which is what a .deb file is.

    A member is a header of 60 bytes (16 of the name, 10 of the size from byte 48 on, in decimal)
    and its content, padded to an even length.

    Raises:
        ArchiveError: it is not an ar archive, or cut off.
    """
    if not data.startswith(AR_MAGIC):
        raise ArchiveError("damaged", "the package is not an ar archive")
    offset = len(AR_MAGIC)
    while offset + _AR_HEADER_BYTES <= len(data):
        header = data[offset : offset + _AR_HEADER_BYTES]
        digits = header[48:58].strip()
        size = int(digits) if digits.isdigit() else -1
        offset += _AR_HEADER_BYTES
        if not 0 <= size <= len(data) - offset:
            raise ArchiveError("damaged", "the package is damaged or cut off")
        yield header[:16].decode("latin-1").strip().rstrip("/"), data[offset : offset + size]
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
            what = "a link" if is_link else "a path out of the folder"
            raise _refused(what, member.filename, archive)
        if target is None:
            continue
        if target in targets:
            names = f"{targets[target].filename}, {member.filename}"
            raise ArchiveError(
                "not allowed",
                f"two files would be unpacked as {target}: {names}",
                where=str(archive),
            )
        targets[target] = member
    return targets


def _leads_out(name: str) -> bool:
    # Windows' rules cover the others: they see drives, and both kinds of slashes.
    path = PureWindowsPath(name)
    return bool(path.drive or path.root) or ".." in path.parts


def _refused(what: str, name: str, archive: Path) -> ArchiveError:
    return ArchiveError(
        "not allowed",
        f"refused: {what} in the archive: {name}",
        where=str(archive),
        fix="fetch the archive again from its publisher",
    )
