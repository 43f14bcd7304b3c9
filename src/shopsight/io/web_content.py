"""What a web server sends behind the head of its answer: bounded, unpacked, and whole.

Bytes are counted as they come and again unpacked: a megabyte of gzip can be a gigabyte, and gzip
without content, or what is sent behind its end, can go on for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from http.client import HTTPResponse

from shopsight.errors import RemoteError

BLOCK_BYTES = 1 << 16
_DECODERS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def content_blocks(response: HTTPResponse, most_bytes: int) -> Iterator[bytes]:
    """The content, unpacked where the server packed it unasked; then the response is closed.

    Args:
        response: whose head was read.
        most_bytes: the content may have.

    Raises:
        RemoteError: "too large", "interrupted" (it is not whole), "bad answer".
        OSError, http.client.HTTPException: the connection fails.
    """
    announced = response.length
    if announced is not None and announced > most_bytes:
        raise _too_large(most_bytes)
    packing = response.headers.get("Content-Encoding", "identity").strip().lower()
    if packing in _DECODERS:
        blocks = _unpacked(_received(response, most_bytes), _DECODERS[packing], most_bytes)
    elif packing in {"identity", ""}:
        blocks = _received(response, most_bytes)
    else:
        raise RemoteError("bad answer", f"the host packs the file as {packing[:40]}, unasked")
    size = 0
    for block in blocks:
        size += len(block)
        yield block
    if announced is None and not size:
        # Where no length was said, the head may have been cut off as well.
        raise _interrupted(0)
    response.close()


def _received(response: HTTPResponse, most_bytes: int) -> Iterator[bytes]:
    size = 0
    while block := response.read1(BLOCK_BYTES):
        size += len(block)
        if size > most_bytes:
            raise _too_large(most_bytes)
        yield block
    if response.length:
        raise _interrupted(size)


def _unpacked(blocks: Iterator[bytes], kind: int, most_bytes: int) -> Iterator[bytes]:
    unpack, size = zlib.decompressobj(kind), 0
    for block in blocks:
        if unpack.eof:
            # zlib would keep all of it.
            raise RemoteError("bad answer", "more follows than the file that the host packed")
        try:
            made = unpack.decompress(block, most_bytes - size + 1)
        except zlib.error as error:
            what = f"what the host packed cannot be unpacked: {error}"
            raise RemoteError("bad answer", what) from error
        size += len(made)
        if size > most_bytes or unpack.unconsumed_tail:
            raise _too_large(most_bytes)
        if made:
            yield made
    if not unpack.eof:
        raise _interrupted(size)
    if unpack.unused_data:
        raise RemoteError("bad answer", "more follows than the file that the host packed")


def _too_large(most_bytes: int) -> RemoteError:
    return RemoteError("too large", f"the file has more than {most_bytes:,} bytes")


def _interrupted(size: int) -> RemoteError:
    return RemoteError("interrupted", f"the answer breaks off after {size:,} bytes")
