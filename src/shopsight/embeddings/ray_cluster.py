"""A Ray cluster for as long as a block lasts: one on this machine, or one that is there already.

A cluster of our own listens on the loopback interface alone, takes orders from whoever has its
token, sends nothing home and starts no dashboard. Ray reads most of this from the environment while
it is imported, so the environment is set around that and put back at the block's end.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shopsight.embeddings.ray_plan import Machine
from shopsight.errors import ConfigError, EmbeddingError, first_line
from shopsight.extras import require
from shopsight.files import discard_folder
from shopsight.prefetch import core_count

ADDRESS = "RAY_ADDRESS"
CONNECT_S = 5.0
OBJECT_STORE_BYTES = 512 << 20
"""Blocks on their way: names of images to the workers, vectors back."""
LONGEST_FOLDER = 24
"""Characters of the folder for temporary files: Ray's sockets are in it, and a path of a socket has
104 at most."""
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster that this process is connected to.

    Attributes:
        address: of the cluster that was joined; None is one on this machine, for this block alone.
        machines: of it.
    """

    address: str | None
    machines: tuple[Machine, ...]


@contextmanager
def ray_cluster(address: str | None, *, cores: int | None = None) -> Iterator[Cluster]:
    """Join a cluster, or start one on this machine.

    A process that has called `ray.init` itself keeps its cluster, and it is used.

    Args:
        address: as host:port; None is what RAY_ADDRESS says, and without that a cluster is started.
        cores: of a cluster that is started; None is all that this process may use.

    Raises:
        ExtraMissingError: the extra `ray` is not installed.
        EmbeddingError: there is no cluster at the address, or it is of another version.
        ConfigError: it is no address.
    """
    address = address or os.environ.get(ADDRESS) or None
    if address in {None, "local"}:
        with _of_the_process() or _local(cores or core_count()) as cluster:
            yield cluster
    else:
        assert address is not None
        with _joined(address) as cluster:
            yield cluster


def _of_the_process() -> Any:
    """The cluster that this process is connected to already, if it is."""
    ray = sys.modules.get("ray")
    if ray is None:
        return None
    if ray.is_initialized():
        return _kept(ray)
    if not _token.cache_info().currsize:
        raise EmbeddingError(
            "this process has imported ray before: a cluster that starts now would listen on every "
            "network",
            fix="call ray.init() first: its cluster is used\nimport ray later",
        )
    return None


@contextmanager
def _kept(ray: Any) -> Iterator[Cluster]:
    yield Cluster(ray.get_runtime_context().gcs_address, _machines(ray))


@contextmanager
def _local(cores: int) -> Iterator[Cluster]:
    variables = {
        **_QUIET,
        # On Linux too, all of it then listens on loopback alone, as on Windows and on a Mac.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _token(),
    }
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=_short_folder()))
    try:
        with _environment(variables):
            ray = require("ray")
            with _connected(
                ray,
                address="local",
                num_cpus=cores,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=str(folder),
            ):
                _check_loopback(ray)
                yield Cluster(None, _machines(ray))
    finally:
        discard_folder(folder)


@contextmanager
def _joined(address: str) -> Iterator[Cluster]:
    if address != "auto":
        _check_answers(address)
    with _environment(_QUIET):
        ray = require("ray")
        if ray.is_initialized():
            yield Cluster(address, _machines(ray))
            return
        with _connected(ray, address=address):
            yield Cluster(address, _machines(ray))


def _check_answers(address: str) -> None:
    """Ask first: Ray itself tries for two minutes and then ends the process."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise ConfigError(
            f"{address!r} is no address of a Ray cluster",
            where="--runner-address",
            fix="host:port of its head, such as 10.0.0.1:6379, on a machine of the cluster",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise EmbeddingError(
            f"no Ray cluster answers: {first_line(error)}",
            where=address,
            fix=f"ray start --head --port {port}   (on that machine)\n"
            "leave out --runner-address   (workers on this machine)",
        ) from error


@contextmanager
def _connected(ray: Any, **settings: Any) -> Iterator[None]:
    before = _sigterm()
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (Exception, SystemExit) as error:
        ray.shutdown()
        raise _not_usable(settings["address"], error) from error
    finally:
        # Ray's own would end this process with its work half put down.
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    try:
        yield
    finally:
        ray.shutdown()


def _not_usable(address: str, error: BaseException) -> EmbeddingError:
    # Ray ends the process where it waits too long.
    why = "it gave up waiting" if isinstance(error, SystemExit) else first_line(error)
    if address == "local":
        what, fix = "Ray does not start here", "run the same command again when less is running"
    else:
        what, fix = "Ray cannot be used", "install the Python and the Ray that the cluster has"
    return EmbeddingError(f"{what}: {why}", where=address, fix=f"{fix}\nleave out --runner")


def _sigterm() -> Any:
    is_main = threading.current_thread() is threading.main_thread()
    return signal.getsignal(signal.SIGTERM) if is_main else None


def _check_loopback(ray: Any) -> None:
    """Fail closed where a coming version of Ray reads its environment in another way."""
    found = [node["NodeManagerAddress"] for node in ray.nodes()]
    others = [one for one in found if one not in {"127.0.0.1", "::1"}]
    if others:
        raise EmbeddingError(
            "Ray listens on more than the loopback interface",
            details=others,
            fix='pip install "ray[data]==2.60.0"',
        )


def _machines(ray: Any) -> tuple[Machine, ...]:
    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple(Machine(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in have)


@cache
def _token() -> str:
    # Once: Ray reads it when it is imported, and keeps it.
    return secrets.token_hex(32)


def _short_folder() -> str | None:
    usual = tempfile.gettempdir()
    return "/tmp" if os.name == "posix" and len(usual) > LONGEST_FOLDER else None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
