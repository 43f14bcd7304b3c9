"""How much of a disk items take: what has no room is refused before it is begun.

An engine in process writes into mapped files. Where the disk is full, the system does not answer
such a write with an error but ends the process (SIGBUS). So room is asked for before.
"""

from __future__ import annotations

from pathlib import Path

from shopsight.vector_engines.engine import EngineSettings, Storage
from shopsight.write_errors import check_room

ROW_BYTES = 500
"""Of an item in the log, beside its vectors: measured 40 with short cells; texts take more."""
POINT_BYTES = 1000
"""Of a point in the engine, beside its vectors: measured 360 to 730, with its edges up to 900."""
VECTOR_BYTES: dict[Storage, int] = {"f32": 4, "f16": 2, "int8": 3, "turbo8": 2}
"""Of a number in the engine; "int8" lies beside the "f16" that it is scored again by."""
PIECE_BYTES = 32 << 20
"""By which files of vectors and of payloads grow: holes, where the disk has those, and all of it
where it has none (exFAT) or where holes that are looked at are filled (a disk in memory)."""
COLUMN_BYTES = 2 << 20
"""Of the marks of a column, likewise."""
MARK_BYTES = 2 << 20
"""That taking points out needs: pages of files that are there."""


def log_bytes(count: int, settings: EngineSettings) -> int:
    """What items take in a log, at most."""
    return count * (2 * sum(settings.dims.values()) + ROW_BYTES)


def engine_bytes(count: int, settings: EngineSettings) -> int:
    """What points take that are put into an engine in process."""
    if not count:
        return MARK_BYTES
    # A graph's segment is written beside the one that it replaces.
    copies = 2 if count > settings.exact_below else 1
    vector = VECTOR_BYTES[settings.storage] * sum(settings.dims.values())
    return count * (POINT_BYTES + copies * vector) + (1 + len(settings.dims)) * PIECE_BYTES


def new_engine_bytes(count: int, settings: EngineSettings) -> int:
    """What a new engine in process takes while it is filled and its graph is built."""
    return engine_bytes(count, settings) + len(settings.schema) * COLUMN_BYTES


def check_room_for_change(
    folder: Path, settings: EngineSettings, count: int, *, url: str | None
) -> None:
    """Refuse to write what log and engine of a generation have no room for.

    Args:
        folder: of the generation.
        settings: of its engine.
        count: items that are put in; 0 takes some out.
        url: of the server that has the engine; then that takes nothing here.

    Raises:
        WriteError: less is free than they need.
    """
    engine = engine_bytes(count, settings) if url is None else 0
    check_room(folder, log_bytes(count, settings) + engine)


def check_room_for_engine(
    folder: Path, settings: EngineSettings, count: int, *, logged: int = 0, url: str | None
) -> None:
    """Refuse to make an engine that has no room.

    Args:
        folder: of the generation.
        settings: of the engine.
        count: items that it will hold.
        logged: of them, those that are not in the generation's log yet.
        url: of the server that has the engine; then that takes nothing here.

    Raises:
        WriteError: less is free than it needs.
    """
    engine = new_engine_bytes(count, settings) if url is None else 0
    check_room(folder, log_bytes(logged, settings) + engine)
