"""Oddities of JPEGs of which libjpeg warns although every pixel is there.

libjpeg has one class of warnings for both what cost pixels and what did not; only the first one is
reported, so an oddity in the header would hide damage behind it, and its text cannot decide. So a
file that the strict decoder refuses is made regular and decoded strictly again: what it still warns
of has cost pixels.

What is made regular:

- stray bytes between segments ("extraneous bytes before marker", of the header): left out;
- zeros between the coded data and the end marker, which cameras and cards pad with ("extraneous
  bytes before marker 0xd9"): left out;
- a JFIF revision that does not exist ("unknown JFIF revision number"): 1.02;
- a color profile of which a part is missing ("bad ICC marker"): left out;
- scans of a sequential JPEG that name other coefficients than all, as some encoders write
  ("Invalid SOS parameters for sequential JPEG"): 0, 63, 0.

What has cost pixels, and stays: "premature end of data segment", "bad Huffman code", "bad
arithmetic code", "found marker ... instead of RST", "Inconsistent progression sequence",
extraneous bytes behind coded data that ended too early, and "Premature end of JPEG file", where the
file is cut off.

Application segments hold nothing that pixels depend on, except JFIF's and Adobe's, which say how
colors are coded.
"""

from __future__ import annotations

from shopsight.images.jpeg_segments import (
    END_OF_IMAGE,
    SEQUENTIAL_FRAMES,
    START_OF_SCAN,
    segments,
)

_START = b"\xff\xd8"
_KEPT_APPLICATIONS = {0xE0: b"JFIF\x00", 0xEE: b"Adobe"}
_COMMENT = 0xFE
_REVISION_AT = 5


def regular(data: bytes) -> bytes:
    """Return a JPEG without the oddities of this module, with the same coded data.

    Args:
        data: the file. One that is cut off in its header comes back as it is.
    """
    parts, sequential = [_START], False
    scan_at = data.find(b"\xff", 2)
    for marker, start, end in segments(data):
        scan_at = end
        sequential |= marker in SEQUENTIAL_FRAMES
        content = data[start:end]
        if marker == _COMMENT or not _concerns_pixels(marker, content):
            continue
        if marker == 0xE0:
            content = content[:_REVISION_AT] + b"\x01\x02" + content[_REVISION_AT + 2 :]
        parts.append(data[start - 4 : start] + content)
    scan_at = data.find(bytes([0xFF, START_OF_SCAN]), scan_at)
    if scan_at < 0:
        return data
    scans = _without_padding(data[scan_at:])
    parts.append(_with_whole_scans(scans) if sequential else scans)
    return b"".join(parts)


def _concerns_pixels(marker: int, content: bytes) -> bool:
    if not 0xE0 <= marker <= 0xEF:
        return True
    kept = _KEPT_APPLICATIONS.get(marker)
    return kept is not None and content.startswith(kept)


def _without_padding(scans: bytes) -> bytes:
    """Leave out zeros between the coded data and the end marker, and what follows that marker."""
    marker = bytes([0xFF, END_OF_IMAGE])
    end = scans.rfind(marker)
    if end < 0:
        return scans
    coded = scans[:end].rstrip(b"\0")
    # A zero behind 0xFF belongs to the coded data.
    stuffed = len(coded) < end and coded.endswith(b"\xff")
    return coded + b"\0" * stuffed + marker


def _with_whole_scans(scans: bytes) -> bytes:
    """Write the only parameters that a sequential JPEG can have into the header of every scan."""
    changed = bytearray(scans)
    at = scans.find(bytes([0xFF, START_OF_SCAN]))
    while at >= 0:
        end = at + 2 + int.from_bytes(scans[at + 2 : at + 4], "big")
        if end <= len(scans):
            changed[end - 3 : end] = b"\x00\x3f\x00"
        at = scans.find(bytes([0xFF, START_OF_SCAN]), end)
    return bytes(changed)
