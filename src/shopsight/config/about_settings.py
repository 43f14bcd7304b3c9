"""What a recipe says of itself: a section that decides nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shopsight.config.reach import NOTHING, READS
from shopsight.config.section import Section, Text


class About(Section):
    """Where a recipe comes from, for `shopsight recipes`.

    Attributes:
        title: One line: what is trained, on what.
        source: The original work, or "shopsight".
        data: The named data set that it trains on without DATA, or "any".
        reported: The accuracy that the original work states, percent, with its data.
        measured: What we measured with this file, with its data, or why nothing was measured yet.
        cost: Epochs and images, or the time on a named machine.
        notes: Faults of the original, and what is done differently here.
        chosen_on: Data sets whose scores decided about the recipe; on them its scores are too high.
    """

    title: Text = ""
    source: Text = ""
    data: Annotated[str, READS] = ""
    reported: Text = ""
    measured: Text = ""
    cost: Text = ""
    notes: Text = ""
    chosen_on: Annotated[tuple[Text, ...], Field(max_length=100), NOTHING] = ()
