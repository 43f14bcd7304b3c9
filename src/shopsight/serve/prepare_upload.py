"""From uploaded bytes to the network's input, within the service's limits."""

from __future__ import annotations

from shopsight.errors import ImageError
from shopsight.images.damage import find_damage
from shopsight.images.decode import header
from shopsight.images.jpeg import is_jpeg, jpeg_header, shrunk_size
from shopsight.images.kinds import KINDS, kind_of_bytes
from shopsight.images.model_input import jpeg_shrink, preprocess_image
from shopsight.inference.inputs import Prepared
from shopsight.preprocess import Preprocess
from shopsight.serve.limits import FORMATS, Limits, is_taken

UPLOAD = "the image"
"""Names of files are the client's own: they are in no answer and no log."""


def prepare_upload(data: bytes, preprocess: Preprocess, limits: Limits) -> Prepared:
    """Decode an upload and fit it into the network's square; what is wrong comes as its `error`.

    Called from several threads at once.
    """
    try:
        check_upload(data, preprocess, limits)
        pixels = preprocess_image(data, preprocess)
        return Prepared(UPLOAD, pixels, None, find_damage(data))
    except ImageError as error:
        return Prepared(UPLOAD, None, error)


def check_upload(data: bytes, preprocess: Preprocess, limits: Limits) -> None:
    """Refuse by its first bytes what would take too long or too much memory.

    A decoder in a thread cannot be stopped: how many pixels it makes is the only time-out.

    Raises:
        ImageError: "empty", "unsupported" or "too large".
    """
    if not data:
        raise ImageError("empty", "no bytes")
    if not is_taken(data):
        kind = KINDS.get(kind_of_bytes(data) or "")
        found = "not an image" if kind is None else kind.words
        names = ", ".join(FORMATS)
        raise ImageError("unsupported", f"{found}; this service reads {names}")
    if is_jpeg(data):
        jpeg = jpeg_header(data)
        width, height = jpeg.width, jpeg.height
        made = shrunk_size(width, height, jpeg_shrink(jpeg, preprocess))
    else:
        known = header(data)
        width, height = known.width, known.height
        made = width, height
    if made[0] * made[1] > limits.pixels:
        raise ImageError(
            "too large",
            f"{width:,} x {height:,} pixels; this service decodes {limits.pixels:,} at most",
            fix="send it smaller: the network sees a few hundred pixels a side",
        )
