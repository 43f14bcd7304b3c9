"""Bodies of requests: read within the limits, and taken apart into images and text fields.

A form is parsed in memory: starlette's parser puts files beyond 1 MB into the folder for temporary
files, which a container with a read-only file system does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
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
_HELD = "shopsight.held_body"


@dataclass(frozen=True)
class ImageBody:
    """What a body holds.

    Attributes:
        images: files, in their order.
        fields: text fields by name; of several with one name the last.
    """

    images: tuple[bytes, ...]
    fields: dict[str, str] = field(default_factory=dict)


class HeldBody:
    """What a request holds of its body, from the first byte to the end of its answer.

    Attributes:
        count: bytes that are counted for it.
        waiting: for its next piece; None before and after it is read.
        given_up: it made room for others.
    """

    def __init__(self) -> None:
        self.count = 0
        self.waiting: asyncio.Timeout | None = None
        self.given_up = False


class BodyReader:
    """Reads bodies of requests; all that are held at a time share one measure.

    Where there is no room for another piece, the largest body that is still on its way is given up:
    a few clients that send much and slowly keep out nobody who sends a photo.

    Args:
        limits: what a body may be, and how long it may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held_bytes = 0
        self._on_their_way: set[HeldBody] = set()

    @contextmanager
    def holding(self, scope: MutableMapping[str, Any]) -> Iterator[None]:
        """A block in which a request is answered; its body counts until it ends.

        Args:
            scope: of the request.
        """
        held = scope[_HELD] = HeldBody()
        try:
            yield
        finally:
            self._held_bytes -= held.count

    async def read(self, request: Request) -> bytes:
        """The request's body, within a block of `holding`.

        Raises:
            RefusedError: The body is larger than the limit, or too slow, or too many are held.
            ClientLeftError: The client went away while it sent the body.
        """
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._limits.body_bytes:
            raise self._too_large()
        held: HeldBody = request.scope[_HELD]
        self._on_their_way.add(held)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await self._pieces(request, held)
        except TimeoutError:
            if held.given_up:
                raise self._no_room() from None
            raise RefusedError(
                408,
                "the body came too slowly",
                fix="send smaller images: JPEGs of 1,000 pixels a side are enough",
                headers={"Connection": "close"},
            ) from None
        finally:
            self._on_their_way.discard(held)
            held.waiting = None

    async def _pieces(self, request: Request, held: HeldBody) -> bytes:
        body = bytearray()
        while True:
            async with asyncio.timeout(self._limits.stalled_seconds) as held.waiting:
                message = await request.receive()
            if held.given_up:
                raise self._no_room()
            if message["type"] == "http.disconnect":
                raise ClientLeftError
            piece = message.get("body", b"")
            self._grow(held, len(piece))
            body += piece
            if len(body) > self._limits.body_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _grow(self, held: HeldBody, count: int) -> None:
        """Count a piece, for which others may have to go.

        Raises:
            RefusedError: no other body on its way is larger than this one.
        """
        while self._held_bytes + count > self._limits.bodies_bytes:
            largest = max(self._on_their_way, key=lambda one: one.count)
            if largest.count <= held.count:
                raise self._no_room()
            self._give_up(largest)
        self._held_bytes += count
        held.count += count

    def _give_up(self, held: HeldBody) -> None:
        self._on_their_way.discard(held)
        self._held_bytes -= held.count
        held.count, held.given_up = 0, True
        if held.waiting is not None:
            held.waiting.reschedule(asyncio.get_running_loop().time())

    def _no_room(self) -> RefusedError:
        refused = come_again(429, "too many uploads at a time", BUSY_SECONDS)
        refused.headers["Connection"] = "close"
        return refused

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
