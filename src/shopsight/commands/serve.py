"""Serve: a model answers over HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shopsight.commands.early_checks import check_model
from shopsight.errors import ConfigError
from shopsight.extras import require_installed
from shopsight.output_locks import only_writer_of_folder
from shopsight.output_paths import check_output_path
from shopsight.read_options import ReadOptions

if TYPE_CHECKING:
    from shopsight.desk.desk import Desk
    from shopsight.serve.served_model import ServedModel

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
    review: str | Path | None = None,
    review_folder: str | Path | None = None,
    read: ReadOptions | None = None,
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
        review: a run or DATA whose labels are reviewed at `/review`, by whoever has the write key.
        review_folder: of the decisions; None: beside the data, by its name.
        read: how the data to review is read.
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

    desk_key, open_desk = None, None
    alone: AbstractContextManager[None] = nullcontext()
    if review is not None:
        folder = _desk_folder(review, review_folder)
        open_desk = partial(_open_desk, review, folder, read)
        # Two desks on one folder would not see each other's decisions.
        alone = only_writer_of_folder(folder)
        if keys.write is None:
            # For this process alone: it is printed with the desk's address.
            desk_key = secrets.token_urlsafe(24)
            keys = replace(keys, write=desk_key.encode())
    place = Place(host, port, keys, hosts, _path(index), open_desk, desk_key)
    with alone:
        run_service(place, lambda: load_served(model, device=device))


def _desk_folder(review: str | Path, folder: str | Path | None) -> Path:
    if folder is None:
        place = Path(review)
        folder = place.with_name(f"{place.stem}-desk") if place.name else Path("desk")
    check_output_path(Path(folder) / "decisions.csv")
    return Path(folder)


def _open_desk(
    review: str | Path, folder: Path, read: ReadOptions | None, model: ServedModel
) -> Desk:
    from shopsight.desk.desk import Desk
    from shopsight.desk.suggestions import suggest

    return Desk(suggest(review, model.predictor, read=read), folder)


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)
