"""Checkpoints, and the images that a run keeps, broken in many ways.

An edited checkpoint gets the hash of what it holds: whoever makes one on purpose does so too.
"""

from __future__ import annotations

import functools
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from shopsight.errors import TrainingError
from shopsight.files import sha256_bytes
from shopsight.memory import use_memory_budget
from tests.fuzz.limits import named

BUDGET_GB = 1.0
SIDE_PX = 32


def read_as_checkpoint(path: Path) -> str:
    """Read a checkpoint whose tensors are whole."""
    from shopsight.training.checkpoints import read_checkpoint

    text, tensors = _checkpoint()
    header = json.loads(text)
    (path.parent / header["tensors"]).write_bytes(tensors)
    own = path.with_name("last.json")
    own.write_bytes(_with_hash(path.read_bytes()))
    with use_memory_budget(BUDGET_GB):
        try:
            read_checkpoint(own)
        except TrainingError as error:
            return named(error)
    return "checkpoint"


def _with_hash(data: bytes) -> bytes:
    try:
        header = json.loads(data)
        header["state_sha256"] = sha256_bytes(json.dumps(header["state"], sort_keys=True).encode())
        return json.dumps(header).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return data


@functools.cache
def _checkpoint() -> tuple[bytes, bytes]:
    import torch

    from shopsight.training.checkpoints import tensor_files, write_checkpoint

    state: dict[str, Any] = {
        "state_dict": {"a": torch.ones(300_000, 2), "b": torch.arange(4)},
        "loops": {"epoch": 3, "done": True, 4: (1.5, float("inf"), None)},
        "optimizer_states": [{"state": {0: {"step": torch.ones(())}}, "groups": [0, 1]}],
        "last": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.json"
        write_checkpoint(path, state)
        return path.read_bytes(), tensor_files(path)[0].read_bytes()


@functools.cache
def checkpoint_files() -> dict[str, bytes]:
    """A whole checkpoint, without its tensors."""
    return {"last.json": _checkpoint()[0]}


_VALUES: tuple[Any, ...] = (
    None, "", "x", 0, -1, 1.5, 1 << 70, [], {}, [[]], True, {"$tensor": "state_dict.a"},
    [{"$tensor": "state_dict.a"}] * 30_000, {"$tuple": [1]}, {"$tuple": 5}, {"$items": [[1]]},
    {"$items": [[[], 1]]}, {"$items": 7}, {"$float": "x"}, {"$float": []}, {"$tensor": []},
    {"$tensor": "state_dict.b", "order": [5]}, {"$tensor": "last", "order": [0, 0, 0, 0]},
    {"$tensor": "last", "order": "abcd"}, {"$tensor": "last", "order": [9] * 10_000},
    "../../x.safetensors", ".", "/etc/passwd", "last-\x00.safetensors", "a" * 100_000,
)  # fmt: skip


def edit_state(data: bytes, rng: random.Random) -> bytes:
    """Exchange a value somewhere in the tree."""
    try:
        node = tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = rng.choice(keys)
        if rng.random() < 0.3 or not isinstance(node[key], dict | list):
            node[key] = rng.choice(_VALUES)
            break
        node = node[key]
    return json.dumps(tree).encode()


def nest(data: bytes, rng: random.Random) -> bytes:
    """Put a value deep into others."""
    opening, closing = rng.choice(((b"[", b"]"), (b'{"$tuple":[', b"]}"), (b'{"a":', b"}")))
    depth = rng.choice((10, 500, 5_000))
    return data.replace(b"null", opening * depth + b"1" + closing * depth, 1)


IN_CHECKPOINTS = (edit_state, edit_state, nest)


def read_as_precision_images(path: Path) -> str:
    """Read the images on which a precision is chosen; what cannot be read counts as none."""
    # Here: it takes torch, which the limit of other readers leaves no room for.
    from shopsight.inference.precision_images import MOST_IMAGES, read_precision_images

    with use_memory_budget(BUDGET_GB):
        images = read_precision_images(path, size_px=SIDE_PX)
    if images is None:
        return "none"
    assert images.shape[1:] == (SIDE_PX, SIDE_PX, 3)
    assert len(images) <= MOST_IMAGES
    return "images"


@functools.cache
def _jpegs() -> tuple[bytes, ...]:
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE_PX, SIDE_PX, 3), np.uint8)
    return tuple(simplejpeg.encode_jpeg(one, quality=90) for one in pixels)


def _images(ends: np.ndarray, data: bytes | None = None) -> bytes:
    data = b"".join(_jpegs()) if data is None else data
    file = io.BytesIO()
    np.savez(file, bytes=np.frombuffer(data, np.uint8), ends=ends)
    return file.getvalue()


@functools.cache
def precision_files() -> dict[str, bytes]:
    """Whole files of images."""
    return {"precision_images.npz": _images(np.cumsum([len(one) for one in _jpegs()]))}


@functools.cache
def hostile_precision_files() -> dict[str, bytes]:
    """Files that must count as none, by what they try."""
    large = b"".join(_jpegs()) + bytes(4_000_000)
    return {
        "one-image-many-times": _images(np.tile([len(large), 0], 50_000), large),
        "backwards": _images(np.array([5, 3, 1])),
        "negative": _images(np.array([-5, 10])),
        "beyond": _images(np.array([10**12])),
        "many-scans": _images(np.array([40_000]), _scans()),
        "floats": _images(np.array([np.nan, 1e300])),
        "a-table": _images(np.ones((3, 3), np.int64)),
    }


def _scans() -> bytes:
    """A JPEG with thousands of scans."""
    image = _jpegs()[0]
    start = image.index(b"\xff\xda")
    progressive = image[:start].replace(b"\xff\xc0", b"\xff\xc2")
    return (progressive + b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00" * 3_900)[:40_000]
