from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.config.data_settings import CacheSettings
from shopsight.errors import ConfigError, ImageError
from shopsight.files import sha256_file
from shopsight.images.model_input import Box, preprocess_image
from shopsight.loading import cache
from shopsight.loading.blob_store import BlobStore
from shopsight.loading.cache import PixelSource, geometry_folder, open_cache
from shopsight.preprocess import Preprocess
from shopsight.progress import Advance, use_listener

PREPROCESS = Preprocess(size_px=48)


@pytest.fixture
def images(tmp_path: Path) -> Catalog:
    """Ten JPEGs of different shapes."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(10):
        small = rng.integers(0, 256, (6, 5 + number, 3)).astype(np.uint8)
        image = Image.fromarray(small).resize((100 + 10 * number, 130), Image.Resampling.BICUBIC)
        image.save(folder / f"{number}.jpg", quality=92)
    names = [f"{number}.jpg" for number in range(10)]
    return Catalog(pl.DataFrame({"image": names}), name="synthetic", root=str(folder))


class WorkRecorder:
    """A progress listener that keeps the notes and which work is done."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.work: list[tuple[str, int | None]] = []

    @contextmanager
    def task(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:
        self.work.append((title, total))
        yield lambda _count: None

    def notify(self, text: str) -> None:
        self.notes.append(text)

    def decoded(self) -> int:
        return sum(total or 0 for title, total in self.work if title == "Decoding")


def opened(
    catalog: Catalog,
    folder: Path,
    *,
    mode: str = "raw",
    preprocess: Preprocess = PREPROCESS,
    sha256s: list[str] | None = None,
) -> tuple[PixelSource, WorkRecorder]:
    recorder = WorkRecorder()
    settings = CacheSettings.model_validate({"mode": mode})
    with use_listener(recorder), use_cache_dir(folder):
        source = open_cache(catalog, preprocess, settings=settings, sha256s=sha256s, threads=2)
    return source, recorder


def wanted(catalog: Catalog, preprocess: Preprocess = PREPROCESS) -> np.ndarray:
    return np.stack(
        [preprocess_image(Path(ref).read_bytes(), preprocess) for ref in catalog.refs()]
    )


@pytest.mark.parametrize("mode", ["auto", "raw", "off"])
def test_images_are_the_files_preprocessed(images: Catalog, tmp_path: Path, mode: str) -> None:
    source, _ = opened(images, tmp_path / "cache", mode=mode)
    assert (len(source), source.size_px) == (10, 48)
    assert source.mode == ("off" if mode == "off" else "raw")
    rows = np.array([7, 0, 7, 3])
    np.testing.assert_array_equal(source.gather(rows), wanted(images)[rows])
    assert source.gather(rows[:0]).shape == (0, 48, 48, 3)


def test_jpegs_are_nearly_the_images(images: Catalog, tmp_path: Path) -> None:
    source, _ = opened(images, tmp_path / "cache", mode="jpeg")
    assert source.mode == "jpeg"
    rows = np.array([9, 2, 2, 0])
    assert np.abs(source.gather(rows) - wanted(images)[rows].astype(int)).mean() < 2
    again, recorder = opened(images, tmp_path / "cache", mode="jpeg")
    assert recorder.decoded() == 0
    np.testing.assert_array_equal(again.gather(rows), source.gather(rows))


def test_other_orders_subsets_and_columns_share_the_cache(images: Catalog, tmp_path: Path) -> None:
    _, recorder = opened(images, tmp_path / "cache")
    assert recorder.decoded() == 10
    part = images.take([8, 1, 5]).with_table(
        images.take([8, 1, 5]).table.with_columns(label=pl.lit("x"))
    )
    source, recorder = opened(part, tmp_path / "cache")
    assert recorder.decoded() == 0
    np.testing.assert_array_equal(source.gather(np.arange(3)), wanted(part))


def test_the_mean_is_not_part_of_the_geometry(images: Catalog, tmp_path: Path) -> None:
    opened(images, tmp_path / "cache")
    other_mean = PREPROCESS.model_copy(update={"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)})
    assert opened(images, tmp_path / "cache", preprocess=other_mean)[1].decoded() == 0
    for change in ({"size_px": 32}, {"resize": "squash"}, {"pad_color": "edge"}):
        other = PREPROCESS.model_copy(update=change)
        source, recorder = opened(images, tmp_path / "cache", preprocess=other)
        assert recorder.decoded() == 10
        np.testing.assert_array_equal(source.gather(np.arange(10)), wanted(images, other))


def test_a_changed_file_is_another_image(images: Catalog, tmp_path: Path) -> None:
    opened(images, tmp_path / "cache")
    refs = images.refs()
    shutil.copy(refs[3], refs[4])
    Image.new("RGB", (60, 60), (1, 2, 3)).save(refs[5])
    source, recorder = opened(images, tmp_path / "cache")
    assert recorder.decoded() == 1, "one file is new; the other is a copy of one in the cache"
    np.testing.assert_array_equal(source.gather(np.arange(10)), wanted(images))


def test_equal_files_are_decoded_once(images: Catalog, tmp_path: Path) -> None:
    refs = images.refs()
    shutil.copy(refs[0], refs[9])
    source, recorder = opened(images, tmp_path / "cache")
    assert recorder.decoded() == 9
    np.testing.assert_array_equal(source.gather(np.arange(10)), wanted(images))


def test_boxes_are_cut_out(images: Catalog, tmp_path: Path) -> None:
    boxes = [Box(10, 20, 50, 60), Box(0, 5, 40, 30)]
    columns = ("box_x", "box_y", "box_w", "box_h")
    box = pl.DataFrame(boxes, schema=columns, orient="row")
    twice = images.take([4, 4])
    boxed = twice.with_table(pl.concat([twice.table, box], how="horizontal"))
    looks_at_boxes = PREPROCESS.model_copy(update={"boxes": True})
    data = Path(images.refs()[4]).read_bytes()
    cuts = np.stack([preprocess_image(data, PREPROCESS, box=one) for one in boxes])
    for mode in ("raw", "off"):
        source, _ = opened(boxed, tmp_path / "cache", mode=mode, preprocess=looks_at_boxes)
        got = source.gather(np.arange(2))
        np.testing.assert_array_equal(got, cuts)
        assert (got[0] != got[1]).any()
        # What was not trained on boxes reads whole images, whatever the catalog has.
        source, _ = opened(boxed, tmp_path / "cache", mode=mode)
        whole = preprocess_image(data, PREPROCESS)
        np.testing.assert_array_equal(source.gather(np.arange(2)), np.stack([whole, whole]))


def test_a_bad_file_is_named_and_the_work_before_it_is_kept(
    images: Catalog, tmp_path: Path
) -> None:
    bad = Path(images.refs()[6])
    bad.write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"6\.jpg"):
        opened(images, tmp_path / "cache")
    folder = geometry_folder(tmp_path / "cache", PREPROCESS, "raw")
    kept = sum(BlobStore.read(folder).counts)
    rest = images.take([0, 1, 2, 3, 4, 5, 7, 8, 9])
    source, recorder = opened(rest, tmp_path / "cache")
    assert recorder.decoded() == 9 - kept
    np.testing.assert_array_equal(source.gather(np.arange(9)), wanted(rest))


def test_an_interrupted_build_is_continued(
    images: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "CHUNK_IMAGES", 1)
    refs = images.refs()
    shas = [sha256_file(ref) for ref in refs]
    held = Path(refs[7]).read_bytes()
    Path(refs[7]).unlink()
    with pytest.raises(ImageError):
        opened(images, tmp_path / "cache", sha256s=shas)
    Path(refs[7]).write_bytes(held)
    source, recorder = opened(images, tmp_path / "cache", sha256s=shas)
    assert recorder.decoded() == 3
    np.testing.assert_array_equal(source.gather(np.arange(10)), wanted(images))
    rows = np.array([9, 0, 8, 1])
    np.testing.assert_array_equal(source.gather(rows), wanted(images)[rows])


def test_a_file_that_changes_meanwhile_is_refused(images: Catalog, tmp_path: Path) -> None:
    shas = [sha256_file(ref) for ref in images.refs()]
    Image.new("RGB", (60, 60)).save(images.refs()[2])
    with pytest.raises(ImageError, match=r"2\.jpg.*changed") as caught:
        opened(images, tmp_path / "cache", sha256s=shas)
    assert caught.value.reason == "changed"


def test_two_builds_at_once_do_the_work_once(images: Catalog, tmp_path: Path) -> None:
    results: list[np.ndarray] = []

    def build() -> None:
        results.append(opened(images, tmp_path / "cache")[0].gather(np.arange(10)))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, wanted(images))
    folder = geometry_folder(tmp_path / "cache", PREPROCESS, "raw")
    assert sum(BlobStore.read(folder).counts) == 10


def test_the_size_is_reported(images: Catalog, tmp_path: Path) -> None:
    _, recorder = opened(images, tmp_path / "cache", mode="auto")
    (line,) = recorder.notes
    assert "10 images at 48 px" in line
    assert "69.1 kB raw" in line
    assert "10 to decode; 69.1 kB of the " in line
    assert ", 0 to decode; in " in opened(images, tmp_path / "cache")[1].notes[0]


def test_auto_takes_what_fits(
    images: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_bytes = 10 * 48 * 48 * 3
    monkeypatch.setattr(cache, "free_bytes", lambda _path: raw_bytes)
    assert opened(images, tmp_path / "a", mode="auto")[0].mode == "jpeg"
    monkeypatch.setattr(cache, "free_bytes", lambda _path: raw_bytes // 20)
    source, recorder = opened(images, tmp_path / "b", mode="auto")
    assert source.mode == "off"
    assert "does not fit" in recorder.notes[0]
    with pytest.raises(ConfigError, match="does not fit"):
        opened(images, tmp_path / "b", mode="raw")
    # What is there already needs no room.
    assert opened(images, tmp_path / "a", mode="auto")[0].mode == "jpeg"


def test_the_folder_is_the_users_choice(
    images: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "by-variable"))
    open_cache(images, PREPROCESS, settings=CacheSettings())
    assert list((tmp_path / "by-variable").rglob("*.blobs"))


KILLED_BUILD = """
import os, sys
from shopsight.config.data_settings import CacheSettings
from shopsight.loading import cache
from shopsight.loading import blob_store
from shopsight.catalog.catalog import Catalog
from shopsight.cache_place import use_cache_dir
from shopsight.preprocess import Preprocess

catalog, folder, images = sys.argv[1], sys.argv[2], int(sys.argv[3])
blob_store.BLOBS_BETWEEN_RECORDS = 1
add = blob_store.BlobWriter.add

def add_or_die(self, key, blob, left=[images]):
    if not left[0]:
        os._exit(9)  # as if killed: nothing is flushed or closed
    left[0] -= 1
    add(self, key, blob)

blob_store.BlobWriter.add = add_or_die
settings = CacheSettings(mode="raw")
with use_cache_dir(folder):
    cache.open_cache(Catalog.read(catalog), Preprocess(size_px=48), settings=settings)
"""


@pytest.mark.slow
def test_processes_that_build_at_once_and_one_that_is_killed(
    images: Catalog, tmp_path: Path
) -> None:
    images.write(tmp_path / "catalog.parquet")
    arguments = [sys.executable, "-c", KILLED_BUILD, str(tmp_path / "catalog.parquet")]
    arguments.append(str(tmp_path / "cache"))
    killed = subprocess.run([*arguments, "6"], check=False)
    assert killed.returncode == 9
    both = [subprocess.Popen([*arguments, "1000"]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    folder = geometry_folder(tmp_path / "cache", PREPROCESS, "raw")
    assert sorted(BlobStore.read(folder).counts) == [4, 6]
    source, recorder = opened(images, tmp_path / "cache")
    assert recorder.decoded() == 0
    np.testing.assert_array_equal(source.gather(np.arange(10)), wanted(images))


def test_small_files_need_no_cache(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (60, 80), (number, 90, 200)).save(tmp_path / f"{number}.jpg")
    table = pl.DataFrame({"image": [f"{number}.jpg" for number in range(3)]})
    catalog = Catalog(table, "small", str(tmp_path))
    whole = Preprocess(size_px=256)
    small, recorder = opened(catalog, tmp_path / "cache", mode="auto", preprocess=whole)
    asked_for, _ = opened(catalog, tmp_path / "cache", mode="raw", preprocess=whole)
    assert (small.mode, asked_for.mode) == ("off", "raw")
    assert any("Cache: none" in note for note in recorder.notes)
    assert recorder.decoded() == 0
    rows = np.arange(3)
    assert (small.gather(rows) == asked_for.gather(rows)).all()


@pytest.mark.parametrize(("side", "mode"), [(100, "off"), (128, "off"), (140, "raw"), (600, "raw")])
def test_the_cache_costs_in_proportion_to_the_pixels_that_exist(
    tmp_path: Path, side: int, mode: str
) -> None:
    """Of images of a quarter of the square's pixels, nothing is kept, however large their files."""
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg", quality=60)
    table = pl.DataFrame({"image": [f"{number}.jpg" for number in range(3)]})
    catalog = Catalog(table, "small", str(tmp_path))
    whole = Preprocess(size_px=256)
    source, recorder = opened(catalog, tmp_path / "cache", mode="auto", preprocess=whole)
    assert source.mode == mode
    assert (tmp_path / "cache" / "pixels").exists() == (mode == "raw")
    said = f"Cache: none, as images of {side} x {side} px hold a fraction"
    assert any(note.startswith(said) for note in recorder.notes) == (mode == "off")
