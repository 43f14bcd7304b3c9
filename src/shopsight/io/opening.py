"""One door for bytes: local paths and every protocol that is read."""

from __future__ import annotations

from shopsight.errors import RemoteError
from shopsight.io import stores
from shopsight.io.access import PUBLIC, Access
from shopsight.io.addresses import check_protocol, local_path, shown
from shopsight.io.local_files import open_file
from shopsight.io.web import fetch
from shopsight.paths import is_url

IMAGE_BYTES = 256 << 20
"""The most that a remote image may have."""
TABLE_BYTES = 4 << 30
"""The most that a remote table may have."""


def read_location(location: str, access: Access = PUBLIC, *, most_bytes: int) -> bytes:
    """Read a file from a path or an address.

    Args:
        location: a path, or an address of a protocol in `KIND_OF_PROTOCOL`.
        access: which private hosts may be asked.
        most_bytes: a remote file may have; a local one is as large as it is.

    Raises:
        OSError: a local file cannot be read.
        RemoteError: an address cannot be read; see `shopsight.io.reasons` for why.
    """
    kind = check_protocol(location) if is_url(location) else "file"
    if kind == "web":
        return fetch(location, access, most_bytes=most_bytes)
    if kind == "store":
        return stores.read_object(location, most_bytes=most_bytes)
    with open_file(local_path(location)) as file:
        return file.read()


def list_folder(address: str) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders directly in a remote folder, sorted.

    Raises:
        RemoteError: it cannot be listed, such as every folder of a web server.
    """
    if check_protocol(address) == "store":
        return stores.list_folder(address)
    raise _not_listed(address)


def list_all(address: str) -> list[str]:
    """Every file below a remote folder, relative to it with forward slashes.

    Raises:
        RemoteError: as `list_folder`.
    """
    if check_protocol(address) == "store":
        return stores.list_all(address)
    raise _not_listed(address)


def check_readable(address: str) -> None:
    """Refuse an address that nobody reads, before any work.

    Raises:
        RemoteError: "bad address", "unknown protocol" or "no driver".
    """
    if check_protocol(address) == "store":
        stores.check_driver(address)


def _not_listed(address: str) -> RemoteError:
    return RemoteError(
        "bad address",
        "a web server gives no list of its files",
        where=shown(address),
        fix="name a table (.csv, .tsv, .parquet) whose rows are addresses of images, or a copy of "
        "the folder on this machine",
    )
