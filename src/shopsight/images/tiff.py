"""The first directory of a TIFF: the facts that decide how its pixels are read.

Pillow reads every entry, warns of broken ones without the file's name (in whichever thread comes
first), and turns the image by itself. So its entries are read here, and it gets a copy in which
those that do not concern the pixels are of a type that it skips.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shopsight.images.orientation import ORIENTATION_TAG

_NEW_SUBFILE_TYPE, _BITS, _COMPRESSION, _PHOTOMETRIC, _MAKE = 254, 258, 259, 262, 271
_PLANAR, _SAMPLE_FORMAT, _SUB_DIRECTORIES, _XMP, _DNG_VERSION = 284, 339, 330, 700, 50706
# None, LZW, Deflate (two numbers), PackBits.
_PLAIN_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773})
# Width to JPEG tables, and the ICC profile; see TIFF 6.0 and its technical notes.
_PIXEL_TAGS = frozenset(
    {256, 257, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, 273, 277, 278, 279, _PLANAR, 292, 293, 301}
    | {317, 318, 319, 320, 322, 323, 324, 325, 332, 333, 334, 336, 338, _SAMPLE_FORMAT, 340, 341}
    | {347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34675}
)
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_BYTES_OF_TYPE |= {13: 4, 16: 8, 17: 8, 18: 8}
_CODE_OF_TYPE = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_MOST_ENTRIES = 4096
# Any other number of which more is asked for than this is none that is looked at here.
_MOST_VALUES = 64
_STRIPS = ((273, 279), (324, 325))
_STRIP_TAGS = frozenset(tag for pair in _STRIPS for tag in pair)
_SIZE = (256, 257)
_NAME_OF_SAMPLE_FORMAT = {1: "integers", 2: "signed integers", 3: "floats"}


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """What the first directory says.

    Attributes:
        numbers: integers by tag; those that lie beyond the file are absent.
        xmp: the XMP packet, empty without one.
        quiet: the file, with entries that do not concern the pixels switched off.
        is_cut: pixels lie beyond the end of the file.
    """

    numbers: dict[int, tuple[int, ...]]
    xmp: bytes
    quiet: bytes
    is_cut: bool

    @property
    def orientation(self) -> int | None:
        """1 to 8; None where the file does not say."""
        return self.numbers.get(ORIENTATION_TAG, (None,))[0]

    @property
    def bits(self) -> int:
        """Bits of the first sample of a pixel."""
        return self._all_bits[0]

    @property
    def num_channels(self) -> int:
        """Samples of a pixel."""
        return self.numbers.get(277, (1,))[0]

    @property
    def num_strips(self) -> int:
        """Strips or tiles in which the pixels lie."""
        return max(len(self.numbers.get(starts, ())) for starts, _ in _STRIPS)

    @property
    def white_is_zero(self) -> bool:
        """Whether the values grow towards black."""
        return self.numbers.get(_PHOTOMETRIC) == (0,)

    @property
    def is_camera_raw(self) -> bool:
        """Whether the first image is the preview of a camera raw file (DNG, NEF, ARW ...)."""
        reduced = self.numbers.get(_NEW_SUBFILE_TYPE, (0,))[0] & 1
        preview = reduced and _SUB_DIRECTORIES in self.numbers and _MAKE in self.numbers
        return bool(preview) or _DNG_VERSION in self.numbers

    @property
    def has_wide_planes(self) -> bool:
        """Whether channels of more than 8 bits lie one after the other, which Pillow mixes up."""
        return self.numbers.get(_PLANAR) == (2,) and len(self._all_bits) > 1 and self.bits > 8

    @property
    def is_for_opencv(self) -> bool:
        """Whether OpenCV reads it where Pillow does not: gray or RGB of wide integers or floats."""
        interleaved = self.numbers.get(_PLANAR, (1,)) == (1,)
        known = (self.bits, self.sample_format) in {(16, 1), (32, 1), (32, 2), (32, 3), (64, 3)}
        channels = (len(self._all_bits), self.numbers.get(_PHOTOMETRIC, (1,))[0])
        plain = self.numbers.get(_COMPRESSION, (1,))[0] in _PLAIN_COMPRESSIONS
        return interleaved and known and plain and channels in {(1, 0), (1, 1), (3, 2)}

    @property
    def sample_format(self) -> int:
        """1 unsigned integers, 2 signed ones, 3 floats."""
        return self.numbers.get(_SAMPLE_FORMAT, (1,))[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored; 0 where the file does not say."""
        return self.numbers.get(256, (0,))[0], self.numbers.get(257, (0,))[0]

    @property
    def _all_bits(self) -> tuple[int, ...]:
        return self.numbers.get(_BITS, (1,))

    def layout(self) -> str:
        """The samples of a pixel in words, for an error: "TIFF of 3 x 32 bits, floats"."""
        bits, kind = self._all_bits, self.sample_format
        form = _NAME_OF_SAMPLE_FORMAT.get(kind, f"sample format {kind}")
        form += ", in planes" * self.has_wide_planes
        form += f", {self.num_strips:,} strips" * (self.num_strips > 1)
        compression = self.numbers.get(_COMPRESSION, (1,))[0]
        return f"TIFF of {len(bits)} x {bits[0]} bits, {form}, compression {compression}"


def read_directory(data: bytes) -> TiffDirectory | None:
    """Read the first directory of a TIFF or BigTIFF; None where it is cut off or broken."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    offset_code, count_code, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    inline_bytes, value_at = (8, 12) if big else (4, 8)
    numbers: dict[int, tuple[int, ...]] = {}
    xmp, is_cut = b"", False
    # The zeros stand for the offset of the next directory, where the file ends before it.
    quiet = bytearray(data) + bytes(8)
    try:
        (start,) = struct.unpack_from(order + offset_code, data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + count_code, data, start)
        if entries > _MOST_ENTRIES:
            return None
        unread_bytes = len(data)
        for number in range(entries):
            at = start + struct.calcsize(order + count_code) + number * entry_bytes
            tag, kind, count = struct.unpack_from(order + "HH" + offset_code, data, at)
            size = count * _BYTES_OF_TYPE.get(kind, 0)
            place = at + value_at
            if size > inline_bytes:
                (place,) = struct.unpack_from(order + offset_code, data, place)
            is_whole = place + size <= len(data)
            if tag not in _PIXEL_TAGS:
                struct.pack_into(order + "H", quiet, at + 2, 0)
            elif not is_whole or size > unread_bytes or (tag in _SIZE and count != 1):
                return None  # Entries that all name the same bytes, to make much of little.
            else:
                unread_bytes -= size
            if is_whole and tag == _XMP and not xmp:
                xmp = data[place : place + size]
            elif tag not in _STRIP_TAGS and count > _MOST_VALUES:
                continue
            elif is_whole and kind in _CODE_OF_TYPE and count:
                code = f"{order}{count}{_CODE_OF_TYPE[kind]}"
                numbers[tag] = struct.unpack_from(code, data, place)
            elif is_whole and tag == _MAKE:
                numbers[tag] = (0,)
    except struct.error:
        return None
    for starts, sizes in _STRIPS:
        pairs = zip(numbers.get(starts, ()), numbers.get(sizes, ()), strict=False)
        is_cut |= any(begin + size > len(data) for begin, size in pairs)
    return TiffDirectory(numbers, xmp, bytes(quiet), is_cut)
