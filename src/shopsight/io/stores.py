"""Files of object stores, by fsspec's drivers, each of which comes with an extra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

from shopsight.errors import ExtraMissingError, RemoteError, first_line
from shopsight.extras import require
from shopsight.io.addresses import protocol_of, shown
from shopsight.io.connections import ANSWER_S, CONNECT_S, SILENCE_S

DRIVERS: Mapping[str, str] = {
    **dict.fromkeys(("s3",), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}
"""The library that reads a protocol; a key of `shopsight.extras.EXTRA_OF_MODULE`."""
MOST_LISTED = 20_000_000
"""Files that a folder may have: twice the largest catalogs."""
LISTING_S = 3600.0
"""How long a list of all files may take: a store gives 1,000 names at a time, some 10,000 a second.

It bounds the memory too, of some 100 bytes a name: nothing stops a driver before it has them all.
"""

Answer = TypeVar("Answer")

# Where a driver has no limits of its own. That of S3 waits 5 s for a connection and 15 s for bytes.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "gcsfs": {"requests_timeout": SILENCE_S},
    "adlfs": {"connection_timeout": int(CONNECT_S), "read_timeout": int(SILENCE_S)},
}


def read_object(address: str, *, most_bytes: int) -> bytes:
    """Read an object.

    Raises:
        RemoteError: the driver is not installed, there is no such object, or the store refuses.
    """
    system = _system(address)

    def read() -> bytes:
        with system.open(address, "rb") as file:
            data: bytes = file.read(most_bytes + 1)
        return data

    data = _asked(address, read)
    if len(data) > most_bytes:
        raise RemoteError(
            "too large", f"the file has more than {most_bytes:,} bytes", where=shown(address)
        )
    return data


def list_folder(address: str) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders directly in a folder, sorted.

    Raises:
        RemoteError: as `read_object`; "too large" with more than `MOST_LISTED` files.
    """
    system = _system(address)
    found = _asked(address, lambda: system.ls(address, detail=True))
    _check_count(len(found), address)
    files, folders = list[str](), list[str]()
    for about in found:
        kind = folders if about["type"] == "directory" else files
        kind.append(about["name"].rstrip("/").rpartition("/")[2])
    return sorted(files), sorted(folders)


def list_all(address: str) -> list[str]:
    """Every file below a folder, relative to it with forward slashes.

    Raises:
        RemoteError: as `read_object`; "too large" with more than `MOST_LISTED` files.
    """
    system = _system(address)
    start = len(system._strip_protocol(address).rstrip("/")) + 1
    found = _asked(address, lambda: system.find(address), limit_s=LISTING_S)
    _check_count(len(found), address)
    return [file[start:] for file in found]


def check_driver(address: str) -> None:
    """Refuse an address whose driver is not installed.

    Raises:
        RemoteError: "no driver"; its fix names the extra.
    """
    driver = DRIVERS[protocol_of(address) or ""]
    try:
        require(driver)
    except ExtraMissingError as error:
        what = f"{driver}, which reads {protocol_of(address)}://, is not installed"
        raise RemoteError("no driver", what, where=shown(address), fix=error.fix) from None


def _check_count(count: int, address: str) -> None:
    if count > MOST_LISTED:
        raise RemoteError(
            "too large",
            f"the folder has more than {MOST_LISTED:,} files",
            where=shown(address),
            fix="name a table (.csv, .parquet) of the images, or a folder within it",
        )


def _asked(address: str, work: Callable[[], Answer], *, limit_s: float | None = None) -> Answer:
    """What a store answers, within `limit_s` or `ANSWER_S` seconds.

    Raises:
        RemoteError: it does not answer in time, or refuses.
    """
    try:
        return _in_time(work, ANSWER_S if limit_s is None else limit_s)
    except Exception as error:
        # Each driver has exceptions of its own.
        raise _why(error, address) from error


def _in_time(work: Callable[[], Answer], limit_s: float) -> Answer:
    """What `work` gives within so many seconds; the drivers' own limits are for parts of an answer.

    Raises:
        TimeoutError: It takes longer; the thread that waits ends with the process.
    """
    done: Future[Answer] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result(limit_s)


def _system(address: str) -> Any:
    check_driver(address)
    import fsspec

    try:
        protocol = protocol_of(address) or ""
        return fsspec.filesystem(protocol, **_OPTIONS.get(DRIVERS[protocol], {}))
    except Exception as error:
        raise _why(error, address) from error


def _why(error: Exception, address: str) -> RemoteError:
    if isinstance(error, FileNotFoundError):
        return RemoteError("missing", "no such file", where=shown(address))
    if isinstance(error, PermissionError) or "credential" in type(error).__name__.lower():
        what = f"the store refuses: {first_line(error)}"
        return RemoteError("forbidden", what, where=shown(address))
    if isinstance(error, TimeoutError):
        return RemoteError("timed out", "the store did not answer in time", where=shown(address))
    what = f"the store fails: {type(error).__name__}: {first_line(error)}"
    return RemoteError("server error", what, where=shown(address))
