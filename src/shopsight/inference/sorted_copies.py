"""Copy images into folders by label, while predictions stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from shopsight.errors import WriteError
from shopsight.files import FileGroup
from shopsight.images.decode import read_bytes
from shopsight.inference.predictor import Prediction
from shopsight.paths import is_url
from shopsight.safe_names import is_safe, numbered_name, safe_name


class SortedCopies:
    """Copies each image into the sub-folder of its label.

    Nothing is ever overwritten: a file of the same name and content stays, and beside one of the
    same name and other content the new one gets a number. The same images in the same order get
    the same names, also when an earlier command was interrupted. Copies appear under their names
    with `settle`.

    A shop's photos may all be called `1.jpg`, each in a folder of its own. Of a name that was taken
    by another image, the contents of its numbered files are remembered by their digests, so that
    each file is read once and not once for every image that comes after it: about 150 bytes for
    each of such images. Other images take no memory.

    Args:
        folder: Where the sub-folders are made.
        folder_names: The sub-folder of each label, see `shopsight.safe_names.unique_names`.

    Attributes:
        folder: Where the sub-folders are.
    """

    def __init__(self, folder: Path | str, folder_names: Mapping[str, str]) -> None:
        self.folder = Path(folder)
        self._folder_names = folder_names
        self._files = FileGroup()
        self._taken: dict[Path, _TakenName] = {}

    def add(self, prediction: Prediction) -> Path | None:
        """Copy one image.

        Returns:
            Where the image is after `settle`; None when it could not be read.

        Raises:
            ImageError: The image was there and cannot be read any more.
            WriteError: The copy cannot be written.
        """
        if prediction.error is not None:
            return None
        content = read_bytes(prediction.source, prediction.access)
        plain = self.folder / self._folder_names[prediction.labels[0]] / _name(prediction.source)
        taken = self._taken.get(plain)
        if taken is None:
            now = self._files.where(plain)
            if not now.exists():
                self._files.write(plain, content)
                return plain
            if now.read_bytes() == content:
                return plain
            taken = self._taken[plain] = _TakenName(plain, self._files)
        return taken.add(content)

    def settle(self) -> list[WriteError]:
        """Let all copies appear under their names, held by the disk; errors are of single ones."""
        return self._files.settle()


@dataclass
class _TakenName:
    """The files `plain`, `plain-2`, `plain-3` ... of a folder, and what is in them.

    Attributes:
        plain: The file without a number.
        files: What was written and has not taken its place yet.
        number: Of the first file that was not looked at; the plain one is 1.
        number_of: The number of a content, by its digest.
    """

    plain: Path
    files: FileGroup
    number: int = 1
    number_of: dict[int, int] = field(default_factory=dict)

    def add(self, content: bytes) -> Path:
        """Return the file of this content, written where there was none."""
        digest = _digest(content)
        if digest in self.number_of:
            known = self._file(self.number_of[digest])
            # Digests may agree, and files vanish.
            now = self.files.where(known)
            if now.exists() and now.read_bytes() == content:
                return known
        while (now := self.files.where(file := self._file(self.number))).exists():
            found = now.read_bytes()
            self._note(_digest(found))
            if found == content:
                return file
        self.files.write(file, content)
        self._note(digest)
        return file

    def _file(self, number: int) -> Path:
        if number == 1:
            return self.plain
        return self.plain.with_name(numbered_name(self.plain.name, number))

    def _note(self, digest: int) -> None:
        self.number_of.setdefault(digest, self.number)
        self.number += 1


def _name(source: str) -> str:
    """The name of the copy: that of the file, as far as every file system takes it."""
    # The source may be a path, a URL, or an image within a container ("file#3").
    if is_url(source):
        source = source.partition("?")[0].rstrip("/")
    name = re.split(r"[/\\#]", source)[-1]
    return name if is_safe(name) else safe_name(name)


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")
