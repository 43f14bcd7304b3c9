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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from shopsight.catalog.row_thumbnail import row_thumbnail
from shopsight.desk.journal import Decision, Journal
from shopsight.desk.suggestions import Suggestions
from shopsight.errors import ConfigError
from shopsight.files import atomic_file, make_folder
from shopsight.metrics.intervals import wilson
from shopsight.spreadsheets import for_reading

Queue = Literal["doubtful", "unlabeled", "uncertain", "left"]
QUEUES: tuple[Queue, ...] = get_args(Queue)
"""Labels that are doubted; images without one; those that the model is least sure of; those that
are of none of the suggested classes."""
SCREEN_IMAGES = 24
MOST_SCREEN = 100
THUMBNAIL_PX = 192
HOLDOUT_IMAGES = 200
UNCERTAIN_BELOW = 0.6
LONGEST_LABEL = 300
_SEED = 0


@dataclass
class State:
    """What was decided about one image.

    Attributes:
        label: that it got; None without.
        dropped: it is left out.
        declined: classes that it is not of.
        number: of the last decision about it.
    """

    label: str | None = None
    dropped: bool = False
    declined: set[str] = field(default_factory=set)
    number: int = 0

    @property
    def is_decided(self) -> bool:
        return self.dropped or self.label is not None


