"""The probability of every label on every image, in a file that is read some labels at a time.

A million images with 10,000 labels have 40 GB of scores. Average precision goes through them label
by label, a network image by image. So the file is a row of tiles: the scores of `TILE_IMAGES`
images, of one label after the other, as little-endian fp32. A label of all images is then a piece
of each tile, and a tile is all that is held while the images stream.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float, Float32, Int64

from shopsight import progress
from shopsight.cache_place import cache_folder
from shopsight.errors import DamagedFileError, WriteError
from shopsight.files import atomic_file, make_folder
from shopsight.held_files import free_bytes, remove_file, replace
from shopsight.leftovers import part_beside, sweep_once
from shopsight.text import human_bytes
from shopsight.write_errors import write_errors_named

TILE_IMAGES = 1024
SUFFIX = ".scores"
_NUMBER = np.dtype("<f4")


@dataclass(eq=False)
class ScoreFile:
    """The scores of a part's images.

    Attributes:
        path: the file; until `keep` it is a temporary one, which goes with this object.
        num_images: n.
        num_labels: c.
    """

    path: Path
    num_images: int
    num_labels: int

    def __post_init__(self) -> None:
        self._removed_with_it: weakref.finalize[[Path], ScoreFile] | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return _NUMBER.itemsize * self.num_images * self.num_labels

    def remove_at_the_end(self) -> None:
        """Remove the file as soon as nobody holds this object any more."""
        self._removed_with_it = weakref.finalize(self, remove_file, self.path)

    def keep(self, path: Path) -> None:
        """Make it the file `path`, which stays.

        Raises:
            WriteError: as `atomic_file`.
        """
        with atomic_file(path, keep=False, needed_bytes=self.num_bytes) as part:
            try:
                replace(self.path, part)
            except OSError:
                # On another disk than the cache.
                shutil.copyfile(self.path, part)
                remove_file(self.path)
        if self._removed_with_it is not None:
            self._removed_with_it.detach()
        self.path = path

    def check(self) -> None:
        """Refuse a file that is missing or of another size.

        Raises:
            DamagedFileError: it is.
        """
        found = self.path.stat().st_size if self.path.is_file() else None
        if found != self.num_bytes:
            what = "missing" if found is None else f"{found:,} bytes, not {self.num_bytes:,}"
            raise DamagedFileError(
                f"the scores of these predictions are {what}",
                where=str(self.path),
                fix="shopsight evaluate RUN   (writes them anew)",
            )

    def of_labels(self, first: int, last: int) -> Float32[np.ndarray, "k n"]:
        """Scores of the labels first..last-1 on all images of the file."""
        found = np.empty((last - first, self.num_images), np.float32)
        with self.path.open("rb") as file:
            for start in range(0, self.num_images, TILE_IMAGES):
                images = min(TILE_IMAGES, self.num_images - start)
                skipped = start * self.num_labels + first * images
                file.seek(_NUMBER.itemsize * skipped)
                piece = np.fromfile(file, _NUMBER, count=(last - first) * images)
                found[:, start : start + images] = piece.reshape(last - first, images)
        return found


@contextmanager
def new_score_file(num_images: int, num_labels: int) -> Iterator[ScoreWriter]:
    """Write a temporary file of scores in the cache, and say how much disk that takes.

    The name is that of a temporary file, which is swept away should this process be killed.

    Yields:
        Takes the scores, batch by batch; its `file` is whole when the block has ended.

    Raises:
        WriteError: there is no room, or the cache cannot be written.
    """
    folder = cache_folder() / "scores"
    file = ScoreFile(part_beside(folder / SUFFIX), num_images, num_labels)
    needed = f"{num_labels:,} scores of {num_images:,} images take {human_bytes(file.num_bytes)}"
    free = free_bytes(folder)
    if free < file.num_bytes:
        raise WriteError(
            f"the disk is too full: {needed}, {human_bytes(free)} are free",
            where=str(folder),
            fix="--cache-dir FOLDER on a disk with more room",
        )
    progress.notify(f"{needed} of disk: {folder}")
    file.remove_at_the_end()
    with write_errors_named(file.path, needed_bytes=file.num_bytes):
        make_folder(folder)
        sweep_once(folder)
        with file.path.open("wb") as out:
            writer = ScoreWriter(out, file)
            yield writer
            writer.finish()


class ScoreWriter:
    """Turns scores that come image by image into tiles.

    Args:
        out: the open file.
        file: what it will be.

    Attributes:
        file: what it will be.
    """

    def __init__(self, out: IO[bytes], file: ScoreFile) -> None:
        self.file = file
        self._out = out
        self._tile = np.empty((TILE_IMAGES, file.num_labels), _NUMBER)
        self._filled = 0

    def add(self, scores: Float[np.ndarray, "b c"]) -> None:
        """Take the scores of the next images."""
        while len(scores):
            taken = scores[: TILE_IMAGES - self._filled]
            self._tile[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            scores = scores[len(taken) :]
            if self._filled == TILE_IMAGES:
                self.finish()

    def finish(self) -> None:
        """Write the images of the tile that is not full."""
        np.ascontiguousarray(self._tile[: self._filled].T).tofile(self._out)
        self._filled = 0


@dataclass(frozen=True, eq=False)
class FiledScores:
    """Scores of some images, in the order of `rows`; see `metrics.label_ranking.LabelScores`.

    Attributes:
        files: their images are numbered on from file to file.
        rows: number of each image in the files.
    """

    files: Sequence[ScoreFile]
    rows: Int64[np.ndarray, "n"]

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.rows)

    @property
    def num_labels(self) -> int:
        """How many labels there are."""
        return self.files[0].num_labels

    def of_labels(self, first: int, last: int) -> Float32[np.ndarray, "k n"]:
        """Probabilities of the labels first..last-1, a row each."""
        found = [file.of_labels(first, last) for file in self.files]
        whole = found[0] if len(found) == 1 else np.concatenate(found, axis=1)
        if np.array_equal(self.rows, np.arange(whole.shape[1])):
            return whole
        return whole[:, self.rows]


@dataclass(frozen=True, eq=False)
class TableScores:
    """Scores that lie in memory; see `metrics.label_ranking.LabelScores`.

    Attributes:
        table: a row for each image.
    """

    table: Float32[np.ndarray, "n c"]

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.table)

    @property
    def num_labels(self) -> int:
        """How many labels there are."""
        return int(self.table.shape[1])

    def of_labels(self, first: int, last: int) -> Float32[np.ndarray, "k n"]:
        """Probabilities of the labels first..last-1, a row each."""
        return np.ascontiguousarray(self.table[:, first:last].T)
