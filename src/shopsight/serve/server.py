"""The process: a socket, a model, an event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from shopsight.errors import ConfigError
from shopsight.memory import memory_budget_bytes, memory_limit_bytes, use_memory_budget
from shopsight.progress import notify
from shopsight.search.index import open_index
from shopsight.serve.app import create_app
from shopsight.serve.connections import limited
from shopsight.serve.drain import DrainingServer
from shopsight.serve.guard import bug_line
from shopsight.serve.host_check import HostCheck
from shopsight.serve.image_bodies import BodyReader
from shopsight.serve.keys import Keys
from shopsight.serve.limits import Limits
from shopsight.serve.metrics import ServiceMetrics
from shopsight.serve.refusals import RefusedError
from shopsight.serve.served_index import ServedIndex
from shopsight.serve.served_model import ServedModel
from shopsight.serve.service import Service
from shopsight.serve.watch import reload_when_replaced
from shopsight.serve.work_queue import WorkQueue
from shopsight.text import human_bytes

if TYPE_CHECKING:
    # What suggests labels needs what trains; a service without a desk does not.
    from shopsight.desk.desk import Desk
    from shopsight.desk.retraining import Retraining

BACKLOG = 512
MOST_PORT = 65_535


@dataclass(frozen=True)
class Place:
    """Where and for whom to serve.

    Attributes:
        host: an address or a name of this machine.
        port: 0 takes any free one.
        keys: of clients.
        hosts: by which names it may be asked.
        index: that is searched; None has none.
        open_desk: opens the review desk; None has none.
        desk_key: that the desk's address is printed with; None where the user has the key.
    """

    host: str
    port: int
    keys: Keys
    hosts: HostCheck
    index: Path | None = None
    open_desk: Callable[[ServedModel], Desk] | None = None
    desk_key: str | None = None


def run_service(
    place: Place, load: Callable[[], ServedModel], limits: Limits | None = None
) -> None:
    """Serve until a signal to stop has come and everything is answered.

    Args:
        place: where and for whom.
        load: loads the model, now and for each reload.
        limits: None for the usual ones.

    Raises:
        ConfigError: The port is in use, or the host is not of this machine.
        BundleError: The model cannot be loaded.
        SearchError: There is no index.
        LockedError: Another process has it open.
        EmbeddingError: It is of another space than the model's.
    """
    limits = limits or Limits()
    decode_bytes = min(limits.decode_bytes, memory_budget_bytes())
    # Before the model, which takes seconds: a port in use is known at once.
    with (
        bound_socket(place.host, place.port) as listener,
        use_memory_budget(decode_bytes / 1e9),
        nullcontext(None) if place.index is None else open_index(place.index) as opened,
    ):
        if decode_bytes < limits.decode_bytes:
            notify(
                f"only {human_bytes(memory_limit_bytes() or 0)} of memory: images that take more "
                f"than {human_bytes(decode_bytes)} to decode are refused"
            )
        model = load()
        notify(f"{model.name}: {model.predictor.engine.name}, {model.plan.line()}")
        index = None if opened is None else ServedIndex(opened, model)
        desk = None if place.open_desk is None else place.open_desk(model)
        with model.plan.threads():
            asyncio.run(_serve(place, load, model, index, desk, limits, listener))


def bound_socket(host: str, port: int) -> socket.socket:
    """Take an address and listen on it.

    Raises:
        ConfigError: It is in use, not of this machine, or not allowed to this user.
    """
    where = f"--host {host} --port {port}"
    if not 0 <= port <= MOST_PORT:
        # The system would take the last 16 bits of it.
        raise ConfigError(f"a port is at most {MOST_PORT}", where=where, fix="--port 8000")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"no such address: {error}", where=where, fix="--host 127.0.0.1"
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform == "win32":
            # There, SO_REUSEADDR lets two processes listen on one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Now, so that whoever comes meanwhile waits in the kernel's queue and loses nothing.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen there: {error.strerror or error}",
            where=where,
            fix="name another port with --port, or 0 for any that is free",
        ) from error
    return listener


async def _serve(
    place: Place,
    load: Callable[[], ServedModel],
    model: ServedModel,
    index: ServedIndex | None,
    desk: Desk | None,
    limits: Limits,
    listener: socket.socket,
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_tell_bug)
    metrics = ServiceMetrics()
    metrics.serve(model)
    service = Service(
        model=model,
        load=load,
        queue=WorkQueue(model, limits, metrics),
        bodies=BodyReader(limits),
        limits=limits,
        keys=place.keys,
        hosts=place.hosts,
        metrics=metrics,
        index=index,
        desk=desk,
        retraining=None if desk is None else _retraining(desk),
    )
    server = DrainingServer(
        _uvicorn_config(create_app(service), limits),
        limits,
        on_drain=lambda: _begin_drain(service),
        on_reload=lambda: _begin_reload(service),
    )
    notify(f"serving at {shown_address(listener)} (Ctrl-C stops)")
    if desk is not None:
        key = "" if place.desk_key is None else f"#key={place.desk_key}"
        notify(f"review desk: {shown_address(listener)}/review{key}")
    watching = asyncio.ensure_future(reload_when_replaced(service))
    try:
        await server.serve([listener])
    finally:
        watching.cancel()
        service.close()
    notify("stopped")


def _retraining(desk: Desk) -> Retraining:
    from shopsight.desk.retraining import Retraining

    return Retraining(desk)


def _uvicorn_config(app: Any, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=limited(limits),
        ws="none",
        lifespan="off",
        interface="asgi3",
        h11_max_incomplete_event_size=limits.header_bytes,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.stop_seconds,
        backlog=BACKLOG,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_config=None,
        # It logs tracebacks with paths, and what clients send; ours are in `Guard`.
        log_level=logging.CRITICAL + 1,
    )


def shown_address(listener: socket.socket) -> str:
    """The URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _begin_drain(service: Service) -> None:
    service.draining = True
    notify("stopping: requests that are under way are answered (a second signal stops at once)")


def _begin_reload(service: Service) -> None:
    async def reload() -> None:
        try:
            await service.reload()
        except RefusedError as refused:
            notify(f"reload: {refused.what}")

    service.tasks.add(task := asyncio.ensure_future(reload()))
    task.add_done_callback(service.tasks.discard)


def _tell_bug(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    notify(f"error: {bug_line(error) if error else context.get('message', 'unknown')}")
