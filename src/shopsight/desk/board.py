"""What was decided about each image so far, by the lines of a journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from shopsight.desk.journal import Decision
from shopsight.desk.suggestions import Suggestions


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


class Board:
    """The state of all images.

    Args:
        suggestions: for them.
        row_of: the row of each id.
        decisions: that were made; those that were undone among them count no more.

    Attributes:
        states: of the images about which something was decided, by row.
        blind: labels that were given without a suggestion in sight, by row.
        decided: has a label, or is left out, by decision.
        dropped: is left out.
        labeled: has a label, decided or given, and is not left out.
        current: the class that is suggested now, as an index; -1 without one.
    """

    def __init__(
        self,
        suggestions: Suggestions,
        row_of: Mapping[str, int],
        decisions: Iterable[Decision],
    ) -> None:
        self._suggestions, self._row_of = suggestions, row_of
        self.states: dict[int, State] = {}
        self.blind: dict[int, str] = {}
        self.decided = np.zeros(len(suggestions), bool)
        self.dropped = np.zeros(len(suggestions), bool)
        self.labeled = np.array([one is not None for one in suggestions.given], bool)
        self.current = np.array([some[0] if some else -1 for some in suggestions.suggested], int)
        made = list(decisions)
        undone = {one.undoes for one in made if one.outcome == "undo"}
        for decision in made:
            if decision.action not in undone:
                self.apply(decision)

    def apply(self, decision: Decision) -> None:
        """Count a decision."""
        for name in decision.ids:
            row = self._row_of.get(name)
            if row is None:
                continue  # The catalog changed; the decision stays in the journal.
            if decision.outcome == "blind":
                self.blind[row] = decision.label
                continue
            state = self.states.setdefault(row, State())
            state.number = decision.number
            if decision.outcome == "not":
                state.declined.add(decision.label)
            elif decision.outcome == "drop":
                state.dropped, state.label = True, None
            elif decision.outcome == "label":
                state.dropped, state.label = False, decision.label
            self.decided[row], self.dropped[row] = state.is_decided, state.dropped
            self.labeled[row] = not state.dropped and self.own_label(row) is not None
            self.current[row] = self._next_suggestion(row, state)

    def own_label(self, row: int) -> str | None:
        """The decided label of an image, else the given one."""
        state = self.states.get(row)
        if state is not None and state.label is not None:
            return state.label
        return self._suggestions.given[row]

    def label_now(self, row: int) -> str | None:
        """The decided label of an image, else the given one, else the suggested one."""
        own, code = self.own_label(row), self.current[row]
        return own or (self._suggestions.labels[code] if code >= 0 else None)

    def _next_suggestion(self, row: int, state: State) -> int:
        """The most probable class that it was not said not to be of; -1 where none is left."""
        labels = self._suggestions.labels
        codes = self._suggestions.suggested[row]
        return next((code for code in codes if labels[code] not in state.declined), -1)
