"""One row of figures per epoch, and the file that holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from shopsight.files import atomic_file


@dataclass(frozen=True)
class EpochRow:
    """Figures of one epoch; the probe is a row of its own, epoch 0.

    Attributes:
        train_loss, train_accuracy: of augmented images, while the weights still move; with
            mixed images the accuracy is against the larger share.
        lr: of the backbone's last stage, at the epoch's end.
        seconds: wall time, validation included.
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

    @property
    def validated(self) -> bool:
        """Whether there were validation images."""
        return not math.isnan(self.val_accuracy)

    def figures(self) -> dict[str, float]:
        """What a tracker logs; without validation images nothing of them."""
        names = ["train_loss", "train_accuracy", "lr"]
        names += ["val_loss", "val_accuracy"] if self.validated else []
        return {name: getattr(self, name) for name in names}

    def line(self) -> str:
        """What a reader of the log wants to know."""
        val = f", val loss {self.val_loss:.3f}, val accuracy {self.val_accuracy:.2%}"
        text = f"train loss {self.train_loss:.3f}{val if self.validated else ''}"
        return f"epoch {self.epoch}: {text} ({self.seconds:.0f} s)"


def best_epoch(rows: Sequence[EpochRow]) -> EpochRow:
    """The row (of at least one) with the highest validation accuracy; of equals, the lowest loss.

    Without validation images, the last.
    """
    validated = [row for row in rows if row.validated]
    if not validated:
        return rows[-1]
    return max(validated, key=lambda row: (row.val_accuracy, -row.val_loss))


def write_history(path: Path, rows: list[EpochRow]) -> None:
    with atomic_file(path) as part:
        pl.DataFrame([asdict(row) for row in rows]).write_csv(part)


def read_history(path: Path) -> list[EpochRow]:
    if not path.is_file():
        return []
    return [EpochRow(**row) for row in pl.read_csv(path).to_dicts()]
