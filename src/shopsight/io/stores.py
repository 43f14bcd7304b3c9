"""Files of object stores, by fsspec's drivers, each of which comes with an extra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any

from shopsight.errors import ExtraMissingError, RemoteError, first_line
from shopsight.extras import require
from shopsight.io.addresses import protocol_of, shown
from shopsight.io.connections import ANSWER_S

DRIVERS: Mapping[str, str] = {
    **dict.fromkeys(("s3",), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}
"""The library that reads a protocol; a key of `shopsight.extras.EXTRA_OF_MODULE`."""


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

    try:
        data = _in_time(read)
    except Exception as error:
        # Each driver has exceptions of its own.
        raise _why(error, address) from error
    if len(data) > most_bytes:
        raise RemoteError(
            "too large", f"the file has more than {most_bytes:,} bytes", where=shown(address)
        )
    return data


def list_folder(address: str) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders directly in a folder, sorted.

    Raises:
        RemoteError: as `read_object`.
    """
    files, folders = list[str](), list[str]()
    system = _system(address)
    try:
        for about in system.ls(address, detail=True):
            kind = folders if about["type"] == "directory" else files
            kind.append(about["name"].rstrip("/").rpartition("/")[2])
    except Exception as error:
        raise _why(error, address) from error
    return sorted(files), sorted(folders)


def list_all(address: str) -> list[str]:
    """Every file below a folder, relative to it with forward slashes.

    Raises:
        RemoteError: as `read_object`.
    """
    system = _system(address)
    try:
        start = len(system._strip_protocol(address).rstrip("/")) + 1
        return [file[start:] for file in system.find(address)]
    except Exception as error:
        raise _why(error, address) from error


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


def _in_time(work: Callable[[], bytes]) -> bytes:
    """What `work` gives within `ANSWER_S`; the drivers' own limits are for parts of an answer.

    Raises:
        TimeoutError: It takes longer; the thread that waits ends with the process.
    """
    done: Future[bytes] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result(ANSWER_S)


def _system(address: str) -> Any:
    check_driver(address)
    import fsspec

    try:
        return fsspec.filesystem(protocol_of(address))
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
