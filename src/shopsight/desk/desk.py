"""The review desk: screens of one suggestion, decisions about them, and what they make together.

A screen shows images that are suggested to be of one class. Whoever looks at it clicks away those
that are not and accepts the others: one decision for two dozen images. An image that was not of
the suggested class comes again under the next one that the model gives it, and is *left* when there
is none.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.desk.board import Board
from shopsight.desk.journal import Decision, Journal
from shopsight.desk.queues import QUEUES, SCREEN_IMAGES, Queue, Queues, Screen
from shopsight.desk.suggestions import Suggestions
from shopsight.errors import ConfigError
from shopsight.files import atomic_file, make_folder
from shopsight.metrics.intervals import wilson
from shopsight.spreadsheets import for_reading

THUMBNAIL_PX = 192
HOLDOUT_IMAGES = 200
LONGEST_LABEL = 300
_SEED = 0


class Desk:
    """What is suggested, and what was decided; may be asked by several threads.

    Args:
        suggestions: for the images.
        folder: of the journal and of what is written.
    """

    def __init__(self, suggestions: Suggestions, folder: Path) -> None:
        self.suggestions = suggestions
        self.folder = folder
        make_folder(folder)
        self._row_of = {name: row for row, name in enumerate(suggestions.ids)}
        self._journal = Journal(folder / "journal.jsonl")
        self._lock = threading.Lock()
        self._queues = Queues(suggestions)
        self._board = self._replayed()
        rng = np.random.default_rng(_SEED)
        readable = [row for row, some in enumerate(suggestions.suggested) if some]
        self._holdout = tuple(rng.permutation(readable)[:HOLDOUT_IMAGES].tolist())

    # -- what is to be looked at ------------------------------------------------------------

    def screen(
        self, queue: Queue, *, most: int = SCREEN_IMAGES, skip: Sequence[str] = ()
    ) -> Screen:
        """The next screen of a queue; one without rows where nothing is left of it.

        Args:
            queue: to look at.
            most: images, at the most.
            skip: labels to pass over for now.
        """
        with self._lock:
            return self._queues.screen(queue, self._board, most=most, skip=skip)

    def counts(self) -> dict[str, int]:
        """Images that wait in each queue, and those that were decided."""
        with self._lock:
            found: dict[str, int] = {
                queue: self._queues.count(queue, self._board) for queue in QUEUES
            }
            decided = int(self._board.decided.sum())
        return found | {"decided": decided, "images": len(self.suggestions)}

    # -- decisions --------------------------------------------------------------------------

    def decide(
        self,
        label: str,
        *,
        accepted: Sequence[str],
        declined: Sequence[str] = (),
        dropped: Sequence[str] = (),
        reviewer: str = "",
    ) -> list[Decision]:
        """Decide about images of one screen.

        Args:
            label: that the accepted images get.
            accepted: ids.
            declined: ids of images that are not of that class.
            dropped: ids of images that are to be left out.
            reviewer: who decides.

        Returns:
            The lines of the journal.

        Raises:
            ConfigError: an id is unknown or named twice, or the label is none.
            WriteError: the disk is full; what is not in the journal is not decided.
        """
        self._check_ids([*accepted, *declined, *dropped])
        if accepted or declined:
            check_label(label)
        made = list[Decision]()
        with self._lock:
            for outcome, ids in (("label", accepted), ("not", declined), ("drop", dropped)):
                if ids:
                    decision = self._journal.add(
                        outcome,  # type: ignore[arg-type]
                        ids=tuple(ids),
                        label="" if outcome == "drop" else label,
                        reviewer=reviewer,
                        action=made[0].number if made else None,
                    )
                    self._board.apply(decision)
                    made.append(decision)
        return made

    def undo(self, *, reviewer: str = "") -> Decision | None:
        """Take back what a reviewer last decided in one action; None where there is nothing."""
        with self._lock:
            undone = {one.undoes for one in self._journal.decisions if one.outcome == "undo"}
            own = [
                one
                for one in self._journal.decisions
                if one.reviewer == reviewer and one.outcome != "undo" and one.action not in undone
            ]
            if not own:
                return None
            decision = self._journal.add("undo", undoes=own[-1].action, reviewer=reviewer)
            self._board = self._replayed()
        return decision

    def _check_ids(self, ids: Sequence[str]) -> None:
        unknown = [name for name in ids if name not in self._row_of]
        twice = [name for name, count in Counter(ids).items() if count > 1]
        if unknown or twice:
            raise ConfigError(
                "images that are not in the catalog" if unknown else "images that are named twice",
                where="ids",
                details=unknown or twice,
            )

    def _replayed(self) -> Board:
        return Board(self.suggestions, self._row_of, self._journal.decisions)

    # -- the blind check --------------------------------------------------------------------

    def blind_row(self) -> int | None:
        """An image of the holdout that has no blind label yet; None where all have one."""
        with self._lock:
            return next((row for row in self._holdout if row not in self._board.blind), None)

    def decide_blind(self, name: str, label: str, *, reviewer: str = "") -> Decision:
        """Label an image of the holdout without having seen a suggestion.

        Raises:
            ConfigError: it is not of the holdout, or the label is none.
        """
        self._check_ids([name])
        check_label(label)
        row = self._row_of[name]
        if row not in self._holdout:
            raise ConfigError("is not of the holdout", where=name)
        with self._lock:
            decision = self._journal.add("blind", ids=(name,), label=label, reviewer=reviewer)
            self._board.apply(decision)
        return decision

    def score(self) -> dict[str, Any]:
        """How often the labels so far are those that people gave without seeing any.

        The label of an image is the decided one, else the given one, else the suggested one. The
        images are a random sample of all, chosen before anybody decided. With k of n right, the
        interval is Wilson's; it halves with four times as many images.
        """
        with self._lock:
            blind = dict(self._board.blind)
            right = sum(self._board.label_now(row) == label for row, label in blind.items())
        count = len(blind)
        if not count:
            return {"images": 0, "of": len(self._holdout)}
        low, high = wilson(np.array([right]), np.array([count]))
        return {
            "images": count,
            "of": len(self._holdout),
            "right": right,
            "share": right / count,
            "low": float(low[0]),
            "high": float(high[0]),
            "more_to_halve": math.ceil(3 * count),
        }

    # -- what is written --------------------------------------------------------------------

    def known_labels(self) -> list[str]:
        """The model's classes and those that people typed, in order."""
        with self._lock:
            typed = {state.label for state in self._board.states.values() if state.label}
        return sorted({*self.suggestions.labels, *typed})

    def decisions(self) -> pl.DataFrame:
        """What was decided, a row for each image: what `train --decisions` takes."""
        own = self.suggestions
        with self._lock:
            states = self._board.states
            decided = sorted(row for row, state in states.items() if state.is_decided)
            rows = [
                {
                    "id": own.ids[row],
                    "decision": "drop" if states[row].dropped else "keep",
                    "new_label": states[row].label,
                    "given": own.given[row],
                    "image": own.catalog.table["image"][row],
                }
                for row in decided
            ]
        schema = dict.fromkeys(("id", "decision", "new_label", "given", "image"), pl.String)
        return pl.DataFrame(rows, schema=schema)

    def write_decisions(self) -> Path:
        """Write them beside the journal.

        Raises:
            WriteError: the disk is full.
        """
        path = self.folder / "decisions.csv"
        with atomic_file(path) as part:
            for_reading(self.decisions()).write_csv(part)
        return path

    def write_catalog(self, path: Path) -> None:
        """Write the images that have a label now, with it, as a catalog.

        Raises:
            ConfigError: none has one.
            WriteError: the disk is full.
        """
        own = self.suggestions
        with self._lock:
            rows = np.flatnonzero(self._board.labeled)
            labels = [self._board.own_label(row) for row in rows.tolist()]
        if not len(rows):
            raise ConfigError(
                "no image has a label yet", where=str(self.folder), fix="accept some screens first"
            )
        some = own.catalog.take(rows)
        label = pl.Series("label", labels, dtype=pl.String)
        some.with_table(some.table.with_columns(label)).write(path)

    def shown(self, screen: Screen) -> list[dict[str, Any]]:
        """The images of a screen, as a page shows them."""
        return [
            {**self.thumbnail(row), "given": self.suggestions.given[row], "mark": mark}
            for row, mark in zip(screen.rows, screen.marks, strict=True)
        ]

    def thumbnail(self, row: int) -> dict[str, Any]:
        """One image, and nothing that leads the eye."""
        own = self.suggestions
        thumbnail = row_thumbnail(own.catalog, row, side_px=THUMBNAIL_PX)
        return {"id": own.ids[row], "image": thumbnail}


def check_label(label: str) -> None:
    """Refuse what is no label.

    Raises:
        ConfigError: it is empty, too long, or has control characters.
    """
    if not label.strip() or len(label) > LONGEST_LABEL or not label.isprintable():
        raise ConfigError(
            f"a label has 1 to {LONGEST_LABEL} characters that can be printed", where="label"
        )
