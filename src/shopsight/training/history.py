"""One row of figures per epoch, and the file that holds them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from shopsight.files import atomic_file


@dataclass(frozen=True)
class EpochRow:
    """Figures of one epoch; the probe is a row of its own, epoch 0.

    Attributes:
        train_loss, train_accuracy: of augmented pictures, while the weights still move; with
            mixed pictures the accuracy is against the larger share.
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


def write_history(path: Path, rows: list[EpochRow]) -> None:
    with atomic_file(path) as part:
        pl.DataFrame([asdict(row) for row in rows]).write_csv(part)


def read_history(path: Path) -> list[EpochRow]:
    if not path.is_file():
        return []
    return [EpochRow(**row) for row in pl.read_csv(path).to_dicts()]
