"""The verdict on a file that decodes: are its pixels those it once held?

Decoding for the network goes on where it can. Whether something was lost on the way is asked here,
by all verbs alike: the audit, which leaves damaged files out, `predict`, which marks them, and
`evaluate`, which counts them.

The cost for a JPEG is one strict decode at 1/8 of its size: half of what decoding it for the
network takes (benchmarks.md). For a PNG it is its checksums.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from shopsight.errors import ImageError
from shopsight.images.decode_cost import damage_cost
from shopsight.images.decode_room import decoding, take_room
from shopsight.images.jpeg import is_jpeg, jpeg_header
from shopsight.images.jpeg_damage import checked_eighth
from shopsight.images.pixel_limit import check_pixels
from shopsight.images.png import check_checksums


def find_damage(data: bytes) -> str | None:
    """Say what is damaged in a file that decodes.

    Other formats than JPEG and PNG have neither checksums nor a decoder that goes on: what decodes
    there is whole.

    Args:
        data: a file that `images.decode` decodes without an error.

    Returns:
        The damage in a sentence; None of a file that is whole.

    Raises:
        ImageError: the file does not decode; decoding says the same.
    """
    try:
        check_whole(data)
    except ImageError as error:
        if error.reason != "damaged":
            raise
        return error.what
    return None


def check_whole(data: bytes) -> UInt8[np.ndarray, "h w 3"] | None:
    """Refuse a file whose pixels are not those it once held.

    Args:
        data: the file.

    Returns:
        Of a JPEG, what it was decoded to on the way: RGB as stored, one pixel per block of 8 x 8.

    Raises:
        ImageError: "damaged" where it decodes nevertheless; else the reason why it does not.
    """
    if is_jpeg(data):
        header = jpeg_header(data)
        check_pixels(header.width, header.height, None)
        with decoding():
            size = header.width, header.height
            take_room(damage_cost(header, len(data)), size=size, where=None)
            return checked_eighth(data, header)
    check_checksums(data)
    return None
