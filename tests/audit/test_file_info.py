"""What is learned of each file, and that it is learned once."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.audit import file_info, kept_info, thumb_rows
from shopsight.audit.file_info import Inspection, file_info_path, inspect_all
from shopsight.audit.inspect_file import FileInfo, inspect
from shopsight.files import sha256_file
from shopsight.io.access import Access


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of 300 x 200 pixels with texture."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).resize((300, 200), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def test_facts_of_a_good_file(photo: Path) -> None:
    found = inspect(str(photo))
    assert (found.status, found.reason, found.problem) == ("ok", "", "")
    assert (found.format, found.width, found.height) == ("jpeg", 300, 200)
    assert found.bytes == photo.stat().st_size
    assert found.sha256 == sha256_file(photo)
    assert found.contrast is not None
    assert found.contrast > 20
    assert found.thumb is not None


def test_size_is_upright(photo: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).save(photo.with_name("turned.jpg"), exif=exif, quality=90)
    found = inspect(str(photo.with_name("turned.jpg")))
    assert (found.width, found.height) == (200, 300)


def test_damaged_decodes_but_not_to_what_it_was(photo: Path) -> None:
    data = bytearray(photo.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 16] = np.random.default_rng(1).bytes(16)
    photo.write_bytes(data)
    found = inspect(str(photo))
    assert found.status == "damaged"
    assert found.problem
    assert found.thumb is not None


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:3000]), "unreadable", "truncated"),
        (lambda path: path.write_bytes(b""), "unreadable", "empty"),
        (lambda path: path.write_text("not found", encoding="utf-8"), "unreadable", "not an image"),
        (lambda path: (path.unlink(), path.mkdir()), "unreadable", "not an image"),
        (lambda path: path.unlink(), "missing", "missing"),
    ],
)
def test_bad_files(photo: Path, change: object, status: str, reason: str) -> None:
    assert callable(change)
    change(photo)
    found = inspect(str(photo))
    assert (found.status, found.reason) == (status, reason)
    assert found.width is None


def test_overwritten_bytes_are_noticed(tmp_path: Path) -> None:
    """16 random bytes at a random place within a detailed image: at least 95 % show."""
    rng = np.random.default_rng(0)
    path = tmp_path / "detailed.jpg"
    pixels = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=90)
    clean = path.read_bytes()
    assert inspect(str(path)).status == "ok"
    start = clean.index(b"\xff\xda") + 14
    noticed = 0
    for _ in range(100):
        data = bytearray(clean)
        at = int(rng.integers(start, len(data) - 18))
        data[at : at + 16] = rng.bytes(16)
        path.write_bytes(data)
        noticed += inspect(str(path)).status != "ok"
    assert noticed >= 95


def test_tiny_images_are_compared_by_equality_only(tmp_path: Path) -> None:
    Image.new("L", (28, 28), 9).save(tmp_path / "a.png")
    assert inspect(str(tmp_path / "a.png")).thumb is None


def test_cmyk_and_gray(photo: Path) -> None:
    with Image.open(photo) as image:
        for mode in ("CMYK", "L"):
            path = photo.with_name(f"{mode}.jpg")
            image.convert(mode).save(path, quality=90)
            found = inspect(str(path))
            assert (found.status, found.width) == ("ok", 300)


def same(a: Inspection, b: Inspection) -> bool:
    return a.files.equals(b.files) and bool((a.thumbs == b.thumbs).all())


def test_facts_are_kept_until_the_file_changes(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, absent = photo.with_name("other.jpg"), photo.with_name("absent.jpg")
    Image.new("RGB", (80, 90), (9, 99, 200)).save(other)
    refs = [str(path) for path in (photo, other, photo, absent)]
    kept = file_info_path(tmp_path / "cache", str(tmp_path))
    seen: list[str] = []

    def noted(ref: str, access: Access) -> FileInfo:
        seen.append(ref)
        return inspect(ref, access)

    monkeypatch.setattr(file_info, "inspect", noted)
    first = inspect_all(refs, threads=2, kept=kept)
    assert sorted(seen) == sorted({*refs})
    assert first.files["status"].to_list() == ["ok", "ok", "ok", "missing"]
    assert first.has_thumb.tolist() == [True, True, True, False]
    seen.clear()
    assert same(inspect_all(refs, threads=2, kept=kept), first)
    assert seen == [str(absent)]

    seen.clear()
    Image.new("RGB", (80, 90), (200, 99, 9)).save(other)
    os.utime(other, ns=(1, 1))
    changed = inspect_all(refs, threads=2, kept=kept)
    assert sorted(seen) == sorted([str(other), str(absent)])
    assert changed.files["sha256"][1] == sha256_file(other)
    assert changed.files["sha256"][0] == first.files["sha256"][0]

    seen.clear()
    inspect_all(refs[:1], threads=2, kept=kept)
    inspect_all(refs[1:2], threads=2, kept=kept)
    assert seen == []


def pieces(kept: Path) -> list[Path]:
    return sorted(kept.glob("*.parquet"))


def test_kept_facts_that_cannot_be_read_are_made_anew(photo: Path, tmp_path: Path) -> None:
    kept = tmp_path / "files"
    first = inspect_all([str(photo)], kept=kept)
    (piece,) = pieces(kept)
    piece.write_bytes(b"half a file")
    assert same(inspect_all([str(photo)], kept=kept), first)
    assert same(inspect_all([str(photo)], kept=kept), first)


def counting(monkeypatch: pytest.MonkeyPatch, *, most: int = 10_000) -> list[str]:
    """The files that are inspected from here on; after `most` of them it is as if Ctrl-C came."""
    seen: list[str] = []

    def noted(ref: str, access: Access) -> FileInfo:
        if len(seen) >= most:
            raise KeyboardInterrupt
        seen.append(ref)
        return inspect(ref, access)

    monkeypatch.setattr(file_info, "inspect", noted)
    return seen


def photos(folder: Path, count: int) -> list[str]:
    for number in range(count):
        color = (number % 256, number // 256, 99)
        Image.new("RGB", (70, 70), color).save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(count)]


def test_an_interrupted_audit_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs, kept = photos(tmp_path, 300), tmp_path / "kept"
    monkeypatch.setattr(file_info, "_FILES_PER_CHUNK", 10)
    monkeypatch.setattr(file_info, "_FILES_PER_PIECE", 40)
    seen = counting(monkeypatch, most=155)
    with pytest.raises(KeyboardInterrupt):
        inspect_all(refs, threads=1, kept=kept)
    # The chunk in which it came is lost.
    assert len(seen) == 155
    assert sum(len(pl.read_parquet(piece)) for piece in pieces(kept)) == 150
    seen = counting(monkeypatch)
    whole = inspect_all(refs, threads=1, kept=kept)
    assert seen == refs[150:]
    assert same(whole, inspect_all(refs, threads=1))


@pytest.mark.posix("kill -9")
def test_what_was_kept_before_kill_9_is_not_inspected_again(tmp_path: Path) -> None:
    refs, kept = photos(tmp_path, 400), tmp_path / "kept"
    killed = f"""
