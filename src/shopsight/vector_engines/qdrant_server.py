"""The connection to a Qdrant server: its address, its key, and what goes wrong with it.

Only the address that the user named is contacted: the client's own question for the server's
version is switched off, redirects are not followed, and it sends no telemetry. A key is read from
the environment alone and written nowhere.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from shopsight.address_secrets import masked
from shopsight.control_characters import one_line
from shopsight.errors import SearchError, first_line
from shopsight.extras import require

KEY_VARIABLE = "SHOPSIGHT_QDRANT_KEY"
PORT = 6333
TIMEOUT_S = 60
"""Without an answer for so long, a server counts as too slow."""
LONGEST_REASON = 300
_LIBRARIES = ("qdrant_client", "httpx", "httpcore", "pydantic", "pydantic_core")

Got = TypeVar("Got")


def plain_url(url: str) -> str:
    """An address as it is kept, without a slash at the end.

    Raises:
        SearchError: it is not of the form http://host:6333, or holds a password or a key.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # A port that is no number, half a bracket.
        usable = False
    if not usable:
        raise SearchError(
            f"{masked(url)!r} is not an address of a server",
            where="--url",
            fix=f"--url http://host:{PORT}",
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SearchError(
            "an address with a password or a key in it would be written into the index",
            where="--url",
            fix=f"set {KEY_VARIABLE} to the server's key, and leave it out of the address",
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


class QdrantServer:
    """A server or cluster by its address. Nothing is asked of it before the first `call`.

    Args:
        url: its address.
        timeout_s: how long an answer may take.

    Raises:
        SearchError: that is no address.
        ExtraMissingError: the extra `search` is not installed.
    """

    def __init__(self, url: str, *, timeout_s: int = TIMEOUT_S) -> None:
        self.url = plain_url(url)
        self.timeout_s = timeout_s
        library = require("qdrant_client")
        self.models = require("qdrant_client.models")
        parts = urlsplit(self.url)
        with warnings.catch_warnings():
            # Of a key over http: docs/vector-engines.md says when that is no secret.
            warnings.simplefilter("ignore", UserWarning)
            self.client = library.QdrantClient(
                url=f"{parts.scheme}://{parts.netloc}",
                port=443 if parts.scheme == "https" else PORT,
                prefix=parts.path.strip("/") or None,
                api_key=os.environ.get(KEY_VARIABLE) or None,
                timeout=timeout_s,
                check_compatibility=False,
            )

    def call(self, request: Callable[[Any], Got]) -> Got:
        """Give the client to a request, and what it answers.

        Raises:
            SearchError: the server cannot be reached, is too slow, or refuses.
        """
        try:
            return request(self.client)
        except Exception as error:
            library = type(error).__module__.partition(".")[0]
            if not isinstance(error, OSError | ValueError) and library not in _LIBRARIES:
                raise
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def _failed(self, error: Exception) -> SearchError:
        """An error of the library's as one that says what to do.

        The library wraps what the network said (`source`), and keeps the answer of a server that
        refused (`status_code`, `content`).
        """
        status = getattr(error, "status_code", None)
        if status is not None:
            return self._refused(int(status), getattr(error, "content", b""))
        cause = getattr(error, "source", error)
        name = type(cause).__name__
        if "Timeout" in name:
            return SearchError(
                f"the server did not answer within {self.timeout_s} s",
                where=self.url,
                fix="run the same command again, when the server has less to do: nothing is lost",
            )
        if "ValidationError" in name or "JSONDecodeError" in name:
            return SearchError(
                "what answers there is no Qdrant server that this version of qdrant-client knows",
                where=self.url,
                fix=f"--url http://host:{PORT}   (the port of its REST interface)",
            )
        return SearchError(
            f"the server cannot be reached: {masked(first_line(cause)) or name}",
            where=self.url,
            fix="see that a Qdrant server listens there, and run the same command again: nothing "
            "is lost",
        )

    def _refused(self, status: int, content: bytes) -> SearchError:
        if status in (401, 403):
            what = "another key" if os.environ.get(KEY_VARIABLE) else "a key"
            return SearchError(
                f"the server asks for {what} (HTTP {status})",
                where=self.url,
                fix=f"set {KEY_VARIABLE} to the server's key",
            )
        return SearchError(
            f"the server refuses (HTTP {status}): {_reason(content)}",
            where=self.url,
            fix="see the server's log; run the same command again: nothing is lost",
        )


def _reason(content: bytes) -> str:
    """What the server says of its refusal, in one line: it is not ours, and may hold anything."""
    try:
        said = str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        said = content.decode("utf-8", "replace")
    return masked(one_line(said))[:LONGEST_REASON] or "without a reason"
