"""Gzip's files are unpacked to no more than may be."""

from __future__ import annotations

import gzip
import random
import tracemalloc

import pytest

from shopsight.errors import ArchiveError
from shopsight.io import compressed
from shopsight.io.compressed import gunzip, gunzip_start

TEXT = b"image,label\n" * 1000


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT),
        gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:]),
        gzip.compress(TEXT) + bytes(1000),
        gzip.compress(b"") + gzip.compress(TEXT),
    ],
    ids=["one part", "two parts", "zeros behind", "an empty part"],
)
def test_content_comes_back(data: bytes) -> None:
    assert gunzip(data, most_bytes=len(TEXT)) == TEXT
    with pytest.raises(ArchiveError, match="more than 11,999 bytes") as caught:
        gunzip(data, most_bytes=len(TEXT) - 1)
    assert caught.value.reason == "too large"


def test_long_content() -> None:
    """Of parts that end within, at and behind the ends of blocks."""
    noise = random.Random(0).randbytes(300_000)
    for content in (bytes(5_000_000), noise, noise + bytes(1 << 16) * 3):
        packed = gzip.compress(content, 1)
        assert gunzip(packed, most_bytes=len(content)) == content
        assert gunzip(packed * 2, most_bytes=2 * len(content)) == content * 2
    empty = gzip.compress(b"")
    fill = (1 << 16) % len(empty)
    assert gunzip(empty * 5_000 + gzip.compress(noise[:fill]), most_bytes=100) == noise[:fill]


def test_damage() -> None:
    whole = gzip.compress(TEXT)
    for broken in (
        whole[:-1],
        whole[:20],
        whole[:3],
        whole[:-8] + bytes(8),
        b"\x1f\x8b" + TEXT,
        b"",
        TEXT,
    ):
        with pytest.raises(ArchiveError) as caught:
            gunzip(broken, most_bytes=1_000_000)
        assert caught.value.reason == "damaged"


def test_a_bomb_takes_no_more_than_may_be() -> None:
    bomb = gzip.compress(bytes(60_000_000), 1)
    tracemalloc.start()
    with pytest.raises(ArchiveError):
        gunzip(bomb, most_bytes=4_000_000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 12_000_000


def test_the_start_alone() -> None:
    whole = gzip.compress(TEXT)
    assert gunzip_start(whole, 5) == b"image"
    assert gunzip_start(whole[:-9], 5) == b"image"
    with pytest.raises(ArchiveError):
        gunzip_start(b"image", 5)


def test_a_small_file_does_not_become_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "FREE_BYTES", 1_000_000)
    packed = gzip.compress(bytes(3_000_000))
    with pytest.raises(ArchiveError, match="more than 1,000,000 bytes"):
        gunzip(packed, most_bytes=1 << 32)
    # The parts of a table that repeats itself a hundred times are read.
    text = random.Random(0).randbytes(30_000) * 100
    assert gunzip(gzip.compress(text), most_bytes=1 << 32) == text
