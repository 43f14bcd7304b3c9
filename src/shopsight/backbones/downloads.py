"""Downloads of pretrained weights: where they are kept, and the error when there is no network."""

from __future__ import annotations

from pathlib import Path

import torch

from shopsight.errors import WeightsError, first_line

_NETWORK_LIBRARIES = frozenset(
    {"huggingface_hub", "httpx", "httpx2", "httpcore", "requests", "urllib3", "pytest_socket"}
)


def torch_cache() -> Path:
    """The folder in which torch, and timm for weights of a URL, keep what they downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def hub_cache() -> Path:
    """The folder in which the Hugging Face Hub's client keeps what it downloaded."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def is_network_error(error: BaseException) -> bool:
    """Whether a download failed because the network or the file's host cannot be reached."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        library = type(current).__module__.partition(".")[0]
        # The hub's client has changed its HTTP library, hence its errors, more than once.
        if isinstance(current, OSError) or library in _NETWORK_LIBRARIES:
            return True
        current = current.__cause__ or current.__context__
    return False


def offline_error(
    name: str,
    source: str,
    folder: Path,
    error: BaseException,
    *,
    tokenizer: bool = False,
    instead: str = "--set model.weights=FILE   (weights of this network, downloaded elsewhere)",
) -> WeightsError:
    """The error for pretrained weights that are not in the cache and cannot be downloaded.

    Args:
        name: Name of the backbone, with its library.
        source: URL or repository of the weights.
        folder: The cache folder.
        error: What the download raised.
        tokenizer: It is the tokenizer's files that are missing.
        instead: How weights from elsewhere are named.
    """
    return WeightsError(
        f"the files of {name}'s tokenizer are not on this machine and cannot be downloaded"
        if tokenizer
        else f"the pretrained weights of {name} are not on this machine and cannot be downloaded",
        details=(
            f"looked for {source.rstrip('/')} in {folder}",
            f"{type(error).__name__}: {first_line(error)}",
        ),
        fix="1. run the same command once with a network: the weights stay in that folder\n"
        f"2. {instead}\n"
        "3. --backbone embedded:tf_efficientnet_lite0   (its weights come with pip)",
    )
