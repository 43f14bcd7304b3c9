"""Every reader of files of others, beside the decoding of images."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import export_bytes, kept_bytes, packed_bytes, run_bytes, table_bytes, web_answers
from tests.fuzz.mutations import Mutation, mutants

_MARK = "~"


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        check: reads a file, and gives `word`, or the kind of error of ours.
        seeds: whole files by name.
        word: what `check` says of a whole file.
        own: mutations of this format.
        libraries: large ones that it takes, see `within_limits`.
    """

    check: Callable[[Path], str]
    seeds: Callable[[], Mapping[str, bytes]]
    word: str
    own: tuple[Mutation, ...] = ()
    libraries: tuple[str, ...] = ()


_IN_TEXT, _IN_PARQUET = table_bytes.IN_TEXT, table_bytes.IN_PARQUET
TARGETS = {
    "text tables": Target(
        table_bytes.read_as_table, table_bytes.tables, "catalog", _IN_TEXT
    ),
    "Parquet": Target(
        table_bytes.read_as_table, table_bytes.parquet_files, "catalog", _IN_PARQUET
    ),
    "exports of shops": Target(
        export_bytes.read_as_export, export_bytes.exports, "catalog", _IN_TEXT
    ),
    "names of labels": Target(
        table_bytes.read_as_labels, table_bytes.label_files, "labels", _IN_TEXT
    ),
    "IDX": Target(packed_bytes.read_as_idx, packed_bytes.idx_files, "images"),
    "archives": Target(packed_bytes.unpack, packed_bytes.archive_files, "files"),
    "arrays": Target(packed_bytes.read_as_arrays, packed_bytes.array_files, "arrays"),
    "weights": Target(
        packed_bytes.read_as_tensors, packed_bytes.tensor_files, "tensors", _IN_TEXT
    ),
    "recipes": Target(
        run_bytes.read_as_recipe, run_bytes.recipes, "recipe", run_bytes.IN_RECIPES
    ),
    "runs and bundles": Target(
        run_bytes.read_in_run, run_bytes.run_files, "run", (*_IN_TEXT, *_IN_PARQUET)
    ),
    "checkpoints": Target(
        kept_bytes.read_as_checkpoint, kept_bytes.checkpoint_files, "checkpoint",
        kept_bytes.IN_CHECKPOINTS, ("shopsight.training.checkpoints",),
    ),
    "images of a run": Target(
        kept_bytes.read_as_precision_images, kept_bytes.precision_files, "images",
        libraries=("torch",),
    ),
    "answers of servers": Target(
        web_answers.read_from_server, web_answers.whole_answers, "file", web_answers.IN_ANSWERS
    ),
}  # fmt: skip


def read(path: Path) -> str:
    """Read a file by the target that its name begins with."""
    return TARGETS[path.name.partition(_MARK)[0]].check(path)


def target_of(name: str) -> str:
    """The target of an input."""
    return name.partition(_MARK)[0]


def whole(target: str) -> dict[str, bytes]:
    """The whole files of a target, by their names as inputs."""
    return {f"{target}{_MARK}{name}": data for name, data in TARGETS[target].seeds().items()}


@functools.cache
def broken(target: str, count: int, seed: int) -> dict[str, bytes]:
    """So many broken files of a target."""
    return dict(mutants(whole(target), count, seed, own=TARGETS[target].own))
