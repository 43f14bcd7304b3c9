"""Weight files: read one without running code, and fit it to a network strictly."""

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

from shopsight.errors import WeightsError

StateDict = dict[str, Tensor]

# Where training scripts keep the weights inside a checkpoint, averaged ones first.
_CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model")
# What wrappers put before every name.
_WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.")

# How torch names the first class that it would have to run code for.
_REFUSED = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")


def read_weights(path: str | Path, *, unwrap: bool = True) -> StateDict:
    """The state dict of a safetensors or PyTorch file; pickled code is never run.

    Checkpoints that hold the weights under "state_dict" or "model" are opened.

    Args:
        unwrap: take off a prefix that all names share ("module.", "backbone.").

    Raises:
        WeightsError: no such file, neither format, or Python objects in it.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError("no such weight file", where=str(path))
    try:
        if path.suffix == ".safetensors":
            found: object = safetensors.torch.load_file(path)
        else:
            found = _torch_load(path)
    except MemoryError:
        raise
    # What a file that is something else makes an unpickler raise depends on its bytes.
    except Exception as error:
        raise _no_weights(path, error) from error
    state = _state_dict_within(found, path)
    return _without_wrappers(state) if unwrap else state


def _torch_load(path: Path) -> object:
    with warnings.catch_warnings():
        # About pickle protocols and TorchScript: what matters of it is in the error.
        warnings.simplefilter("ignore")
        # Some published checkpoints keep their training script's arguments: plain data.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)


def _no_weights(path: Path, error: Exception) -> WeightsError:
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
    # Torch's own text about pickles advises to load the file without any protection, and what a
    # text file makes its unpickler say is noise.
    telling = isinstance(error, safetensors.SafetensorError | RuntimeError | OSError)
    return WeightsError(
        "neither safetensors nor a PyTorch state dict"
        + (f": {first_line(error)}" if telling else ""),
        where=str(path),
        fix="save it with safetensors.torch.save_file(model.state_dict(), 'w.safetensors')",
    )


def _state_dict_within(found: object, path: Path) -> StateDict:
    if isinstance(found, Mapping):
        inner = next((found[key] for key in _CONTAINERS if found.get(key) is not None), found)
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
        leave_out: leading names in `state` that are of no use here (the old classifier).

    Raises:
        WeightsError: names are missing or unknown, or shapes differ; nothing was loaded.
    """
    state = {
        key: value
        for key, value in state.items()
        if not any(key == name or key.startswith(f"{name}.") for name in exclude)
    }
    wanted = module.state_dict()
    reshaped = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    absent = [key for key in wanted if key not in state]
    unknown = [key for key in state if key not in wanted]
    if reshaped or absent or unknown:
        problems = {
            key: f"{tuple(state[key].shape)} in the file, {tuple(wanted[key].shape)} in the network"
            for key in reshaped
        }
        problems |= dict.fromkeys(absent, "not in the file")
        problems |= dict.fromkeys(unknown, "not in the network")
        # A reader knows a network by its convolutions and matrices, not by BatchNorm's counters.
        shown = sorted(problems, key=lambda key: -(state | wanted)[key].ndim)
        raise WeightsError(
            f"tensors that do not fit the network: {len(reshaped)} of another shape, "
            f"{len(absent)} not in the file, {len(unknown)} not in the network",
            where=where,
            details=[f"{key}: {problems[key]}" for key in shown],
            fix="name the backbone that the weights were made for",
        )
    module.load_state_dict(state)


def timm_filter(module: nn.Module) -> Callable[[StateDict, nn.Module], StateDict] | None:
    """The renaming from the original authors' names that timm has for this network, if any."""
    home = sys.modules[type(module).__module__]
    found: Callable[[StateDict, nn.Module], StateDict] | None = getattr(
        home, "checkpoint_filter_fn", None
    )
    return found


def unreachable(error: BaseException) -> bool:
    """Whether a download failed because the network or the file's host is out of reach."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        library = type(current).__module__.partition(".")[0]
        # The hub's libraries have changed their HTTP client, hence their errors, more than once.
        if isinstance(current, OSError) or library in _NETWORK_LIBRARIES:
            return True
        current = current.__cause__ or current.__context__
    return False


_NETWORK_LIBRARIES = frozenset(
    {"huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3", "pytest_socket"}
)


def torch_cache() -> Path:
    """The folder in which torch, and timm for weights of a URL, keep what they fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def hub_cache() -> Path:
    """The folder in which the Hugging Face Hub's client keeps what it downloaded."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def offline_error(name: str, source: str, folder: Path, error: BaseException) -> WeightsError:
    """What to tell when pretrained weights are neither in the cache folder nor within reach."""
    return WeightsError(
        f"the pretrained weights of {name} are not on this machine and cannot be fetched",
        details=(
            f"looked for {source.rstrip('/')} in {folder}",
            f"{type(error).__name__}: {first_line(error)}",
        ),
        fix="1. the same command once with a network: the weights stay in that folder\n"
        "2. --set model.weights=FILE   (weights of this network, fetched elsewhere)\n"
        "3. --backbone embedded:tf_efficientnet_lite0   (its weights come with pip)",
    )


def first_line(error: BaseException) -> str:
    """An error of another library, short enough for a line of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