@dataclass(frozen=True)
class Screen:
    """Images to look at together.

    Attributes:
        queue: that they are from.
        label: that they are suggested to be of; "" of the queue "left".
        rows: of the catalog.
    """

    queue: Queue
    label: str
    rows: tuple[int, ...]


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
        kinds = np.array(suggestions.kinds, object)
        self._readable: Bool[np.ndarray, "n"] = np.array(
            [bool(some) for some in suggestions.suggested]
        )
        unsure = suggestions.confidence < UNCERTAIN_BELOW
        self._members = {
            "doubtful": kinds == "doubtful",
            "unlabeled": kinds == "unlabeled",
            "uncertain": (kinds == "agreed") & unsure,
        }
        by_confidence = np.argsort(-suggestions.confidence, kind="stable")
        self._orders = {
            "doubtful": np.argsort(-suggestions.suspicion, kind="stable"),
            "unlabeled": by_confidence,
            "uncertain": by_confidence[::-1],
            "left": by_confidence,
        }
        self._states: dict[int, State] = {}
        self._blind: dict[int, str] = {}
        self._replay()
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
        labels = self.suggestions.labels
        with self._lock:
            waiting = self._waiting(queue)
            codes = self._current[waiting]
        if queue == "left":
            return Screen(queue, "", tuple(waiting[:most].tolist()))
        skipped = {labels.index(one) for one in skip if one in labels}
        kept = ~np.isin(codes, list(skipped))
        waiting, codes = waiting[kept], codes[kept]
        if not len(waiting):
            return Screen(queue, "", ())
        # The class with most to decide: a screen of one image is a click for one image. Of several
        # that fill a screen, the one whose first image comes first.
        there, first, counts = np.unique(codes, return_index=True, return_counts=True)
        best = np.lexsort((first, -np.minimum(counts, most)))[0]
        rows = waiting[codes == there[best]][:most]
        return Screen(queue, labels[there[best]], tuple(rows.tolist()))

    def counts(self) -> dict[str, int]:
        """Images that wait in each queue, and those that were decided."""
        with self._lock:
            found: dict[str, int] = {queue: len(self._waiting(queue)) for queue in QUEUES}
            found["decided"] = int(self._decided.sum())
        return found | {"images": len(self.suggestions)}

    def _waiting(self, queue: Queue) -> Int64[np.ndarray, "m"]:
        """Rows of a queue, in the order in which they are looked at."""
        has_suggestion = self._current >= 0
        if queue == "left":
            there = self._readable & ~has_suggestion
        else:
            there = self._members[queue] & has_suggestion
        order = self._orders[queue]
        return order[(there & ~self._decided)[order]]

    def _suggestion(self, row: int) -> str | None:
        code = self._current[row]
        return self.suggestions.labels[code] if code >= 0 else None

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
                    self._apply(decision)
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
            self._replay()
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

    def _replay(self) -> None:
        self._states, self._blind = {}, {}
        own = self.suggestions
        self._decided = np.zeros(len(own), bool)
        self._current = np.array([some[0] if some else -1 for some in own.suggested], np.int64)
        undone = {one.undoes for one in self._journal.decisions if one.outcome == "undo"}
        for decision in self._journal.decisions:
            if decision.action not in undone:
                self._apply(decision)

    def _apply(self, decision: Decision) -> None:
        for name in decision.ids:
            row = self._row_of.get(name)
            if row is None:
                continue  # The catalog changed; the decision stays in the journal.
            if decision.outcome == "blind":
                self._blind[row] = decision.label
                continue
            state = self._states.setdefault(row, State())
            state.number = decision.number
            if decision.outcome == "not":
                state.declined.add(decision.label)
            elif decision.outcome == "drop":
                state.dropped, state.label = True, None
            elif decision.outcome == "label":
                state.dropped, state.label = False, decision.label
            self._decided[row] = state.is_decided
            self._current[row] = self._next_suggestion(row, state)

    def _next_suggestion(self, row: int, state: State) -> int:
        """The most probable class that it was not said not to be of; -1 where none is left."""
        labels = self.suggestions.labels
        codes = self.suggestions.suggested[row]
        return next((code for code in codes if labels[code] not in state.declined), -1)

    # -- the blind check --------------------------------------------------------------------

    def blind_row(self) -> int | None:
        """An image of the holdout that has no blind label yet; None where all have one."""
        with self._lock:
            return next((row for row in self._holdout if row not in self._blind), None)

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
            self._apply(decision)
        return decision

    def score(self) -> dict[str, Any]:
        """How often the labels so far are those that people gave without seeing any.

        The label of an image is the decided one, else the given one, else the suggested one. The
        images are a random sample of all, chosen before anybody decided. With k of n right, the
        interval is Wilson's; it halves with four times as many images.
        """
        with self._lock:
            blind = dict(self._blind)
            right = sum(self._label_now(row) == label for row, label in blind.items())
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

    def _label_now(self, row: int) -> str | None:
        state = self._states.get(row)
        if state is not None and state.label is not None:
            return state.label
        return self.suggestions.given[row] or self._suggestion(row)

    # -- what is written --------------------------------------------------------------------

    def known_labels(self) -> list[str]:
        """The model's classes and those that people typed, in order."""
        with self._lock:
            typed = {state.label for state in self._states.values() if state.label}
        return sorted({*self.suggestions.labels, *typed})

    def decisions(self) -> pl.DataFrame:
        """What was decided, a row for each image: what `train --decisions` takes."""
        own = self.suggestions
        with self._lock:
            decided = sorted(row for row, state in self._states.items() if state.is_decided)
            rows = [
                {
                    "id": own.ids[row],
                    "decision": "drop" if self._states[row].dropped else "keep",
                    "new_label": self._states[row].label,
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

    def shown(self, rows: Iterable[int]) -> list[dict[str, Any]]:
        """Images as a screen shows them."""
        own = self.suggestions
        return [
            {
                "id": own.ids[row],
                "image": row_thumbnail(own.catalog, row, side_px=THUMBNAIL_PX),
                "given": own.given[row],
                "confidence": float(own.confidence[row]),
            }
            for row in rows
        ]


def check_label(label: str) -> None:
    """Refuse what is no label.

    Raises:
        ConfigError: it is empty, too long, or has control characters.
    """
    if not label.strip() or len(label) > LONGEST_LABEL or not label.isprintable():
        raise ConfigError(
            f"a label has 1 to {LONGEST_LABEL} characters that can be printed", where="label"
        )
