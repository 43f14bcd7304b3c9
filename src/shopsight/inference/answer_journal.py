"""What a stream of predictions has answered, on disk: an interrupted `predict` continues.

Beside the results lie two files while the work goes on, whose names begin with `PART_PREFIX`:

    ....rows   JSON lines, one for each image, see `shopsight.inference.writers.as_row`
    ....done   JSON lines: first what the answers depend on (model, engine, options), then one for
               each piece: the number of its images, where its answers end, and a hash of its
               images' names, rows, boxes, sizes and times

A piece is recorded after its answers are on disk and its images were copied. The next command with
the same options takes the answers of the pieces whose images are the same, and goes on after them.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from shopsight import __version__
from shopsight.files import make_folder, sha256_bytes, write_text
from shopsight.held_files import flush, remove_file
from shopsight.images.idx import idx_member
from shopsight.inference.attribute_answers import AttributeAnswer
from shopsight.inference.image_stream import NamedImage
from shopsight.inference.predictor import Prediction, Predictor
from shopsight.inference.unknown_answers import UnknownAnswer
from shopsight.inference.writers import json_line
from shopsight.progress import notify
from shopsight.safe_names import PART_DIGITS, PART_PREFIX
from shopsight.text import counted
from shopsight.write_errors import write_errors_named

FORMAT_VERSION = 1
# An interrupted command loses at most this much work.
PIECE_IMAGES, PIECE_S = 1024, 10.0


@dataclass
class _Piece:
    """Images that were answered together.

    Attributes:
        count: Their number.
        end: Bytes of the answers up to its last one.
        images: Hash of what tells the images apart.
        reasons: The reasons of those that could not be read, in their order.
    """

    count: int = 0
    end: int = 0
    images: str = ""
    reasons: list[str | None] = field(default_factory=list)

    def follows(self, start: int, written: int) -> bool:
        """Whether it can be a piece whose answers begin there, in a file of so many bytes."""
        numbers = type(self.count) is int and type(self.end) is int
        return numbers and self.count > 0 and start < self.end <= written


class AnswerJournal:
    """The answers of one command, and of an interrupted one before it.

    In a `with` block: when it fails, what was recorded stays for the next command; without any
    piece nothing does. `remove` is called when the results are written.

    Args:
        place: The file or folder of the results, by whose name the journal is found.
        folder: Where the journal lies; it is made.
        about: What the answers depend on, as plain JSON.

    Attributes:
        answers: The file of JSON lines, whole when all predictions were taken.
    """

    def __init__(self, place: Path, folder: Path, about: Mapping[str, Any]) -> None:
        digits = hashlib.sha256(os.fsencode(place.name)).hexdigest()[:PART_DIGITS]
        self.answers = folder / f"{PART_PREFIX}{digits}.rows"
        self._file = self.answers.with_suffix(".done")
        self._place = place
        self._about = {"format": FORMAT_VERSION, **about}
        self._pieces: list[_Piece] = []
        self._stamps: deque[str | None] = deque()
        self._records = True

    def __enter__(self) -> AnswerJournal:
        make_folder(self.answers.parent)
        for file in (self.answers, self._file):
            # A link that somebody put there: what it leads to is neither read nor cut off.
            if file.is_symlink():
                remove_file(file)
        self._pieces = self._read_pieces()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        if not self._pieces:
            self.remove()
            return
        done = sum(piece.count for piece in self._pieces)
        notify(f"the same command continues after {counted(done, 'image')} that are labeled")

    def remove(self) -> None:
        """Remove both files: the results are written."""
        # In this order: answers without a journal are nobody's.
        remove_file(self._file)
        remove_file(self.answers)

    def stop_recording(self) -> None:
        """Have an interrupted command repeat what comes now: something of it failed."""
        self._records = False

    def predictions(
        self,
        images: Iterator[NamedImage],
        predict: Callable[[Iterator[NamedImage]], Iterator[Prediction]],
        before_record: Callable[[], None],
    ) -> Generator[tuple[Prediction, bool], None, None]:
        """Give what was answered before, then what `predict` answers, one for each image.

        Args:
            images: All images.
            predict: Gives one prediction for each image, in order.
            before_record: Completes what the caller did with the predictions of a piece.

        Yields:
            A prediction for each image, and whether it is a new one.
        """
        kept, rest = 0, list[NamedImage]()
        if self._pieces:
            before = sum(piece.count for piece in self._pieces)
            notify(f"continuing after {counted(before, 'image')} that an interrupted command did")
        for piece, start in zip(self._pieces, [0, *(p.end for p in self._pieces)], strict=False):
            rest = list(islice(images, piece.count))
            if len(rest) < piece.count or _hash_of(map(image_stamp, rest)) != piece.images:
                notify("other images follow than those that it was given: they are labeled anew")
                break
            yield from ((prediction, False) for prediction in self._recorded(piece, start, rest))
            kept, rest = kept + 1, []
        self._pieces = self._pieces[:kept]
        for prediction in self._new(chain(rest, images), predict, before_record):
            yield prediction, True

    def _recorded(self, piece: _Piece, start: int, images: list[NamedImage]) -> list[Prediction]:
        with self.answers.open("rb") as file:
            file.seek(start)
            rows = [json.loads(line) for line in file.read(piece.end - start).splitlines()]
        reasons = iter(piece.reasons)
        return [
            _prediction(row, image, next(reasons) if row["error"] is not None else None)
            for row, image in zip(rows, images, strict=True)
        ]

    def _new(
        self,
        images: Iterator[NamedImage],
        predict: Callable[[Iterator[NamedImage]], Iterator[Prediction]],
        before_record: Callable[[], None],
    ) -> Iterator[Prediction]:
        with write_errors_named(self._place):
            self._begin()
            file = self.answers.open("ab")
        try:
            piece, stamps, since_s = _Piece(), list[str | None](), time.monotonic()
            for prediction in predict(self._stamped(images)):
                with write_errors_named(self._place):
                    file.write(json_line(prediction).encode())
                piece.count += 1
                stamps.append(self._stamps.popleft())
                if prediction.error is not None:
                    piece.reasons.append(prediction.reason)
                # When the caller comes back, it has copied the image too.
                yield prediction
                if piece.count == PIECE_IMAGES or time.monotonic() - since_s > PIECE_S:
                    before_record()
                    self._record(piece, stamps, file)
                    piece, stamps, since_s = _Piece(), [], time.monotonic()
            before_record()
            self._record(piece, stamps, file)
            with write_errors_named(self._place):
                file.close()
        finally:
            with suppress(OSError):
                file.close()

    def _begin(self) -> None:
        """Cut off what lies behind the last piece, in both files."""
        end = self._pieces[-1].end if self._pieces else 0
        with self.answers.open("ab") as file:
            file.truncate(end)
        lines = [self._about, *map(asdict, self._pieces)]
        write_text(self._file, "".join(json.dumps(line) + "\n" for line in lines), keep=False)

    def _stamped(self, images: Iterator[NamedImage]) -> Iterator[NamedImage]:
        for image in images:
            # Before it is read: one that changes while it is read is another one next time.
            self._stamps.append(image_stamp(image))
            yield image

    def _record(self, piece: _Piece, stamps: list[str | None], file: IO[bytes]) -> None:
        self._records = self._records and None not in stamps
        if not self._records:
            return
        piece.images, piece.end = _hash_of(stamps), file.tell()
        with write_errors_named(self._place):
            # The order is the point: a record never promises what is not there.
            file.flush()
            flush(self.answers)
            with self._file.open("a", encoding="utf-8", newline="\n") as journal:
                journal.write(json.dumps(asdict(piece)) + "\n")
        self._pieces.append(piece)

    def _read_pieces(self) -> list[_Piece]:
        """The whole pieces of an interrupted command of the same options; others are told of."""
        try:
            first, *lines = self._file.read_text(encoding="utf-8").splitlines()
            written = self.answers.stat().st_size
            about = json.loads(first)
        except (OSError, ValueError):
            return []
        if about != self._about:
            if lines:
                notify("an interrupted command had another model or other options: all anew")
            return []
        pieces = list[_Piece]()
        for line in lines:
            try:
                piece = _Piece(**json.loads(line))
            except (ValueError, TypeError):
                break
            if not piece.follows(pieces[-1].end if pieces else 0, written):
                break
            pieces.append(piece)
        return pieces


def about_model(predictor: Predictor) -> dict[str, Any]:
    """What answers of a model depend on, as plain JSON, beside the options of a command."""
    return {
        "version": __version__,
        "model": sha256_bytes(predictor.info.model_dump_json().encode()),
        "engine": predictor.engine.name,
    }


def image_stamp(image: NamedImage) -> str | None:
    """What tells an image from others, and a file from what it was before; None without a name."""
    if not isinstance(image.image, str | Path):
        return None
    member = idx_member(str(image.image))
    path = str(image.image) if member is None else member[0]
    size = time_ns = None
    with suppress(OSError, ValueError):
        found = os.stat(path)  # noqa: PTH116 - URLs too
        size, time_ns = found.st_size, found.st_mtime_ns
    box = None if image.box is None else tuple(image.box)
    return repr((image.source, image.row, image.name, box, size, time_ns))


def _hash_of(stamps: Iterator[str | None] | list[str | None]) -> str:
    text = "\n".join(map(str, stamps))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _prediction(row: Mapping[str, Any], image: NamedImage, reason: str | None) -> Prediction:
    return Prediction(
        source=image.source,
        labels=tuple(row["labels"]),
        probabilities=tuple(row["probabilities"]),
        predicted_labels=tuple(row["predicted_labels"]),
        error=row["error"],
        reason=reason,
        node=row.get("node"),
        node_probability=row.get("node_probability"),
        attributes=tuple(
            AttributeAnswer(name, tuple(one["values"]), one["confidence"])
            for name, one in row.get("attributes", {}).items()
        ),
        unknown=UnknownAnswer.of_row(row),
        damaged=row["damaged"],
        row=image.row,
        name=image.name,
        access=image.access,
    )
