"""The decisions of a desk, a line each, on the disk before they are answered.

A line is never changed: what is undone has a line that says so. Two people write into one journal
by one service; of two decisions about an image the later one counts, and both are kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

from shopsight.errors import ConfigError
from shopsight.io.local_files import read_file
from shopsight.write_errors import write_errors_named

JOURNAL_BYTES = 1 << 30
Outcome = Literal["label", "not", "drop", "undo", "blind"]
"""The image gets a label; it is not of the suggested one; it is left out; an earlier line is taken
back; a label was given without a suggestion in sight."""


@dataclass(frozen=True)
class Decision:
    """One line.

    Attributes:
        number: from 1.
        outcome: see `Outcome`.
        ids: of the images.
        label: that they get, or are not of; empty where an image is left out.
        reviewer: who decided.
        when: UTC, ISO 8601.
        action: the number of the first of the lines that were decided together.
        undoes: of "undo": the action that is taken back.
    """

    number: int
    outcome: Outcome
    ids: tuple[str, ...] = ()
    label: str = ""
    reviewer: str = ""
    when: str = ""
    action: int = 0
    undoes: int = 0


class Journal:
    """A file of decisions.

    Args:
        path: it is made by the first decision.

    Raises:
        ConfigError: it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decisions = list(_read(path))

    def add(
        self,
        outcome: Outcome,
        *,
        ids: tuple[str, ...] = (),
        label: str = "",
        reviewer: str = "",
        action: int | None = None,
        undoes: int = 0,
    ) -> Decision:
        """Write a decision; it is on the disk when this returns.

        An action of None begins a new one.

        Raises:
            WriteError: the disk is full; nothing is decided.
        """
        number = len(self.decisions) + 1
        decision = Decision(
            number=number,
            outcome=outcome,
            ids=ids,
            label=label,
            reviewer=reviewer,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            action=number if action is None else action,
            undoes=undoes,
        )
        line = json.dumps(asdict(decision), ensure_ascii=False) + "\n"
        with write_errors_named(self.path), self.path.open("ab") as file:
            _append(file, line.encode("utf-8"))
        self.decisions.append(decision)
        return decision


def _append(file: IO[bytes], line: bytes) -> None:
    """Append a line whole, or leave the file as it was."""
    before = file.seek(0, os.SEEK_END)
    try:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    except OSError:
        file.truncate(before)
        raise


def _read(path: Path) -> Iterator[Decision]:
    """The decisions that are there; the last line of a process that was killed is none yet."""
    if not path.is_file():
        return
    content = read_file(path, most_bytes=JOURNAL_BYTES)
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            found = json.loads(line)
            found["ids"] = tuple(found["ids"])
            decision = Decision(**found)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"line {number} is no decision of a desk",
                where=str(path),
                fix="take the file away, or repair that line",
            ) from error
        yield decision
