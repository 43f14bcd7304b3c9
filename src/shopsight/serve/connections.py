"""One connection: uvicorn's, with the time-outs and the limits that it lacks.

uvicorn waits for ever for the rest of a header or a body. Here a timer runs whenever a request has
begun and is not there yet, and a connection beyond the limit is closed at once.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from shopsight.serve.limits import Limits

_LATE_SECONDS = 5.0
"""The app's own time-out for a body answers first."""


class LimitedConnection(H11Protocol):
    """Bound to the limits by `limited`."""

    limits = Limits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._timed: type[h11._util.Sentinel] | None = None

    @property
    def has_asked(self) -> bool:
        """Whether a whole header has come."""
        return self.cycle is not None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        self._time(h11.IDLE, self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._untime()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._time(state, self.limits.body_seconds + _LATE_SECONDS)
        elif state is h11.IDLE and self.conn.trailing_data[0]:
            self._time(state, self.limits.header_seconds)
        else:
            self._untime()

    def send_400_response(self, msg: str) -> None:
        """Answer in JSON what is no HTTP, or has too large a header."""
        self._untime()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE} and not self.transport.is_closing():
            error = {"what": "no HTTP request, or a header that is too large", "fix": None}
            body = json.dumps({"error": error}).encode()
            self.transport.write(
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
        self.transport.close()

    def _time(self, state: Any, seconds: float) -> None:
        """Run a timer for a state, unless it runs: pieces that trickle in do not reset it."""
        if self._timer is not None and self._timed is state:
            return
        self._untime()
        self._timed = state
        self._timer = self.loop.call_later(seconds, self._close)

    def _untime(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


def limited(limits: Limits) -> type[LimitedConnection]:
    """The class of connections with these limits."""
    return type("LimitedConnection", (LimitedConnection,), {"limits": limits})
