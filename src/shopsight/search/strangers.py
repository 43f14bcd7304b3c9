"""The scores that strangers reach in an index: what "not in the catalog" is told by.

    INDEX/strangers.json    written by `shopsight evaluate INDEX`, read by `search --false-accept`

A stranger is a query whose own product is not in the index. Its best score is some other product's.
Of n such scores the least score for a rate r lies just above the one that (1 - r) n of them do not
exceed, so that at most the share r of strangers reaches it. Of n strangers no rate below 1 / n can
be told from none. More items give strangers better scores, so a measurement holds for the items
that it was made on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shopsight import progress
from shopsight.errors import SearchError, ShopsightError, WriteError
from shopsight.files import write_json
from shopsight.io.json_files import read_json
from shopsight.search.index import Index
from shopsight.text import command_line, count_text, percent_text

STRANGERS_FILE = "strangers.json"


class _Measured(BaseModel):
    """The content of the file; `holds_for` is the fingerprint of the items that were searched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    holds_for: str
    asked: str
    relevant_by: str
    best_scores: tuple[float, ...] = Field(min_length=1, max_length=1_000_000)


@dataclass(frozen=True)
class Strangers:
    """The best scores of queries, each without its own product.

    Attributes:
        asked: what the queries were: "its own photos", or the name of a catalog.
        relevant_by: "product" or "label": of what a query's own are left out.
        best_scores: ascending, n of them.
    """

    asked: str
    relevant_by: str
    best_scores: Float64[np.ndarray, "n"] = field(repr=False)

    def least_score(self, rate: float) -> float:
        """The score that at most a share of strangers reaches.

        Args:
            rate: the share, from 1 / n to below 1.
        """
        count = len(self.best_scores)
        # Not one more for a rate such as .01, whose product with 100 is a little below 1.
        position = max(0, min(count - 1, int(np.ceil((1 - rate) * count - 1e-9)) - 1))
        return float(np.nextafter(np.float32(self.best_scores[position]), np.float32(2)))


def keep_strangers(index: Index, strangers: Strangers) -> None:
    """Write what was measured into the index; where that cannot be written, it is said."""
    measured = _Measured(
        holds_for=_fingerprint(index),
        asked=strangers.asked,
        relevant_by=strangers.relevant_by,
        best_scores=tuple(strangers.best_scores.tolist()),
    )
    try:
        write_json(index.folder.path / STRANGERS_FILE, measured.model_dump(mode="json"))
    except WriteError as error:
        progress.notify(f"`search --false-accept` will not know these scores: {error.what}")


def read_strangers(index: Index, rate: float) -> Strangers:
    """What was measured on the items that the index has now.

    Args:
        index: that is open.
        rate: a share of strangers that is to be let in.

    Raises:
        SearchError: that is no such share, nothing was measured, or on other items, or on too few.
    """
    if not 0 < rate < 1:
        raise SearchError(
            f"{rate:g} is no share of strangers: more than 0, less than 1",
            where="--false-accept",
            fix="--false-accept 0.01",
        )
    measure = command_line(["shopsight", "evaluate", index.folder.path])
    measure += f"\n{measure} --queries DATA   (by photos as customers take them)"
    file = index.folder.path / STRANGERS_FILE
    if not file.is_file():
        raise SearchError(
            "what scores strangers reach in this index was never measured",
            where="--false-accept",
            fix=measure,
        )
    try:
        found = _Measured.model_validate(read_json(file))
    except (ValidationError, OSError, ShopsightError) as error:
        raise SearchError("cannot be read", where=str(file), fix=measure) from error
    if found.holds_for != _fingerprint(index):
        raise SearchError(
            "what scores strangers reach was measured before the index changed",
            where="--false-accept",
            fix=measure,
        )
    scores = np.sort(np.array(found.best_scores, np.float64))
    if rate * len(scores) < 1 - 1e-9:
        raise SearchError(
            f"{count_text(len(scores))} strangers measure no share below "
            f"{percent_text(1 / len(scores), 2)}, and {percent_text(rate, 2)} is asked for",
            where="--false-accept",
            fix=f"--false-accept {np.ceil(1000 / len(scores)) / 1000:g}\n"
            "shopsight evaluate INDEX --queries DATA   (of more photos)",
        )
    return Strangers(found.asked, found.relevant_by, scores)


def _fingerprint(index: Index) -> str:
    """Of the space and the items, by their images and products."""
    table = index.items(["product", "sha256", *(["label"] if "label" in index.schema else [])])
    digest = hashlib.sha256(index.info.space.fingerprint.encode())
    for row in table.iter_rows():
        digest.update(repr(row).encode())
    return digest.hexdigest()
