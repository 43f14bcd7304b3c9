"""What an interrupted `explain` has done, on disk: the same command continues.

Beside the maps lies one file of JSON lines while the work goes on, whose name begins with
`PART_PREFIX`: first what the explanations depend on (model, engine, options, training photos), then
one line for each image whose map is written. An image that changed since is explained anew, and so
is one without a name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from shopsight.explanations.explained_image import ImageExplanation
from shopsight.explanations.training_photos import Nearest, Neighbor
from shopsight.files import write_text
from shopsight.held_files import remove_file
from shopsight.inference.answer_journal import image_stamp
from shopsight.inference.image_stream import NamedImage
from shopsight.progress import notify
from shopsight.safe_names import PART_PREFIX
from shopsight.text import counted
from shopsight.write_errors import write_errors_named

JOURNAL_FILE = f"{PART_PREFIX}explained.done"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class DoneImage:
    """An image that is explained.

    Attributes:
        explanation: of it.
        photo: as the page shows it, a data URI; empty where it could not be read.
        overlay: likewise, the photo with its map.
    """

    explanation: ImageExplanation
    photo: str = ""
    overlay: str = ""


class ExplainJournal:
    """The images that are done, of this command and of an interrupted one before it.

    In a `with` block: when it fails, what is done stays for the next command. `remove` is called
    when the page is written.

    Args:
        folder: of the maps; this process alone writes it.
        about: what the explanations depend on, as plain JSON.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._folder = folder
        self._file = folder / JOURNAL_FILE
        self._about = {"format": FORMAT_VERSION, **about}
        self._done: dict[str, DoneImage] = {}

    def __enter__(self) -> ExplainJournal:
        if self._file.is_symlink():
            # Somebody put it there: what it leads to is not read.
            remove_file(self._file)
        self._done = self._read()
        if self._done:
            done = counted(len(self._done), "image")
            notify(f"continuing after {done} that an interrupted command explained")
        # Without half a line, which the next one would be added to.
        lines = [json.dumps(self._about), *(_line(*one) for one in self._done.items())]
        write_text(self._file, "".join(f"{line}\n" for line in lines), keep=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            return
        if not self._done:
            self.remove()
            return
        done = counted(len(self._done), "image")
        notify(f"the same command continues after {done} that are explained")

    def remove(self) -> None:
        """Remove the file: the results are written."""
        remove_file(self._file)

    def find(self, image: NamedImage, overlay_name: str) -> DoneImage | None:
        """What was found out about an image, if it is the same file and its map is there."""
        stamp = image_stamp(image)
        found = None if stamp is None else self._done.get(stamp)
        if found is None or found.explanation.overlay != overlay_name:
            return None
        return found if (self._folder / overlay_name).is_file() else None

    def add(self, image: NamedImage, stamp: str | None, done: DoneImage) -> None:
        """Note an image whose map is written; what could not be read is tried again.

        Args:
            image: which.
            stamp: `image_stamp` of it, before it was read.
            done: what is known of it.
        """
        if stamp is None or done.explanation.error is not None or stamp != image_stamp(image):
            return
        with (
            write_errors_named(self._folder),
            self._file.open("a", encoding="utf-8", newline="\n") as file,
        ):
            file.write(_line(stamp, done) + "\n")
        self._done[stamp] = done

    def _read(self) -> dict[str, DoneImage]:
        """The whole lines of an interrupted command of the same options."""
        try:
            first, *lines = self._file.read_text(encoding="utf-8").splitlines()
            about = json.loads(first)
        except (OSError, ValueError):
            return {}
        if about != self._about:
            if lines:
                notify("an interrupted command had another model or other options: all anew")
            return {}
        found = dict[str, DoneImage]()
        for line in lines:
            # The last one may be cut off.
            with suppress(ValueError, TypeError, KeyError, AttributeError):
                row = json.loads(line)
                found[str(row["stamp"])] = _done_image(row)
        return found


def _line(stamp: str, done: DoneImage) -> str:
    return json.dumps({"stamp": stamp, **asdict(done)})


def _done_image(row: Mapping[str, Any]) -> DoneImage:
    kept = dict(row["explanation"])
    near = kept.pop("nearest")
    explanation = ImageExplanation(
        **kept | {"predicted": tuple(kept["predicted"])},
        nearest=Nearest(
            tuple(Neighbor(**photo) for photo in near["photos"]), tuple(near["own_labels"])
        ),
    )
    return DoneImage(explanation, str(row["photo"]), str(row["overlay"]))
