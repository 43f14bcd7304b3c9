"""One row of figures per epoch, the file that holds them, and which epoch's weights are kept."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl

from shopsight.config.training_settings import Checkpoint
from shopsight.files import atomic_file, damage_named
from shopsight.io.local_files import read_file

HISTORY_BYTES = 16 << 20
"""The most that a history may have: an epoch has about a hundred."""
PROBE, FINETUNE = "probe", "finetune"
"""The stage of the row that a linear probe leaves, and that of an epoch of fine-tuning."""


@dataclass(frozen=True)
class EpochRow:
    """Figures of one epoch; the probe is a row of its own, epoch 0.

    Attributes:
        stage: "probe" or "finetune".
        epoch: counted from 1.
        size_px: side of the training images.
        lr: learning rate of the backbone's last stage, at the epoch's end.
        train_loss: mean over augmented images while the weights still change, in nats.
        train_accuracy: over the same images; of mixed images against the label that has the
            larger part.
        val_loss: mean over the validation images, in nats; NaN where there are none.
        val_accuracy: likewise.
        seconds: wall time, validation included.
        further: what this kind of training has beside these, by name: a margin, an angle, a mAP.
            Columns of their own in the file, empty in rows without them.
    """

    stage: str
    epoch: int
    size_px: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    further: Mapping[str, float] = field(default_factory=dict)

    @property
    def validated(self) -> bool:
        """Whether there were validation images."""
        return not math.isnan(self.val_accuracy)

    def figures(self) -> dict[str, float]:
        """The figures for a tracker, by name; without validation images none of them."""
        names = ["train_loss", "train_accuracy", "lr"]
        names += ["val_loss", "val_accuracy"] if self.validated else []
        return {name: getattr(self, name) for name in names} | dict(self.further)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> EpochRow:
        """The row of what `vars` gives of one, as somebody else may have written it.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: it is none.
        """
        row = {name: _plain(kept[name], kind) for name, kind in _FIELDS.items()}
        if row["stage"] not in {PROBE, FINETUNE}:
            raise ValueError(f"a stage {str(row['stage'])[:40]!r}")
        further = {
            str(name): _plain(figure, "float") for name, figure in kept.get(_FURTHER, {}).items()
        }
        return cls(**row, further=further)

    def line(self) -> str:
        """The epoch as a line of the log."""
        val = f", val loss {self.val_loss:.3f}, val accuracy {self.val_accuracy:.2%}"
        text = f"train loss {self.train_loss:.3f}{val if self.validated else ''}"
        text += "".join(
            f", {name.replace('_', ' ')} {figure:.4g}" for name, figure in self.further.items()
        )
        return f"epoch {self.epoch}: {text} ({self.seconds:.0f} s)"


RETRIEVAL = "val_map"
"""The further figure by which `training.checkpoint = "retrieval"` chooses."""


def best_epoch(rows: Sequence[EpochRow], *, by_retrieval: bool = False) -> EpochRow:
    """The row with the highest validation accuracy; among equals, the one with the lowest loss.

    Without validation images it is the last row.

    Args:
        rows: at least one.
        by_retrieval: the mean average precision counts instead of the accuracy.
    """
    validated = [row for row in rows if row.validated]
    if not validated:
        return rows[-1]

    def score(row: EpochRow) -> float:
        return row.further.get(RETRIEVAL, -1.0) if by_retrieval else row.val_accuracy

    return max(validated, key=lambda row: (score(row), -row.val_loss))


def selected_epoch(rows: Sequence[EpochRow], checkpoint: Checkpoint = "best") -> EpochRow | None:
    """The fine-tuning epoch whose weights become the model; None where nothing was fine-tuned.

    Args:
        rows: a run's history; a probe in it is skipped.
        checkpoint: the recipe's `training.checkpoint`.
    """
    tuned = [row for row in rows if row.stage != PROBE]
    if not tuned:
        return None
    if checkpoint == "last":
        return tuned[-1]
    return best_epoch(tuned, by_retrieval=checkpoint == "retrieval")


def mean_history(histories: Sequence[Sequence[EpochRow]]) -> list[EpochRow]:
    """The mean over several trainings, epoch by epoch.

    A training that stopped early counts in the epochs that it has.
    """
    by_epoch: dict[tuple[bool, int], list[EpochRow]] = {}
    for rows in histories:
        for row in rows:
            by_epoch.setdefault((row.stage != PROBE, row.epoch), []).append(row)
    return [_mean(rows) for _, rows in sorted(by_epoch.items())]


def _mean(rows: Sequence[EpochRow]) -> EpochRow:
    shared = [name for name in rows[0].further if all(name in row.further for row in rows)]
    return replace(
        rows[0],
        lr=fmean(row.lr for row in rows),
        train_loss=fmean(row.train_loss for row in rows),
        train_accuracy=fmean(row.train_accuracy for row in rows),
        val_loss=fmean(row.val_loss for row in rows),
        val_accuracy=fmean(row.val_accuracy for row in rows),
        seconds=fmean(row.seconds for row in rows),
        further={name: fmean(row.further[name] for row in rows) for name in shared},
    )


_FURTHER = "further"
_FIELDS = {one.name: str(one.type) for one in fields(EpochRow) if one.name != _FURTHER}
_KINDS = {"str": pl.String, "int": pl.Int64, "float": pl.Float64}
_TYPES = {name: _KINDS[kind] for name, kind in _FIELDS.items()}


def _plain(value: object, kind: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"a {type(value).__name__} for a figure")
    if isinstance(value, str) != (kind == "str"):
        raise TypeError(f"{str(value)[:40]!r} for a figure")
    if kind == "int" and not (isinstance(value, int) and abs(value) < 1 << 63):
        raise ValueError(f"{str(value)[:40]} for a count")
    return float(value) if kind == "float" else value


def write_history(path: Path, rows: list[EpochRow]) -> None:
    """Write one line per epoch as CSV.

    Raises:
        HeldFileError: A spreadsheet program has the file open.
    """
    # The rows are in the checkpoint too, and are written again with the next epoch.
    with atomic_file(path, keep=False) as part:
        table = [{name: getattr(row, name) for name in _FIELDS} | dict(row.further) for row in rows]
        pl.DataFrame(table, infer_schema_length=None).write_csv(part)


def read_history(path: Path) -> list[EpochRow]:
    """Read what `write_history` wrote; empty where there is no file."""
    if not path.is_file():
        return []
    with damage_named(path):
        data = read_file(path, most_bytes=HISTORY_BYTES)
        table = pl.read_csv(io.BytesIO(data), schema_overrides=_TYPES, infer_schema_length=None)
        if sum(table.select(list(_TYPES)).null_count().row(0)):
            raise ValueError("a figure is missing")
        others = [name for name in table.columns if name not in _TYPES]
        table = table.with_columns(pl.col(others).cast(pl.Float64))
        return [_row(cells, others) for cells in table.to_dicts()]


def _row(cells: dict[str, Any], others: Sequence[str]) -> EpochRow:
    further = {name: cells.pop(name) for name in others}
    return EpochRow(**cells, further={name: n for name, n in further.items() if n is not None})
