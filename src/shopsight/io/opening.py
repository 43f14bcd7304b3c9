"""One door for bytes: local paths and every protocol that is read."""

from __future__ import annotations

from shopsight.errors import RemoteError
from shopsight.io import stores
from shopsight.io.access import PUBLIC, Access
from shopsight.io.addresses import check_protocol, host_of, local_path, shown
from shopsight.io.local_files import read_file
from shopsight.io.web import fetch
from shopsight.io.web_request import check_web
from shopsight.paths import is_url

IMAGE_BYTES = 256 << 20
"""The most that an image may have."""
TABLE_BYTES = 4 << 30
"""The most that a table may have."""


def read_location(location: str, access: Access = PUBLIC, *, most_bytes: int) -> bytes:
    """Read a file from a path or an address.

    Args:
        location: a path, or an address of a protocol in `KIND_OF_PROTOCOL`.
        access: which files, hosts and stores may be read.
        most_bytes: the file may have.

    Raises:
        OSError: a local file cannot be read.
        ValueError: a path has a zero byte.
        LocationError: it may not be read, is too large, or an address cannot be read; see
            `shopsight.io.reasons` for why.
    """
    kind = check_protocol(location) if is_url(location) else "file"
    if kind == "web":
        return fetch(location, access, most_bytes=most_bytes)
    if kind == "store":
        _check_store(location, access)
        return stores.read_object(location, most_bytes=most_bytes)
    return read_file(local_path(location), most_bytes=most_bytes, roots=access.roots)


def list_folder(address: str, access: Access) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders directly in a remote folder, sorted.

    Raises:
        RemoteError: it cannot be listed, such as every folder of a web server, or may not be.
    """
    _check_listed(address, access)
    return stores.list_folder(address)


def list_all(address: str, access: Access) -> list[str]:
    """Every file below a remote folder, relative to it with forward slashes.

    Raises:
        RemoteError: as `list_folder`.
    """
    _check_listed(address, access)
    return stores.list_all(address)


def check_readable(address: str, access: Access) -> None:
    """Refuse an address that nobody reads, or that may not be read, before any work.

    Raises:
        RemoteError: "bad address", "unknown protocol", "no driver" or "not allowed".
    """
    if check_protocol(address) == "store":
        _check_store(address, access)
        stores.check_driver(address)
    elif check_protocol(address) == "web":
        check_web(address, access)


def _check_listed(address: str, access: Access) -> None:
    if check_protocol(address) == "web":
        raise RemoteError(
            "bad address",
            "a web server gives no list of its files",
            where=shown(address),
            fix="name a table (.csv, .tsv, .parquet) whose rows are addresses of images, or a copy "
            "of the folder on this machine",
        )
    _check_store(address, access)


def _check_store(address: str, access: Access) -> None:
    if not access.allows_store(address):
        raise RemoteError(
            "not allowed",
            f"{host_of(address)} is read with your credentials, and only if you name it or "
            "allow it",
            where=shown(address),
            fix="--allow-remote",
        )
