"""Weight files: read one without running code, and load it into a network strictly."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from shopsight.errors import WeightsError, first_line
from shopsight.paths import is_file

StateDict = dict[str, Tensor]

# Where training scripts keep the weights inside a checkpoint, averaged ones first.
_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")
# What wrappers put before every name.
_WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.")

# How torch names the first class that it would have to run code for.
_REFUSED = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")


def read_weights(path: str | Path, *, unwrap: bool = True) -> StateDict:
    """Read the state dict in a safetensors or PyTorch file; pickled code is never run.

    Checkpoints that hold the weights under "state_dict" or "model" are opened.

    Args:
        path: The file; only the suffix .safetensors is one.
        unwrap: Remove a prefix that all names share ("module.", "backbone.").

    Raises:
        WeightsError: There is no such file, it has neither format, or holds Python objects.
    """
    path = Path(path)
    if not is_file(path):
        raise WeightsError("no such weight file", where=str(path))
    try:
        if path.suffix == ".safetensors":
            content: object = safetensors.torch.load_file(path)
        else:
            content = _torch_load(path)
    except MemoryError:
        raise
    # What a file of another kind makes an unpickler raise depends on its bytes.
    except Exception as error:
        raise _not_weights(path, error) from error
    state = _state_dict_within(content, path)
    return _without_wrappers(state) if unwrap else state


def _torch_load(path: Path) -> object:
    with warnings.catch_warnings():
        # About pickle protocols and TorchScript: what matters of it is in the error.
        warnings.simplefilter("ignore")
        # Some published checkpoints keep their training script's arguments: plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)


def _not_weights(path: Path, error: Exception) -> WeightsError:
    text = str(error)
    refused = _REFUSED.search(text)
    if refused or "TorchScript" in text:
        held = refused[1] if refused else "TorchScript"
        return WeightsError(
            f"holds Python objects ({held}), which are not loaded because they can run code",
            where=str(path),
            fix="where the model was made, save its tensors alone: "
            "torch.save(model.state_dict(), 'weights.pth')",
        )
    # torch's own text about pickles advises to load the file without any protection, and what a
    # text file makes its unpickler say is noise.
    is_clear = isinstance(error, safetensors.SafetensorError | RuntimeError | OSError)
    return WeightsError(
        "neither safetensors nor a PyTorch state dict"
        + (f": {first_line(error)}" if is_clear else ""),
        where=str(path),
        fix="save it with safetensors.torch.save_file(model.state_dict(), 'w.safetensors')",
    )


def _state_dict_within(content: object, path: Path) -> StateDict:
    if isinstance(content, Mapping):
        inner = next((content[key] for key in _CONTAINERS if content.get(key) is not None), content)
        if isinstance(inner, Mapping):
            state = {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}
            if state:
                return state
    raise WeightsError("holds no tensors by name", where=str(path))


def _without_wrappers(state: StateDict) -> StateDict:
    for prefix in _WRAPPERS:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def load_state_dict_strict(
    module: nn.Module, state: Mapping[str, Tensor], *, where: str, exclude: Collection[str] = ()
) -> None:
    """Load `state` into `module`: every name and shape must agree.

    Args:
        module: The network; changed in place.
        state: Tensors by name.
        where: The file, for the error.
        exclude: Leading names in `state` that the network does not have (the old classifier).

    Raises:
        WeightsError: Names are missing or unknown, or shapes differ; nothing was loaded.
    """
    state = {
        key: value
        for key, value in state.items()
        if not any(key == name or key.startswith(f"{name}.") for name in exclude)
    }
    wanted = module.state_dict()
    problems = {
        key: f"{tuple(state[key].shape)} in the file, {tuple(wanted[key].shape)} in the network"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    }
    num_reshaped = len(problems)
    absent = [key for key in wanted if key not in state]
    unknown = [key for key in state if key not in wanted]
    problems |= dict.fromkeys(absent, "not in the file")
    problems |= dict.fromkeys(unknown, "not in the network")
    if problems:
        # A reader knows a network by its convolutions and matrices, not by BatchNorm's counters.
        shown = sorted(problems, key=lambda key: -(state | wanted)[key].ndim)
        raise WeightsError(
            f"tensors that do not fit the network: {num_reshaped} of another shape, "
            f"{len(absent)} not in the file, {len(unknown)} not in the network",
            where=where,
            details=[f"{key}: {problems[key]}" for key in shown],
            fix="name the backbone that the weights were made for",
        )
    module.load_state_dict(state)


def timm_filter(module: nn.Module) -> Callable[[StateDict, nn.Module], StateDict] | None:
    """The function by which timm renames the original authors' tensors, if this network has one."""
    home = sys.modules[type(module).__module__]
    found: Callable[[StateDict, nn.Module], StateDict] | None = getattr(
        home, "checkpoint_filter_fn", None
    )
    return found
