"""A server that stops without losing a request.

On a signal `/readyz` says 503, so that a balancer sends nobody new, and every answer closes its
connection; for a moment connections are still accepted. Then what waits in the kernel's queue is
accepted until it is empty, the listener is closed, and what is under way is finished. A second
signal stops at once.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from shopsight.serve.connections import LimitedConnection
from shopsight.serve.limits import Limits

_ARRIVAL_SECONDS = 0.5
"""For the header of a connection that was accepted last."""


class DrainingServer(uvicorn.Server):
    """Serves on one socket until a signal comes.

    Args:
        config: of uvicorn.
        limits: how long stopping takes.
        on_drain: called when the first signal comes, in the event loop.
        on_reload: called on SIGHUP, in the event loop.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        limits: Limits,
        *,
        on_drain: Callable[[], None],
        on_reload: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._limits = limits
        self._on_drain, self._on_reload = on_drain, on_reload
        self._stops_at: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve; from now on SIGHUP, where there is one, asks for a reload."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends at once."""
        if self._stops_at is not None:
            self.force_exit = self.should_exit = True
            return
        self._stops_at = time.monotonic() + self._limits.drain_seconds
        self._soon(self._on_drain)

    def handle_reload(self, sig: int, frame: FrameType | None) -> None:
        """Ask for a reload."""
        self._soon(self._on_reload)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal has come and everything is answered."""
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is None:
            await super().serve(sockets)
            return
        before = signal.signal(hangup, self.handle_reload)
        try:
            await super().serve(sockets)
        finally:
            signal.signal(hangup, before)

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop now."""
        if self._stops_at is not None and time.monotonic() >= self._stops_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept what the kernel holds, close the listener, finish what is under way."""
        if not self.force_exit:
            await self._accept_the_rest(sockets or [])
            await self._wait_for_headers()
        await super().shutdown(sockets)

    async def _accept_the_rest(self, sockets: list[socket.socket]) -> None:
        # A copy of the socket keeps the kernel's queue when asyncio's own is closed.
        copies = [one.dup() for one in sockets]
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        loop = asyncio.get_running_loop()
        for listener in copies:
            listener.setblocking(False)
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # EAGAIN: the queue is empty
                    break
                connection.setblocking(False)
                await loop.connect_accepted_socket(self._connection, connection)
            listener.close()

    async def _wait_for_headers(self) -> None:
        """Until every connection has asked something: one that was just accepted has not yet."""
        ends = time.monotonic() + _ARRIVAL_SECONDS
        while time.monotonic() < ends and not self.force_exit:
            # Twice through the loop: what lies in the sockets is read.
            await asyncio.sleep(0.02)
            if all(getattr(one, "has_asked", True) for one in self.server_state.connections):
                return

    def _connection(self) -> LimitedConnection:
        made: Any = self.config.http_protocol_class
        connection: LimitedConnection = made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return connection

    def _soon(self, call: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)
