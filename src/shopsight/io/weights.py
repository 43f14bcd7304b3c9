"""Weight files of others: tensors by name, without code, no larger in memory than on disk.

safetensors is a list of sizes and the numbers. PyTorch's own format is an archive with a pickle
that says how tensors are put together; torch opens it with `weights_only`, which runs no code, but
takes memory on the pickle's word. So the archive's entries, and what the pickle calls, are looked
at before.
"""

from __future__ import annotations

import argparse
import mmap
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shopsight.errors import WeightsError, first_line
from shopsight.io.local_files import open_file
from shopsight.io.tensor_header import check_fits_in_memory, read_tensor_header
from shopsight.paths import is_file

if TYPE_CHECKING:
    from torch import Tensor

MOST_ENTRIES = 100_000
"""Of an archive: its tensors, and a few more."""
PICKLE_BYTES = 64 << 20
"""The most that the description of the tensors may have."""
# Where training scripts keep the weights inside a checkpoint, averaged ones first.
_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")
# What wrappers put before every name.
_WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.")
# How torch names the first class that it would have to run code for.
_REFUSED = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")
# What torch allows although it makes room for as many numbers as it is told to.
_MAKES_ROOM = re.compile(
    r"(builtins|__builtin__) bytearray|torch \w*Tensor|torch\.storage (Unt|T)ypedStorage"
    r"|torch\.\w+ \w*Tensor|torch\._utils _rebuild_qtensor"
)
_ENTRY_MARK = b"PK\x01\x02"
_ARCHIVE_MARK = b"PK\x03\x04"
# Seeds and the like in a checkpoint are numbers too, and may be larger than its file.
_LARGEST_SEED = 1 << 32
# The number that PyTorch's format before 2020 begins with.
_MARK = 0x1950A86A20F9469CFC6C
# Its parts before the numbers: that mark, a version, the machine, the tensors, their names.
_PICKLES = 5


def read_weights(path: str | Path, *, unwrap: bool = True) -> dict[str, Tensor]:
    """Read the state dict in a safetensors or PyTorch file; pickled code is never run.

    Checkpoints that hold the weights under "state_dict" or "model" are opened.

    Args:
        path: The file; only the suffix .safetensors is one.
        unwrap: Remove a prefix that all names share ("module.", "backbone.").

    Raises:
        WeightsError: There is no such file, it has neither format, holds Python objects, or says
            that it holds more than it has.
    """
    path = Path(path)
    if not is_file(path):
        raise WeightsError("no such weight file", where=str(path))
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    state = _state_dict_within(content, path)
    return _without_wrappers(state) if unwrap else state


