"""Find the feature map in an exported graph whose class-activation maps are those of torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from shopsight.bundle.exports import Activation
from shopsight.export.parity import Proof
from shopsight.extras import require
from shopsight.inference.golden import TOLERANCE, relative_error
from shopsight.inference.graph_activation import (
    GRAPH_BYTES,
    GraphActivation,
    is_pooled,
    with_outputs,
)
from shopsight.inference.onnxruntime_engine import EMBEDDING, INPUT, open_session
from shopsight.inference.torch_engine import TorchEngine
from shopsight.io.local_files import read_file
from shopsight.models.heads import LinearHead
from shopsight.progress import notify

MOST_IMAGES = 16
_LOOKED_AT = 4
NEAREST = 24
"""Tensors before the embedding that are looked at; between it and the map lie two or three."""


def find_activation(exact: TorchEngine, graph: Path, proof: Proof) -> Activation | None:
    """Find what the exact maps of a network are made of.

    A tensor is taken if its mean over the cells is the embedding and if its maps are torch's, on
    real images. Nothing depends on the names or kinds of nodes.

    Args:
        exact: torch in fp32.
        graph: the fp32 file of the same network.
        proof: the images.

    Returns:
        None where the network has no exact maps, or the graph does not show them, which is said.
    """
    head = exact.model.head
    pixels = proof.pixels[:MOST_IMAGES]
    labels = proof.exact[1][:MOST_IMAGES].argmax(1)
    wanted = exact.class_activation(pixels, labels)
    if wanted is None:
        return None
    assert isinstance(head, LinearHead)
    weight = head.classifier.weight.detach().float().cpu().numpy()
    flat = wanted.reshape(len(wanted), -1)
    for maps in _pooled(graph, pixels[:_LOOKED_AT], mirrored=exact.model.tta_hflip):
        found = GraphActivation(graph, maps, weight)(pixels, labels)
        if found is None or found.shape != wanted.shape:
            continue
        error = relative_error(found.reshape(len(found), -1), flat)
        if error <= TOLERANCE["32"]:
            return Activation(maps=tuple(maps), error=error, num_images=len(pixels))
    notify("the graph does not show its feature map: without torch, maps are made by occlusion")
    return None


def _pooled(graph: Path, pixels: np.ndarray, *, mirrored: bool) -> Iterator[Sequence[str]]:
    """Names of tensors, or pairs of them, whose mean is the embedding."""
    content = read_file(graph, most_bytes=GRAPH_BYTES)
    names = _before_embedding(require("onnx").load(str(graph), load_external_data=False).graph)
    session = open_session(with_outputs(content, names), where=graph)
    embedding, *found = session.run([EMBEDDING, *names], {INPUT: np.ascontiguousarray(pixels)})
    # Of a shape that a map may have: more than one cell.
    shown = {
        name: one
        for name, one in zip(names, found, strict=True)
        if one.ndim == 4 and one.shape[:2] == embedding.shape and one.shape[2] * one.shape[3] > 1
    }
    for some in permutations(shown, 2 if mirrored else 1):
        if is_pooled([shown[name] for name in some], embedding):
            yield some


def _before_embedding(graph: Any) -> list[str]:
    """Tensors that the embedding is computed from, the nearest first."""
    maker = {name: node for node in graph.node for name in node.output}
    waiting, found = deque([EMBEDDING]), list[str]()
    while waiting and len(found) < NEAREST:
        node = maker.get(waiting.popleft())
        for name in node.input if node is not None else ():
            if name in maker and name not in found:
                found.append(name)
                waiting.append(name)
    return found[:NEAREST]
