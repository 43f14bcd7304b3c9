"""Bodies of requests: read within the limits, and taken apart into images and text fields.

A form is parsed in memory: starlette's parser puts files beyond 1 MB into the folder for temporary
files, which a container with a read-only file system does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from shopsight.serve.limits import Limits
from shopsight.serve.refusals import ClientLeftError, RefusedError, come_again

FORM = "multipart/form-data"
FILE_FIELD = "file"
RAW_TYPES = ("application/octet-stream",)
BUSY_SECONDS = 2.0

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(frozen=True)
class ImageBody:
    """What a body holds.

    Attributes:
        images: files, in their order.
        fields: text fields by name; of several with one name the last.
    """

    images: tuple[bytes, ...]
    fields: dict[str, str] = field(default_factory=dict)


class BodyReader:
    """Reads bodies of requests; all that are held at a time share one measure.

    Args:
        limits: what a body may be, and how long it may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held_bytes = 0

    @contextmanager
    def holding(self, request: Request) -> Iterator[Callable[[], Awaitable[bytes]]]:
        """A block in which the request's body is held; what it yields reads it.

        Raises:
            RefusedError: The body is larger than the limit, or too slow, or too many are held.
            ClientLeftError: The client went away while it sent the body.
        """
        held = 0

        def grow(count: int) -> None:
            nonlocal held
            if self._held_bytes + count > self._limits.bodies_bytes:
                raise come_again(503, "too many uploads at a time", BUSY_SECONDS)
            self._held_bytes += count
            held += count

        try:
            yield lambda: self._read(request, grow)
        finally:
            self._held_bytes -= held

    async def _read(self, request: Request, grow: Callable[[int], None]) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limits.body_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    async with asyncio.timeout(self._limits.stalled_seconds):
                        message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeftError
                    piece = message.get("body", b"")
                    grow(len(piece))
                    body += piece
                    if len(body) > self._limits.body_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise RefusedError(
                408,
                "the body came too slowly",
                fix="send smaller images: JPEGs of 1,000 pixels a side are enough",
                headers={"Connection": "close"},
            ) from None

    def _too_large(self) -> RefusedError:
        most = self._limits.body_bytes // 1_000_000
        return RefusedError(
            413,
            f"the body is larger than {most} MB",
            fix="send fewer or smaller images in a request",
        )


def image_body(body: bytes, content_type: str, limits: Limits) -> ImageBody:
    """Take a body apart: a form with fields `file`, or the bytes of one image.

    Args:
        body: all of it.
        content_type: the header's value.
        limits: how many files and fields there may be.

    Raises:
        RefusedError: It is neither, it is cut off, or holds too much.
    """
    kind, options = parse_options_header(content_type)
    kind_name = kind.decode("latin-1")
    if kind_name == FORM:
        return _form(body, options.get(b"boundary", b""), limits)
    if kind_name.startswith("image/") or kind_name in RAW_TYPES:
        if not body:
            raise RefusedError(400, "the body is empty", fix="send the bytes of an image")
        return ImageBody((body,))
    raise RefusedError(
        415,
        "the body is neither a form nor an image",
        fix=f"send {FORM} with fields named {FILE_FIELD}, or an image as image/jpeg",
    )


def _form(body: bytes, boundary: bytes, limits: Limits) -> ImageBody:
    if not boundary:
        raise RefusedError(400, "the form names no boundary", fix="let the client's library set it")
    parts = _Parts(limits)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise RefusedError(400, "the form is damaged", fix="send it again") from None
    if not parts.ended:
        raise RefusedError(400, "the form is cut off", fix="send it again")
    return ImageBody(tuple(parts.images), parts.fields)


class _Parts:
    """Collects the parts of a form."""

    def __init__(self, limits: Limits) -> None:
        self.images: list[bytes] = []
        self.fields: dict[str, str] = {}
        self.ended = False
        self._limits = limits
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._pieces = bytearray()

    def callbacks(self) -> Any:
        """The parser's, by its names."""
        names = ("part_begin", "header_field", "header_value", "header_end", "part_data")
        known = {f"on_{name}": getattr(self, f"_{name}") for name in (*names, "part_end")}
        return known | {"on_end": self._end}

    def _part_begin(self) -> None:
        self._headers, self._pieces = {}, bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces += data[start:end]

    def _part_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == FILE_FIELD:
            if len(self.images) == self._limits.files:
                raise RefusedError(
                    413,
                    f"more than {self._limits.files} files in one request",
                    fix="send them in several requests",
                )
            self.images.append(bytes(self._pieces))
            return
        if len(self._pieces) > self._limits.field_bytes or len(self.fields) >= self._limits.fields:
            raise RefusedError(413, "the form's text fields are too long, or too many")
        self.fields[name] = self._pieces.decode("utf-8", "replace")

    def _end(self) -> None:
        self.ended = True
