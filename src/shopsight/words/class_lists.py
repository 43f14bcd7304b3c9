"""Classes and prompts that people write down: one a line, in a file of text.

    T-Shirt: tee, jersey
    Granny Smith < Apple: green apple
    # a comment

A line is a class: its name, after `<` what kind of thing it is, after `:` other words for it,
parted by commas. Words may be of any language that the text encoder knows. A prompt is a sentence
with `{}` where the words go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shopsight.errors import ConfigError
from shopsight.io.local_files import read_file
from shopsight.text import counted, listed

PROMPTS = (
    "a photo of a {}",
    "a photo of the {}",
    "a product photo of a {}",
    "a {} on a white background",
    "a {} in an online shop",
    "a close-up of a {}",
    "{}",
)
"""Of products; the mean over several is better than one (Radford et al. 2021, section 3.1.4)."""
MOST_BYTES = 16 << 20
MOST_CLASSES = 100_000


@dataclass(frozen=True)
class ClassWords:
    """A class and the words for it.

    Attributes:
        name: the label that images get.
        synonyms: other words.
        parent: the kind of thing that it is; empty where that is not said.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    parent: str = ""

    def phrases(self) -> tuple[str, ...]:
        """What the class is called: its name, with its parent where it has one, and its synonyms.

        `Golden-Delicious < Apple` is "golden delicious, apple": hyphens and underlines of names
        part words, and a parent says what kind of thing an odd name is.
        """
        plain = " ".join(self.name.replace("_", " ").replace("-", " ").split())
        own = f"{plain}, {self.parent}" if self.parent else plain
        return tuple(dict.fromkeys([own, *self.synonyms]))


def classes_of_labels(labels: Sequence[str]) -> tuple[ClassWords, ...]:
    """Classes that are called as labels are."""
    return tuple(ClassWords(label) for label in labels)


def read_classes(path: Path | str) -> tuple[ClassWords, ...]:
    """Read a file of classes.

    Raises:
        ConfigError: it cannot be read, holds no class, or one twice.
    """
    found = []
    for number, line in _lines(path, "classes"):
        head, _, synonyms = line.partition(":")
        name, _, parent = head.partition("<")
        if not name.strip():
            raise ConfigError(f"line {number} has no name of a class", where=str(path))
        words = tuple(word.strip() for word in synonyms.split(",") if word.strip())
        found.append(ClassWords(name.strip(), words, parent.strip()))
    twice = [name for name, count in Counter(one.name for one in found).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{counted(len(twice), 'class')} named twice: {listed(twice)}",
            where=str(path),
            fix="put the words of one class into one line",
        )
    if len(found) > MOST_CLASSES:
        raise ConfigError(f"{len(found):,} classes; the most are {MOST_CLASSES:,}", where=str(path))
    return tuple(found)


def read_prompts(path: Path | str) -> tuple[str, ...]:
    """Read a file of prompts.

    Raises:
        ConfigError: it cannot be read, is empty, or a line has no `{}`.
    """
    prompts = []
    for number, line in _lines(path, "prompts"):
        if line.count("{}") != 1 or "{" in line.replace("{}", ""):
            raise ConfigError(
                f"line {number} is no prompt: {line!r}",
                where=str(path),
                fix="a photo of a {}   (once {}, where the words of a class go)",
            )
        prompts.append(line)
    return tuple(prompts)


def _lines(path: Path | str, what: str) -> list[tuple[int, str]]:
    try:
        text = read_file(path, most_bytes=MOST_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{what} cannot be read: {error}", where=str(path), fix="a file of text in UTF-8"
        ) from error
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    lines = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    if not lines:
        raise ConfigError(f"no {what} in it", where=str(path))
    return lines
