"""Serve: a model answers over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shopsight.commands.early_checks import check_model
from shopsight.errors import ConfigError
from shopsight.extras import require_installed

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
LOCAL_HOST, DEFAULT_PORT = "127.0.0.1", 8000


def serve(
    model: str | Path,
    *,
    index: str | Path | None = None,
    host: str = LOCAL_HOST,
    port: int = DEFAULT_PORT,
    read_key_file: str | Path | None = None,
    write_key_file: str | Path | None = None,
    open_to_all: bool = False,
    allow_origins: Sequence[str] = (),
    device: str = "auto",
) -> None:
    """Answer over HTTP until a signal to stop comes.

    Args:
        model: a run or a bundle.
        index: is searched and changed; this process is its only owner as long as it serves.
        host: the address to listen on; others than this machine's own need a read key.
        port: 0 takes any that is free.
        read_key_file: a file with the key that clients send; None: SHOPSIGHT_READ_KEY, if set.
        write_key_file: of the key that changes the index or the model; None: SHOPSIGHT_WRITE_KEY.
        open_to_all: listen on a network without a read key.
        allow_origins: sites whose pages may ask from a browser, such as "https://shop.example".
        device: see `shopsight.devices`.

    Raises:
        ExtraMissingError: The extra `serve` is not installed.
        ConfigError: The port is in use, a key cannot be read, or none guards an open address.
        BundleError: The model cannot be loaded.
        SearchError: There is no index.
        LockedError: Another process has it open.
        EmbeddingError: It is of another space than the model's.
    """
    for module in NEEDED:
        require_installed(module)
    from shopsight.serve.host_check import host_check, is_loopback
    from shopsight.serve.keys import read_keys
    from shopsight.serve.server import Place, run_service

    keys = read_keys(_path(read_key_file), _path(write_key_file))
    if not is_loopback(host) and keys.read is None and not open_to_all:
        raise ConfigError(
            f"{host} is reached by others, and no read key keeps them out",
            where="--host",
            fix="--read-key-file FILE, or --open to let everybody ask",
        )
    hosts = host_check(host, tuple(allow_origins))
    check_model(model)

    from shopsight.serve.served_model import load_served

    place = Place(host, port, keys, hosts, _path(index))
    run_service(place, lambda: load_served(model, device=device))


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)
