"""Checkpoints without pickle: what training needs to resume, as tensors and JSON.

A checkpoint is a pair of files, `last.json` and `last-<hash>.safetensors`. The JSON file names the
tensor file and holds everything that is not a tensor: loop counters, learning rates, the schedule,
the history, the loss scaler. Reading it never runs code.

The pair is replaced as one: the new tensor file is written under a name of its own (the start of
its SHA-256), then the JSON file is renamed over the old one, then the old tensor file is removed.
Whenever the process dies, the JSON file in place names a whole tensor file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from shopsight.errors import (
    HeldFileError,
    LocationError,
    TrainingError,
    WeightsError,
    WriteError,
    first_line,
)
from shopsight.files import make_folder, put_in_place, sha256_file, sha256_json, write_text
from shopsight.held_files import remove_file
from shopsight.io.json_files import JSON_BYTES, parse_json
from shopsight.io.local_files import read_file
from shopsight.io.tensor_header import check_fits_in_memory, read_tensor_header
from shopsight.progress import notify
from shopsight.text import command_line
from shopsight.write_errors import write_errors_named

CHECKPOINT_FORMAT = "shopsight checkpoint"
CHECKPOINT_VERSION = 1
# JSON knows no tensors, tuples, keys that are numbers, NaN or infinity: an object with one of
# these keys stands for them.
TENSOR, TUPLE, ITEMS, FLOAT = "$tensor", "$tuple", "$items", "$float"


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` as the JSON file `path` and a tensor file beside it; replace the pair there.

    Args:
        path: of the JSON file.
        state: dictionaries, lists and tuples of tensors, numbers, strings, booleans and None.

    Raises:
        TypeError: `state` holds something else.
        HeldFileError: another program has a file of the pair open; the old pair is whole.
        WriteError: the disk is full, or cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    tree = _to_json(state, (), tensors)
    make_folder(path.parent)
    # The same name each time: a killed process leaves one such file behind, not many.
    part = path.with_suffix(".part")
    try:
        with write_errors_named(path, needed_bytes=sum(map(_bytes_of, tensors.values()))):
            save_file(tensors, part)
    except WriteError:
        remove_file(part)
        raise
    digest = sha256_file(part)
    tensor_file = path.with_name(f"{path.stem}-{digest[:16]}.safetensors")
    put_in_place(part, tensor_file, keep=False)
    header = {
        "format": CHECKPOINT_FORMAT,
        "version": CHECKPOINT_VERSION,
        "tensors": tensor_file.name,
        "tensors_sha256": digest,
        "state_sha256": sha256_json(tree),
        "state": tree,
    }
    write_text(path, json.dumps(header, allow_nan=False, indent=1) + "\n", keep=False)
    for old in tensor_files(path):
        if old != tensor_file:
            # One that a scanner holds is removed with the next checkpoint.
            remove_file(old)


def _bytes_of(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote, tensors on the CPU.

    Raises:
        TrainingError: a file is missing or damaged, or was written by something else.
    """
    try:
        header = parse_json(read_file(path, most_bytes=JSON_BYTES))
    except FileNotFoundError:
        raise _unusable(path, "there is no such file") from None
    except ValueError as error:
        raise _unusable(path, f"it is not JSON ({error})") from error
    except LocationError as error:
        raise _unusable(path, error.what) from error
    if not isinstance(header, dict) or header.get("format") != CHECKPOINT_FORMAT:
        raise _unusable(path, "shopsight did not write it")
    if header.get("version") != CHECKPOINT_VERSION:
        raise _unusable(path, f"its version is {header.get('version')!r}, not {CHECKPOINT_VERSION}")
    tree = header.get("state")
    if sha256_json(tree) != header.get("state_sha256"):
        raise _unusable(path, "its content does not match its SHA-256")
    # One that lies beside it: a checkpoint reads nothing outside its folder.
    name = header.get("tensors")
    tensor_file = next((one for one in tensor_files(path) if one.name == name), None)
    if tensor_file is None or not tensor_file.is_file():
        raise _unusable(path, f"its tensor file {str(name)[:80]} is missing")
    try:
        check_fits_in_memory(read_tensor_header(tensor_file), tensor_file)
    except WeightsError as error:
        raise _unusable(path, f"its tensor file {tensor_file.name} {error.what}") from error
    if sha256_file(tensor_file) != header.get("tensors_sha256"):
        raise _unusable(path, f"its tensor file {tensor_file.name} does not match its SHA-256")
    try:
        state = _from_json(tree, load_file(tensor_file))
    except SafetensorError as error:
        raise _unusable(path, f"its tensor file {tensor_file.name}: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        # A RecursionError is a RuntimeError, as is an order of axes that are not there.
        raise _unusable(path, f"its content cannot be read ({first_line(error)})") from error
    if not isinstance(state, dict):
        raise _unusable(path, "its content is no table")
    return state


def tensor_files(path: Path) -> list[Path]:
    """The tensor files that belong to the checkpoint `path`, or did before it was replaced."""
    return sorted(path.parent.glob(f"{path.stem}-*.safetensors"))


def _unusable(path: Path, why: str) -> TrainingError:
    run = path.parent.parent
    return TrainingError(
        f"training cannot resume from this checkpoint: {why}",
        where=str(path),
        fix=f"delete the files {path.stem}* in {path.parent}, then repeat the fine-tuning from its "
        f"first epoch: {command_line(['shopsight', 'train', '--resume', run])}",
    )


def _to_json(value: Any, where: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON; its tensors go to `tensors` under their dotted path."""
    if isinstance(value, Tensor):
        return _put(value, ".".join(where), tensors)
    if isinstance(value, Mapping):
        plain = all(isinstance(key, str) and not key.startswith("$") for key in value)
        encoded = {key: _to_json(item, (*where, str(key)), tensors) for key, item in value.items()}
        return encoded if plain else {ITEMS: [[key, item] for key, item in encoded.items()]}
    if isinstance(value, list | tuple):
        members = [_to_json(item, (*where, str(n)), tensors) for n, item in enumerate(value)]
        return members if isinstance(value, list) else {TUPLE: members}
    if isinstance(value, float) and not math.isfinite(value):
        return {FLOAT: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{'.'.join(where)}: a checkpoint cannot hold a {type(value).__name__}")


def _from_json(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What `_to_json` made the value of; each tensor is taken out, since it stands there once."""
    if isinstance(value, list):
        return [_from_json(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if TENSOR in value:
        return _take(value, tensors)
    if TUPLE in value:
        return tuple(_from_json(item, tensors) for item in value[TUPLE])
    if ITEMS in value:
        return {key: _from_json(item, tensors) for key, item in value[ITEMS]}
    if FLOAT in value:
        return float(value[FLOAT])
    return {key: _from_json(item, tensors) for key, item in value.items()}


def _put(tensor: Tensor, name: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    assert name not in tensors, f"two tensors are called {name}"
    tensor = tensor.detach()
    # Elements are kept in the order in which they lie in memory, and the order is noted:
    # channels-last moments that came back as plain ones would be added up by other kernels, whose
    # rounding may differ in the last bit.
    strides = tensor.stride()
    order = sorted(range(tensor.ndim), key=lambda axis: -strides[axis])
    if tensor.is_contiguous() or not tensor.permute(order).is_contiguous():
        order = list(range(tensor.ndim))
    # A copy: some networks hold one tensor under two names, which safetensors refuses.
    tensors[name] = tensor.permute(order).to("cpu", copy=True).contiguous()
    noted: dict[str, Any] = {TENSOR: name}
    if order != sorted(order):
        noted["order"] = order
    return noted


def _take(noted: Mapping[str, Any], tensors: dict[str, Tensor]) -> Tensor:
    # A copy: what is read is a view of the file, which is removed when the next one is written.
    # Only one: a file could name one tensor a million times.
    tensor = tensors.pop(noted[TENSOR]).clone()
    order: list[int] | None = noted.get("order")
    return tensor if order is None else tensor.permute([order.index(n) for n in range(len(order))])


class CheckpointFiles(CheckpointIO):
    """Lightning's door to `write_checkpoint` and `read_checkpoint`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None
    ) -> None:
        """Write the checkpoint; Lightning calls it in the first process only."""
        assert storage_options is None, "files are written to the run folder alone"
        try:
            write_checkpoint(Path(path), checkpoint)
        except HeldFileError as error:
            # The checkpoint before this one is whole, and the next epoch writes another.
            notify(f"{error.where}: {error.what}; training continues, this epoch is not saved")

    def load_checkpoint(
        self, path: Path | str, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read the checkpoint; there is nothing that `weights_only` would have to guard against."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Path | str) -> None:
        """Remove the pair of files."""
        for file in (Path(path), *tensor_files(Path(path))):
            remove_file(file)


class LastCheckpoint(Checkpoint):
    """Writes `path` after each epoch: weights, optimizer, schedule, averages, history.

    It is a `Checkpoint`, which Lightning calls after every other hook of the epoch, so that what
    the module noted at the epoch's end is in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, _module: LightningModule) -> None:
        """Write the checkpoint of this epoch."""
        # All processes take part: each adds its random states.
        trainer.save_checkpoint(self.path)


def resume_point(path: Path, *, epochs: int) -> Path | None:
    """The checkpoint to resume from, or None when training begins.

    Args:
        path: where the checkpoint is written.
        epochs: fine-tuning epochs in the history.

    Raises:
        TrainingError: its JSON file is missing, or an earlier version wrote it.
    """
    if path.is_file():
        return path
    pickled = path.with_suffix(".ckpt")
    if pickled.is_file():
        raise _unusable(pickled, "an earlier version wrote it, as a pickle")
    # In the first epoch a process may have died after the tensor file and before the JSON file.
    if epochs > 1 and tensor_files(path):
        raise _unusable(path, f"it is missing beside {tensor_files(path)[-1].name}")
    return None
