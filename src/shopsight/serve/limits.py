"""The service's limits: every one a number, and each answer that refuses says which.

What a client sends decides nothing but whether it fits in here: a service that takes whatever comes
is stopped by the first picture of 13,000 x 13,000 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from shopsight.images.kinds import kind_of_bytes

FORMATS = ("jpeg", "png", "webp", "gif", "bmp", "avif")
"""Kinds of `shopsight.images.kinds` that are read; of animations the first frame."""


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take.

    Attributes:
        body_bytes: of a request's body.
        pixels: of an image after the JPEG decoder's own scaling, so that photos of phones pass.
        files: images in a request.
        field_bytes: of a form's text field.
        fields: text fields in a form.
        header_bytes: of a request's line and headers.
        header_seconds: from the first byte of a request to the end of its headers.
        body_seconds: from there to the end of the body.
        stalled_seconds: between two pieces of a body.
        bodies_bytes: of all bodies that are held at a time.
        decode_bytes: memory for all images that are decoded at a time.
        queue_seconds: of work that waits; who comes later is asked to come again.
        connections: open at a time.
        keep_alive_seconds: between two requests of a connection.
        drain_seconds: from a signal to stop until nobody new is let in.
        stop_seconds: for requests that are under way by then.
    """

    body_bytes: int = 20_000_000
    pixels: int = 25_000_000
    files: int = 64
    field_bytes: int = 1_000_000
    fields: int = 20
    header_bytes: int = 16_384
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    stalled_seconds: float = 10.0
    bodies_bytes: int = 256_000_000
    decode_bytes: int = 1_000_000_000
    queue_seconds: float = 10.0
    connections: int = 500
    keep_alive_seconds: int = 5
    drain_seconds: float = 1.5
    stop_seconds: int = 20

    def to_json(self) -> dict[str, object]:
        """Those that a client has to know."""
        return {
            "body_bytes": self.body_bytes,
            "pixels": self.pixels,
            "files": self.files,
            "formats": list(FORMATS),
        }


def is_taken(data: bytes) -> bool:
    """Whether the bytes begin as an image of a kind that is read."""
    return kind_of_bytes(data) in FORMATS
