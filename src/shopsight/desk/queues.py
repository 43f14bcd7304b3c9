"""What is to be looked at, and in which order: the queues of a desk and their screens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int64

from shopsight.desk.board import Board
from shopsight.desk.suggestions import Suggestions

Queue = Literal[
    "doubtful", "conflicting", "duplicates", "unlabeled", "alike", "unknown", "uncertain", "left"
]
QUEUES: tuple[Queue, ...] = get_args(Queue)
"""Labels that are doubted; copies of one photo that have several labels; copies that have one;
images without a label, by what the model suggests and by how they look; images that the model does
not know; those that it is least sure of; those that are of none of the suggested classes."""
Mark = Literal["yes", "not", "drop"]
"""How a screen begins: an image is selected, is not, or is to be left out."""
SCREEN_IMAGES = 24
MOST_SCREEN = 100
UNCERTAIN_BELOW = 0.6
UNLIKELY_BELOW = 0.5
"""What is hardly likely is not accepted by not looking."""
MOST_ALIKE = 12
"""The farther from its first image, the more of a screen is something else: of 24 photos of clothes
1.73 clicks and keys a label, of 12 photos 1.42 (bench/desk.py)."""
CANDIDATES = 48
"""Images whose neighbors are looked at, to find a screen of photos that look alike."""


@dataclass(frozen=True)
class Screen:
    """Images to look at together.

    Attributes:
        queue: that they are from.
        label: that they are suggested to be of; "" where nothing is suggested.
        rows: of the catalog.
        marks: how each begins.
    """

    queue: Queue
    label: str
    rows: tuple[int, ...] = ()
    marks: tuple[Mark, ...] = ()


class Queues:
    """The queues of the images of a catalog.

    Args:
        suggestions: for the images.
    """

    def __init__(self, suggestions: Suggestions) -> None:
        self._suggestions = own = suggestions
        kinds = np.array(own.kinds, object)
        self._readable: Bool[np.ndarray, "n"] = np.array([bool(some) for some in own.suggested])
        unlabeled = np.array([one is None for one in own.given])
        self._members = {
            "doubtful": kinds == "doubtful",
            "unlabeled": kinds == "unlabeled",
            "alike": unlabeled & self._readable & (own.vectors.shape[1] > 0),
            "unknown": own.unknown,
            "uncertain": (kinds == "agreed") & (own.confidence < UNCERTAIN_BELOW),
        }
        by_confidence = np.argsort(-own.confidence, kind="stable")
        self._orders = {
            "doubtful": np.argsort(-own.suspicion, kind="stable"),
            "unlabeled": by_confidence,
            "uncertain": by_confidence[::-1],
            "unknown": by_confidence[::-1],
        }
        self._groups = _groups(own.copies)

    def count(self, queue: Queue, board: Board) -> int:
        """Images that wait in a queue."""
        if queue in ("conflicting", "duplicates"):
            return sum(len(rows) for rows in self._waiting_groups(queue, board))
        return len(self._waiting(queue, board))

    def screen(self, queue: Queue, board: Board, *, most: int, skip: Sequence[str]) -> Screen:
        """The next screen of a queue; one without rows where nothing is left of it.

        Args:
            queue: to look at.
            board: what was decided.
            most: images, at the most.
            skip: labels to pass over for now.
        """
        match queue:
            case "conflicting" | "duplicates":
                return self._copies(queue, board, most, skip)
            case "alike":
                return self._alike(board, min(most, MOST_ALIKE))
            case "left":
                rows = self._waiting(queue, board)[:most]
                return Screen(queue, "", tuple(rows.tolist()), _all_selected(rows))
        return self._suggested(queue, board, most, skip)

    def _suggested(self, queue: Queue, board: Board, most: int, skip: Sequence[str]) -> Screen:
        labels = self._suggestions.labels
        waiting = self._waiting(queue, board)
        codes = board.current[waiting]
        skipped = {labels.index(one) for one in skip if one in labels}
        kept = ~np.isin(codes, list(skipped))
        waiting, codes = waiting[kept], codes[kept]
        if not len(waiting):
            return Screen(queue, "")
        # The class with most to decide: a screen of one image is a click for one image. Of several
        # that fill a screen, the one whose first image comes first.
        there, first, counts = np.unique(codes, return_index=True, return_counts=True)
        best = np.lexsort((first, -np.minimum(counts, most)))[0]
        rows = waiting[codes == there[best]][:most]
        likely = self._suggestions.confidence[rows] >= UNLIKELY_BELOW
        marks: tuple[Mark, ...] = tuple("yes" if one else "not" for one in likely.tolist())
        return Screen(queue, labels[there[best]], tuple(rows.tolist()), marks)

    def _waiting(self, queue: Queue, board: Board) -> Int64[np.ndarray, "m"]:
        """Rows of a queue, in the order in which they are looked at."""
        has_suggestion = board.current >= 0
        if queue == "left":
            there = self._readable & ~has_suggestion
        elif queue == "alike":
            there = self._members[queue]
        else:
            there = self._members[queue] & has_suggestion
        order = self._orders.get(queue, self._orders["unlabeled"])
        return order[(there & ~board.decided)[order]]

    # -- copies of one photo ----------------------------------------------------------------

    def _copies(self, queue: Queue, board: Board, most: int, skip: Sequence[str]) -> Screen:
        """One group: which label all of them have, or which one of them stays."""
        for rows in self._waiting_groups(queue, board):
            label = Counter(filter(None, map(board.own_label, rows))).most_common(1)[0][0]
            if label in skip:
                continue
            shown = tuple(rows[:most])
            marks = _all_selected(shown)
            if queue == "duplicates":
                marks = tuple("yes" if at == 0 else "drop" for at in range(len(shown)))
            return Screen(queue, label, shown, marks)
        return Screen(queue, "")

    def _waiting_groups(self, queue: Queue, board: Board) -> Iterator[list[int]]:
        """Groups with an image that nobody has looked at, each without what is left out."""
        for group in self._groups:
            rows = [row for row in group if not board.dropped[row]]
            if len(rows) < 2 or all(row in board.states for row in rows):
                continue
            labels = {board.own_label(row) for row in rows} - {None}
            if (len(labels) == 1) if queue == "duplicates" else (len(labels) > 1):
                yield rows

    # -- photos that look alike -------------------------------------------------------------

    def _alike(self, board: Board, most: int) -> Screen:
        """The images nearest to one of them: of some, the one whose neighbors are nearest.

        The label that is suggested is that of the nearest image that has one.
        """
        waiting = self._waiting("alike", board)
        if not len(waiting):
            return Screen("alike", "")
        vectors = self._suggestions.vectors
        rng = np.random.default_rng(len(board.states))
        tried = rng.permutation(waiting)[:CANDIDATES]
        cosines = vectors[tried] @ vectors[waiting].T
        farthest = max(0, len(waiting) - most)
        tightness = np.partition(cosines, farthest, axis=1)[:, farthest:].mean(axis=1)
        best = cosines[int(tightness.argmax())]
        rows = waiting[np.argsort(-best, kind="stable")[:most]]
        label = self._label_near(rows, board)
        return Screen("alike", label, tuple(rows.tolist()), _all_selected(rows))

    def _label_near(self, rows: Int64[np.ndarray, "m"], board: Board) -> str:
        vectors = self._suggestions.vectors
        known = np.flatnonzero(board.labeled)
        if not len(known):
            return ""
        center = vectors[rows].mean(axis=0)
        return board.own_label(int(known[(vectors[known] @ center).argmax()])) or ""


def _all_selected(rows: Sized) -> tuple[Mark, ...]:
    return tuple("yes" for _ in range(len(rows)))


def _groups(copies: Int64[np.ndarray, "n"]) -> list[list[int]]:
    """The rows of each group of at least two, in the order of their first rows."""
    order = np.argsort(copies, kind="stable")
    ends = np.flatnonzero(np.diff(copies[order])) + 1
    groups = [part.tolist() for part in np.split(order, ends) if len(part) > 1]
    return sorted(groups)
