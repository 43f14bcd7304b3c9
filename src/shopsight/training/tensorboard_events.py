"""TensorBoard's event files, written by the training itself.

TensorBoard's own writer has a thread. Where that cannot write, Python prints the thread's stack
beside the error of the training, and what was logged last is lost without one. A few figures per
epoch need no thread: they are in the file when `log_metrics` returns.

Source: the format of the files, TFRecord, as `tensorboard.summary.writer.record_writer` writes it.
"""

from __future__ import annotations

import io
import os
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from shopsight.files import make_folder
from shopsight.write_errors import write_errors_named

# The first event of a file; TensorBoard reads no other version.
_FILE_VERSION = "brain.Event:2"


class EventLogger(Logger):
    """Appends the figures of each epoch to one event file, which the first ones begin.

    Args:
        folder: Holds the event files of a run, one for each process that trained it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{int(time.time()):010d}.{os.getpid()}"
        self._file = folder / name

    @property
    def name(self) -> str:
        return self._file.parent.name

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._file.parent.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append figures, one curve for each name.

        Raises:
            WriteError: The disk is full, or the file cannot be written.
        """
        now_s = time.time()
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        events = [Event(wall_time=now_s, step=step or 0, summary=Summary(value=values))]
        make_folder(self._file.parent)
        if not self._file.exists():
            events.insert(0, Event(wall_time=now_s, file_version=_FILE_VERSION))
        with write_errors_named(self._file), self._file.open("ab", buffering=0) as file:
            file.write(_records(events))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Nothing: the settings are in the run's recipe."""


def _records(events: list[Event]) -> bytes:
    content = io.BytesIO()
    for event in events:
        RecordWriter(content).write(event.SerializeToString())
    return content.getvalue()
