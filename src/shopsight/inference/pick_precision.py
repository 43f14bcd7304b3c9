"""The fastest precision in which a network still gives its answers, found once per machine."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from shopsight.bundle.format import Golden, library_versions
from shopsight.cache_place import cache_folder
from shopsight.devices import computes_bf16, computes_tf32
from shopsight.errors import ShopsightError, WriteError
from shopsight.files import sha256_json, write_json
from shopsight.inference.agreement import LEAST_SAME, MOST_CHANGE, Agreement, Readout, agreement
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.golden import verify_golden
from shopsight.inference.precision_images import read_precision_images
from shopsight.inference.torch_engine import TorchEngine
from shopsight.io.json_files import read_json
from shopsight.preprocess import Preprocess
from shopsight.progress import notify

VERDICT_VERSION = 1
"""Raised when the same outputs would be judged otherwise."""

FIRST_IMAGES = 100
"""Images that decide alone where they leave no doubt."""

_BATCH_IMAGES = 32


def fast_precisions(device: torch.device) -> list[EnginePrecision]:
    """What the device multiplies in faster than in fp32, the fastest first."""
    found: list[EnginePrecision] = []
    if computes_bf16(device):
        found.append("bf16")
    if computes_tf32(device):
        found.append("tf32")
    return found


def fastest_embedding(exact: TorchEngine, golden: Golden, preprocess: Preprocess) -> TorchEngine:
    """The fastest engine whose embeddings are near the golden ones.

    For a network whose head is still to be fitted, so that there are no answers to compare.

    Args:
        exact: The network in fp32.
        golden: Its golden outputs.
        preprocess: How an image becomes the network's input.
    """
    for precision in fast_precisions(exact.device):
        fast = exact.at(precision)
        found = verify_golden(fast, golden, preprocess)
        if found.embedding_error <= found.tolerance:
            return fast
        notify(f"{found.line()}: not computing in {precision}")
    return exact


def fastest_faithful(
    exact: TorchEngine,
    golden: Golden,
    preprocess: Preprocess,
    readout: Readout,
    *,
    images_file: Path | None = None,
) -> TorchEngine:
    """Find the engine that `shopsight.load` uses for a network on this machine.

    Whatever is fitted for predictions (temperature, thresholds) or scored must come from it too.
    The verdict is kept in the cache folder: a machine judges a network once, and again when it was
    judged without `images_file`, or there is another torch.

    Args:
        exact: The network in fp32.
        golden: The network's golden outputs.
        preprocess: How an image becomes the network's input.
        readout: How its logits become answers.
        images_file: Further images to judge by, see `shopsight.inference.precision_images`; None,
            or no such file: the golden ones must do.

    Returns:
        The first of bf16 and TF32, as far as the machine multiplies in them, whose answers agree
        with the exact ones; else `exact`. See `shopsight.inference.agreement`.
    """
    candidates = fast_precisions(exact.device)
    if not candidates:
        return exact
    has_images = images_file is not None and images_file.is_file()
    kept = _verdict_file(exact, golden)
    verdict = _read_verdict(kept)
    if verdict is None or (has_images and not verdict["has_images"]):
        images = None
        if images_file and has_images:
            images = read_precision_images(images_file, size_px=preprocess.size_px)
        verdict = _judge(exact, candidates, golden, preprocess, readout, images)
        _keep(kept, verdict)
    for line in verdict["refused"]:
        # Such rounding ruins some networks.
        notify(line)
    precision: EnginePrecision = verdict["precision"]
    return exact if precision == "32" else exact.at(precision)


def _judge(
    exact: TorchEngine,
    candidates: list[EnginePrecision],
    golden: Golden,
    preprocess: Preprocess,
    readout: Readout,
    images: UInt8[np.ndarray, "m s s 3"] | None,
) -> dict[str, Any]:
    """The first candidate that agrees, and a line about each before it."""
    verdict: dict[str, Any] = {
        "has_images": images is not None,
        "precision": "32",
        "refused": list[str](),
    }
    for precision in candidates:
        fast = exact.at(precision)
        found = verify_golden(fast, golden, preprocess, readout)
        judged = found.agreement
        if found.ok and images is not None:
            judged = _agreement_on(images, fast, exact, readout)
        if found.ok and judged.ok:
            return verdict | {"precision": precision}
        reason = judged.line() if found.ok else found.line()
        verdict["refused"].append(f"{fast.name}: {reason}: not computing in {precision}")
    return verdict


def _agreement_on(
    images: UInt8[np.ndarray, "m s s 3"], fast: TorchEngine, exact: TorchEngine, readout: Readout
) -> Agreement:
    """The agreement on the first images, and on all where those leave a doubt."""
    first = images[:FIRST_IMAGES]
    found = agreement(logits_of(fast, first), logits_of(exact, first), readout)
    clear = found.same >= (1 + LEAST_SAME) / 2 and found.change <= MOST_CHANGE / 2
    if clear or not found.ok or len(first) == len(images):
        return found
    return agreement(logits_of(fast, images), logits_of(exact, images), readout)


def logits_of(
    engine: TorchEngine, images: UInt8[np.ndarray, "m s s 3"]
) -> Float32[np.ndarray, "m c"]:
    """The logits of prepared images, in batches of a few."""
    batches = [
        images[first : first + _BATCH_IMAGES] for first in range(0, len(images), _BATCH_IMAGES)
    ]
    return np.concatenate([engine.run(batch)[1] for batch in batches])


def _verdict_file(engine: TorchEngine, golden: Golden) -> Path:
    """Named by the network (its golden outputs), the machine, and what computes."""
    network = hashlib.sha256(golden.embeddings.tobytes())
    network.update(golden.logits.tobytes())
    for image in golden.images:
        network.update(image)
    device = engine.device
    about = {
        "version": VERDICT_VERSION,
        "network": network.hexdigest(),
        "machine": [platform.node(), platform.machine(), platform.processor()],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": library_versions(),
    }
    return cache_folder() / "precisions" / f"{sha256_json(about)[:32]}.json"


def _read_verdict(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
        return dict(found) if _is_verdict(found) else None
    except (OSError, ShopsightError, TypeError):
        return None


def _is_verdict(found: Any) -> bool:
    """Whether a file of the cache holds what `_judge` writes."""
    return (
        isinstance(found, dict)
        and found.get("precision") in get_args(EnginePrecision)
        and isinstance(found.get("refused"), list)
        and all(isinstance(line, str) for line in found["refused"])
        and isinstance(found.get("has_images"), bool)
    )


def _keep(path: Path, verdict: dict[str, Any]) -> None:
    try:
        write_json(path, verdict)
    except (OSError, WriteError):
        # The cache is a help: without it the next load judges again.
        return
