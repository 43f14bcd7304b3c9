"""The Hugging Face Hub: whether it is within reach, and where its client keeps what it fetched."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants


@contextmanager
def fail_fast_offline() -> Iterator[None]:
    """Inside the block, a Hugging Face Hub without an address is not asked for a minute.

    Its client retries each of two files six times; what is in its cache is found all the same.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _hub_has_address()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_has_address() -> bool:
    if getproxies():  # names need not resolve here
        return True
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True


def hub_cache() -> Path:
    """The folder in which the Hugging Face Hub's client keeps what it fetched."""
    return Path(constants.HF_HUB_CACHE)