import os, signal
from shopsight.audit import file_info, thumb_rows
file_info._FILES_PER_CHUNK, file_info._FILES_PER_PIECE = 10, 20
keep, done = file_info.keep, []
def keep_and_die(*given):
    keep(*given)
    done.append(1)
    if len(done) == 3:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
file_info.keep = keep_and_die
file_info.inspect_all({refs!r}, threads=2, kept=file_info.Path({str(kept)!r}))
"""
    done = subprocess.run([sys.executable, "-c", killed], check=False)
    assert done.returncode not in (0, 1)
    assert [len(pl.read_parquet(piece)) for piece in pieces(kept)] == [20] * 3
    with pytest.MonkeyPatch.context() as patch:
        seen = counting(patch)
        inspect_all(refs, threads=1, kept=kept)
        assert len(seen) == 340


def test_audits_side_by_side_keep_pieces_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs, kept = photos(tmp_path, 120), tmp_path / "kept"
    monkeypatch.setattr(file_info, "_FILES_PER_CHUNK", 10)
    monkeypatch.setattr(file_info, "_FILES_PER_PIECE", 20)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: inspect_all(refs, threads=2, kept=kept), range(2)))
    seen = counting(monkeypatch)
    assert same(both[0], both[1])
    assert same(inspect_all(refs, kept=kept), both[0])
    assert seen == []


def test_many_small_pieces_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refs, kept = photos(tmp_path, 30), tmp_path / "kept"
    monkeypatch.setattr(kept_info, "MANY_PIECES", 6)
    for first in range(0, 25, 5):
        inspect_all(refs[first : first + 5], kept=kept)
    other = pl.DataFrame({"ref": ["of another version"]})
    other.write_parquet(kept / "0.parquet")
    (kept / "00.parquet").write_bytes(b"half a file")
    assert len(pieces(kept)) == 7
    whole = inspect_all(refs, threads=1, kept=kept)
    found = [pl.read_parquet(piece) for piece in pieces(kept) if piece.name != "00.parquet"]
    assert sorted(map(len, found)) == [1, 30]
    seen = counting(monkeypatch)
    assert same(inspect_all(refs, kept=kept), whole)
    assert seen == []


def test_what_an_earlier_version_kept_in_one_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs, kept = photos(tmp_path, 5), tmp_path / "kept"
    first = inspect_all(refs, kept=kept)
    (piece,) = pieces(kept)
    piece.replace(tmp_path / "kept.parquet")
    seen = counting(monkeypatch)
    assert same(inspect_all(refs, kept=kept), first)
    assert seen == []


@pytest.mark.posix("files without a name; elsewhere they are in memory")
def test_thumbnails_beyond_a_share_of_the_budget_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = photos(tmp_path, 20)
    refs += refs[:7]
    first = inspect_all(refs)
    assert not isinstance(first.thumbs, np.memmap)
    monkeypatch.setattr(thumb_rows, "_MAPPED_SHARE", 0)
    mapped = inspect_all(refs)
    assert isinstance(mapped.thumbs, np.memmap)
    assert same(mapped, first)


def test_members_of_a_container(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 28, 28), dtype=np.uint8)
    content = bytes((0, 0, 8, 3)) + struct.pack(">III", *pixels.shape) + pixels.tobytes()
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(content, 1))
    refs = [f"{path}#{index}" for index in range(300)] + [f"{path}#300"]
    kept = tmp_path / "files"
    first = inspect_all(refs, threads=2, kept=kept)
    assert first.files["status"].to_list() == ["ok"] * 300 + ["missing"]
    assert first.files["sha256"].n_unique() == 301
    assert same(inspect_all(refs, threads=2, kept=kept), first)


def test_no_rows() -> None:
    nothing = inspect_all([])
    assert nothing.files.height == 0
    assert len(nothing.thumbs) == 0