def _safetensors(path: Path) -> object:
    import safetensors.torch

    check_fits_in_memory(read_tensor_header(path), path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _not_weights(path, first_line(error)) from error


def _torch_file(path: Path) -> object:
    import torch

    is_archive = _check_torch_file(path)
    try:
        with warnings.catch_warnings():
            # About pickle protocols and TorchScript: what matters of it is in the error.
            warnings.simplefilter("ignore")
            # Some published checkpoints keep their training script's arguments: plain data.
            with torch.serialization.safe_globals([argparse.Namespace]):
                # Mapped, a tensor is a part of the file and cannot be larger; nothing is unpacked.
                return torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except MemoryError:
        raise
    # What a file of another kind makes an unpickler raise depends on its bytes.
    except Exception as error:
        raise _refused(path, error) from error


def _check_torch_file(path: Path) -> bool:
    """Refuse a file that would take more memory than it has; give whether it is an archive.

    Raises:
        WeightsError: It would, or cannot be read.
    """
    try:
        with open_file(path) as file:
            is_archive = file.read(4) == _ARCHIVE_MARK
            file.seek(0)
            if is_archive:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    _check_entries(content, path)
                with zipfile.ZipFile(file) as archive:
                    _check_pickle(_description(archive, path), path)
            else:
                size = file.seek(0, 2)
                file.seek(0)
                _check_numbers(file.read(PICKLE_BYTES), size, path)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise _not_weights(path, first_line(error)) from error
    return is_archive


def _check_entries(content: mmap.mmap, path: Path) -> None:
    entries, place = 0, content.find(_ENTRY_MARK)
    while place >= 0:
        entries += 1
        if entries > MOST_ENTRIES:
            raise _too_large(path, f"it has more than {MOST_ENTRIES:,} entries")
        place = content.find(_ENTRY_MARK, place + 1)


def _description(archive: zipfile.ZipFile, path: Path) -> bytes:
    """The pickle in the archive; torch stores everything as it is."""
    found = b""
    entries = archive.infolist()
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise _python_objects(path, "TorchScript")
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _not_weights(path, f"its entry {entry.filename[:80]} is compressed")
        if entry.filename.rpartition("/")[2] == "data.pkl":
            if entry.file_size > PICKLE_BYTES:
                raise _too_large(path, f"its list of tensors has {entry.file_size:,} bytes")
            found = archive.read(entry)
    return found


def _check_pickle(data: bytes, path: Path) -> None:
    for _, name in _steps(data):
        if isinstance(name, str) and _MAKES_ROOM.fullmatch(name):
            raise _python_objects(path, name.replace(" ", "."))


def _check_numbers(data: bytes, size: int, path: Path) -> None:
    """Of PyTorch's format before 2020: room is made for as many numbers as the pickle says."""
    _check_pickle(data, path)
    numbers = (value for _, value in _steps(data) if isinstance(value, int) and value != _MARK)
    largest = max(numbers, default=0)
    if largest > max(size, _LARGEST_SEED):
        raise _too_large(path, f"it says {largest:,}, and the file has {size:,} bytes")


def _steps(data: bytes) -> Iterator[tuple[str, object]]:
    """What the pickles in `data` would have an unpickler do; none is done."""
    place = 0
    for _ in range(_PICKLES):
        begin = place
        try:
            for step, argument, at in pickletools.genops(data[begin:]):
                place = begin + (at or 0) + 1
                yield step.name, argument
        except (ValueError, IndexError, OverflowError, UnicodeDecodeError):
            # Where the pickles end and the numbers begin, or no pickle at all: torch says what.
            return


def _refused(path: Path, error: Exception) -> WeightsError:
    text = str(error)
    refused = _REFUSED.search(text)
    if refused or "TorchScript" in text:
        return _python_objects(path, refused[1] if refused else "TorchScript")
    # torch's own text about pickles advises to load the file without any protection, and what a
    # text file makes its unpickler say is noise.
    return _not_weights(path, first_line(error) if isinstance(error, RuntimeError) else "")


def _python_objects(path: Path, held: str) -> WeightsError:
    return WeightsError(
        f"holds Python objects ({held}), which are not loaded because they can run code",
        where=str(path),
        fix="where the model was made, save its tensors alone: "
        "torch.save(model.state_dict(), 'weights.pth')",
    )


def _too_large(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"says that it holds more than it has: {why}",
        where=str(path),
        fix="save it with safetensors.torch.save_file(model.state_dict(), 'w.safetensors')",
    )


def _not_weights(path: Path, why: str) -> WeightsError:
    return WeightsError(
        "neither safetensors nor a PyTorch state dict" + (f": {why}" if why else ""),
        where=str(path),
        fix="save it with safetensors.torch.save_file(model.state_dict(), 'w.safetensors')",
    )


def _state_dict_within(content: object, path: Path) -> dict[str, Tensor]:
    from torch import Tensor

    if isinstance(content, Mapping):
        inner = next((content[key] for key in _CONTAINERS if content.get(key) is not None), content)
        if isinstance(inner, Mapping):
            state = {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}
            if state:
                return state
    raise WeightsError("holds no tensors by name", where=str(path))


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
