"""What the service says when it does not do what it was asked."""

from __future__ import annotations

import math
import random
from typing import Any

from starlette.responses import JSONResponse

from shopsight.errors import ShopsightError

JITTER_SECONDS = 2.0
"""Clients that were refused together do not come back together."""


class RefusedError(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        what: one sentence, without a path and without the client's names.
        fix: what to do; None where nothing can be done.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        fix: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(what)
        self.status, self.what, self.fix = status, what, fix
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        """The answer."""
        return error_response(self.status, self.what, fix=self.fix, headers=self.headers)


class ClientLeftError(Exception):
    """The client closed the connection before its answer was there."""


def error_response(
    status: int, what: str, *, fix: str | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as every route answers it."""
    content: dict[str, Any] = {"error": {"what": what, "fix": fix}}
    return JSONResponse(content, status_code=status, headers=headers)


def of_error(status: int, error: ShopsightError) -> RefusedError:
    """A mistake of the client that the library found, without where it found it."""
    return RefusedError(status, error.what, fix=error.fix)


def come_again(status: int, what: str, seconds: float) -> RefusedError:
    """Ask the client to come again after so many seconds, and a few by chance."""
    wait = max(1, math.ceil(seconds + random.uniform(0, JITTER_SECONDS)))
    return RefusedError(
        status,
        what,
        fix=f"ask again in {wait} s",
        headers={"Retry-After": str(wait)},
    )
