"""The door of the service: who may come in, what is counted, and what an error shows.

It stands before FastAPI, so that nothing of a request is read before its host, its origin and its
key are known to be right.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shopsight.progress import notify
from shopsight.serve.refusals import RefusedError, error_response
from shopsight.serve.service import Service

OPEN_ROUTES = frozenset({"/", "/review", "/healthz", "/readyz", "/docs", "/openapi.json"})
"""Need no key: they say nothing of the model. Every other route does, known or not."""
OPEN_FOLDER = "/static/"
WRITE_ROUTES = frozenset({"/v1/index", "/v1/reload"})
READ_ROUTES = frozenset({"/v1/models", "/v1/predict", "/v1/embed", "/v1/search", "/metrics"})
ITEMS_FOLDER = "/v1/items/"
REVIEW_FOLDER = "/v1/review/"
"""All of it needs the write key."""
CLIENT_LEFT = 499


class Guard:
    """An ASGI application before another one.

    Args:
        app: answers what is let in.
        service: whose host check, keys and metrics these are.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), CLIENT_LEFT

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._mark(message)
            await send(message)

        try:
            with self._service.bodies.holding(scope):
                await self._refusal_or_app(scope)(scope, receive, send_marked)
        except Exception as error:
            # The answer was sent, see `internal_error`; which of our lines it was, and no paths.
            notify(f"error: {bug_line(error)}")
        route = route_name(scope["path"])
        self._service.metrics.answered(route, status, time.perf_counter() - started)

    def _refusal_or_app(self, scope: Scope) -> ASGIApp:
        headers = Headers(scope=scope)
        try:
            self._service.hosts.check(headers.get("host", ""), headers.get("origin"))
            if scope["method"] != "OPTIONS":
                self._check_key(scope["path"], headers.get("authorization", ""))
        except RefusedError as refused:
            return refused.response()
        return self._app

    def _check_key(self, path: str, authorization: str) -> None:
        keys = self._service.keys
        if path in WRITE_ROUTES or path.startswith(REVIEW_FOLDER):
            if keys.write is None:
                raise RefusedError(
                    403, "this service has no write key", fix="start it with --write-key-file"
                )
            allowed = keys.may_write(authorization)
        elif path in OPEN_ROUTES or path.startswith(OPEN_FOLDER):
            return
        else:
            allowed = keys.may_read(authorization)
        if not allowed:
            raise RefusedError(
                401,
                "no key, or a wrong one",
                fix="send the header Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _mark(self, message: MutableMapping[str, Any]) -> None:
        headers = MutableHeaders(raw=message["headers"])
        headers["X-Content-Type-Options"] = "nosniff"
        headers.setdefault("Cache-Control", "no-store")
        if self._service.draining:
            headers["Connection"] = "close"


def route_name(path: str) -> str:
    """A route's name for metrics: no path that a client made up."""
    if path in OPEN_ROUTES | WRITE_ROUTES | READ_ROUTES:
        return path
    for folder in (OPEN_FOLDER, ITEMS_FOLDER, REVIEW_FOLDER):
        if path.startswith(folder):
            return folder
    return "other"


def internal_error() -> Response:
    """The answer where shopsight has a bug."""
    return error_response(500, "an error inside the service", fix="the service's log says where")


def bug_line(error: BaseException) -> str:
    """A bug in a line: its kind, and the function and line of it; no path, nothing of a client."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
