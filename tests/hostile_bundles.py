"""Bundles as an attacker would change them: each must be an error that takes hardly any memory."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from shopsight.files import sha256_file
from tests.helpers import edit_json


def _info(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "model.json", **changes)


def _text(change: Callable[[str], str]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / "model.json"
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    return write


def _members(count: int) -> Callable[[Path], None]:
    """An ensemble, whose embeddings are as wide as they must be; golden ones of up to fifty."""

    def write(folder: Path) -> None:
        info = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        edit_json(folder / "model.json", members=count, embedding_dim=info["embedding_dim"] * count)
        wide = np.ones((3, info["embedding_dim"] * min(count, 50)), np.float32)
        _golden(embeddings=wide)(folder)

    return write


def _labels(count: int) -> Callable[[Path], None]:
    return _info(labels=[f"label {number}" for number in range(count)])


def _header(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """The weights with another header, and its hash in model.json."""

    def write(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        changed = change(header)
        text = changed if isinstance(changed, bytes) else json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
        edit_json(folder / "model.json", weights_sha256=sha256_file(path))

    return write


def _huge_tensor(header: dict[str, Any]) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[name] = {"dtype": "F32", "shape": [10**9, 10], "data_offsets": [0, 4 * 10**10]}


def _shape_of_one(header: dict[str, Any]) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[name]["shape"] = [10**6, 10**6]


def _negative(header: dict[str, Any]) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[name]["shape"] = [-4, -4]


def _first_twice(header: dict[str, Any]) -> bytes:
    text = json.dumps(header)
    name = next(name for name in header if name != "__metadata__")
    return f"{text[:-1]}, {json.dumps(name)}: {json.dumps(header[name])}}}".encode()


def _sparse_weights(folder: Path) -> None:
    """A terabyte that takes no room on the disk."""
    path = folder / "model.safetensors"
    header = json.dumps(
        {"backbone.a": {"dtype": "U8", "shape": [1 << 40], "data_offsets": [0, 1 << 40]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(path, 8 + len(header) + (1 << 40))


def _long_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 90 << 20) + b"{" + b" " * (90 << 20))


def _golden(save: Callable[..., None] = np.savez, **arrays: np.ndarray) -> Callable[[Path], None]:
    """golden.npz with some arrays changed."""

    def write(folder: Path) -> None:
        with np.load(folder / "golden.npz", allow_pickle=False) as kept:
            content = dict(kept)
        save(folder / "golden.npz", **content | arrays)

    return write


def _golden_header(folder: Path) -> None:
    """An array of 128 bytes that says that it has eight gigabytes."""
    with zipfile.ZipFile(folder / "golden.npz", "w") as archive:
        for name in ("logits", "embeddings", "image_000"):
            file = io.BytesIO()
            np.save(file, np.zeros(1, np.float32))
            text = file.getvalue().replace(b"(1,)", b"(2000000000,)")
            archive.writestr(f"{name}.npy", text)


def _linked(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = folder / name
        elsewhere = folder.parents[1] / f"elsewhere-{name}"
        path.rename(elsewhere)
        path.symlink_to(elsewhere)

    return write


def _pipe(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return write


def _endless(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")

    return write


def _other_network(folder: Path) -> None:
    """A network of another width, in a file that is whole."""
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors = {
        name: np.concatenate([value, value]) for name, value in tensors.items() if value.ndim
    }
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    edit_json(folder / "model.json", weights_sha256=sha256_file(folder / "model.safetensors"))


BUNDLES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a million members": (_members(10**6), "members"),
    "fifty members": (_members(50), "do not fit"),
    "hidden layers of 60,000": (
        _info(head={"kind": "mlp", "hidden_dim": 60_000}), "do not fit"
    ),
    "hidden layers of a billion": (_info(head={"kind": "mlp", "hidden_dim": 10**9}), "hidden_dim"),
    "an embedding of ten million numbers": (_info(embedding_dim=10**7), "golden"),
    "an embedding of a trillion numbers": (_info(embedding_dim=10**12), "embedding_dim"),
    "half a million labels": (_labels(500_000), "logits of shape"),
    "two million labels": (_labels(2_000_000), "is not a model description"),
    "a label twice": (_info(labels=["a", "a", "b"]), "a label occurs twice"),
    "a label of a megabyte": (_info(labels=["a" * 10**6, "b", "c"]), "labels"),
    "labels that are numbers": (_info(labels=[1, 2, 3]), "labels"),
    "itself as its backbone": (_info(backbone="local:."), "backbone"),
    "a file as its backbone": (_info(backbone="local:timm:resnet18@/etc/passwd"), "backbone"),
    "a hub as its backbone": (_info(backbone="timm:hf-hub:evil/model"), "backbone"),
    "a folder as its backbone": (_info(backbone="open_clip:local-dir:/home"), "backbone"),
    "an unknown backbone": (_info(backbone="timm:nothing"), "no such network"),
    "an unknown library": (_info(backbone="nothing:resnet18"), "no such network"),
    "the largest backbone": (_info(backbone="timm:vit_giant_patch14_dinov2"), "do not fit"),
    "a size of 100,000 px": (_info(preprocess={"size_px": 100_000}), "size_px"),
    "no standard deviation": (_info(preprocess={"std": [0, 0, 0]}), "std"),
    "a temperature that is no number": (
        _text(lambda text: text.replace('"temperature": 0.5', '"temperature": NaN')), "temperature"
    ),
    "a temperature of zero": (_info(temperature=0), "temperature"),
    "a threshold without end": (
        _text(lambda text: text.replace('"thresholds": {}', '"thresholds": {"hat": 1e999}')),
        "thresholds",
    ),
    "a key that is unknown": (_info(command="rm -rf /"), "command"),
    "a key that stands twice": (
        _text(lambda text: text.replace('"members": 1', '"members": 1, "members": 1')), "twice"
    ),
    "deep nesting": (_text(lambda _: "[" * 1_000_000), "nested"),
    "a description of 100 MB": (_text(lambda text: text + " " * (100 << 20)), "bytes"),
    "a list instead of a table": (_text(lambda _: "[1]"), "format_version"),
    "an integer of a million digits": (
        _text(lambda text: text.replace('"members": 1', '"members": 1' + "0" * 10**6)), "digits"
    ),
    "a tensor of forty gigabytes": (_header(_huge_tensor), "the weights cannot be read"),
    "a shape of a trillion": (_header(_shape_of_one), "by its shape"),
    "a negative shape": (_header(_negative), "a tensor of shape"),
    "a tensor twice": (_header(_first_twice), "twice"),
    "a tensor less": (_header(lambda header: header.popitem()), "the weights cannot be read"),
    "a header that is nested": (_header(lambda _: b"[" * 100_000), "nested"),
    "a header of 90 MB": (_long_header, "its header has"),
    "weights of a terabyte": (_sparse_weights, "of memory may be taken"),
    "weights of another network": (_other_network, "do not fit"),
    "golden outputs that are packed": (
        _golden(np.savez_compressed, logits=np.zeros((1000, 20_000), np.float32)),
        "golden.npz: cannot be read",
    ),
    "golden outputs that say so": (_golden_header, "golden.npz: cannot be read"),
    "golden outputs that are no numbers": (
        _golden(logits=np.full((3, 3), np.nan, np.float32)), "finite numbers"
    ),
    "golden outputs that are text": (_golden(logits=np.full((3, 3), "a")), "golden.npz"),
    "golden images that are none": (
        _golden(**{f"image_{n:03d}": np.zeros(9, np.uint8) for n in range(3)}), "golden 0"
    ),
}  # fmt: skip
"""What is changed in a bundle of three labels, by name, with what the error says."""

LINKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "linked description": (_linked("model.json"), "leads out of the folder"),
    "linked weights": (_linked("model.safetensors"), "leads out of the folder"),
    "linked golden outputs": (_linked("golden.npz"), "leads out of the folder"),
    "linked metrics": (_linked("metrics.json"), "leads out of the folder"),
    "a description that is a pipe": (_pipe("model.json"), "is not a model bundle"),
    "weights that are a pipe": (_pipe("model.safetensors"), "is not a model bundle"),
    "metrics that are a pipe": (_pipe("metrics.json"), ""),
    "weights without end": (_endless("model.safetensors"), "is not a model bundle"),
}
"""The same of files that are no regular ones."""
