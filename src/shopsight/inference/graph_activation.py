"""Exact class-activation maps of an exported network; torch is not needed.

The feature map that is pooled is a tensor within the fp32 graph, whose name was found and proven
when that was exported. It is asked for in a session of its own, which is opened with the first map:
labeling pays nothing for it, and no weight lies on the disk twice.

A file of Protocol Buffers may be continued: what stands behind it is merged, and lists grow.
So a graph gets another output by a few bytes behind it, without a library that can write graphs.
Source: "Encoding", Protocol Buffers documentation, "Last One Wins" and merging of messages.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from shopsight.bundle.exports import Artifact, artifact_file
from shopsight.bundle.format import Bundle
from shopsight.bundle.read import read_tensors
from shopsight.inference.engine import Engine, EnginePrecision, Images, Outputs
from shopsight.inference.onnxruntime_engine import EMBEDDING, INPUT, open_session
from shopsight.io.local_files import read_file

GRAPH_BYTES = 2 << 30
"""The most that a file of Protocol Buffers may have."""
HEAD_WEIGHT = "head.classifier.weight"
"""Of a bundle's linear head, among its weights."""
TOLERANCE = 1e-3
"""Of the mean of a map against the embedding, as a fraction of the largest number."""
# Tags of the messages of an ONNX file: ModelProto.graph, GraphProto.output, ValueInfoProto.name.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1


def with_outputs(graph: bytes, names: Sequence[str]) -> bytes:
    """An ONNX graph that gives some of its inner tensors too.

    Args:
        graph: content of the file.
        names: of the tensors.
    """
    outputs = (_message(_OUTPUT, _message(_NAME, name.encode())) for name in names)
    return graph + _message(_GRAPH, b"".join(outputs))


def _message(number: int, content: bytes) -> bytes:
    """A field whose length stands before it."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


class GraphActivation:
    """Maps of an exported network. May be asked by several threads at once.

    Args:
        graph: the fp32 file.
        maps: names of the tensors whose mean over the cells is the embedding; of two, the second
            is of the mirror image.
        weight: of the linear head.
    """

    def __init__(
        self, graph: Path, maps: Sequence[str], weight: Float32[np.ndarray, "k w"]
    ) -> None:
        self._maps = list(maps)
        self._weight = weight
        content = with_outputs(read_file(graph, most_bytes=GRAPH_BYTES), self._maps)
        self._session = open_session(content, where=graph)

    def __call__(
        self, images: Images, labels: Int64[np.ndarray, "b"]
    ) -> Float32[np.ndarray, "b r c"] | None:
        """See `shopsight.inference.class_activation`; None where the tensors are no such maps."""
        pixels = np.ascontiguousarray(images)
        embedding, *found = self._session.run([EMBEDDING, *self._maps], {INPUT: pixels})
        if not is_pooled(found, embedding):
            return None
        wanted = self._weight[labels]
        parts = [np.einsum("bwrc,bw->brc", one, wanted) for one in found]
        if len(parts) > 1:
            parts[1] = parts[1][:, :, ::-1]
        return np.asarray(np.mean(parts, axis=0, dtype=np.float32))


def is_pooled(maps: Sequence[np.ndarray], embedding: Float32[np.ndarray, "b w"]) -> bool:
    """Whether the mean over the cells, and over the maps, is the embedding."""
    if any(one.ndim != 4 or one.shape[:2] != embedding.shape for one in maps):
        return False
    mean = np.mean([one.mean((2, 3)) for one in maps], axis=0)
    size = max(1e-6, float(np.abs(embedding).max(initial=0.0)))
    return bool(np.abs(mean - embedding).max(initial=0.0) <= TOLERANCE * size)


class EngineWithActivation:
    """An engine of an exported file beside the maps of its network, in fp32.

    Args:
        engine: computes embeddings and logits.
        bundle: with the weights of the head.
        artifact: the fp32 file, for which maps were proven.
    """

    def __init__(self, engine: Engine, bundle: Bundle, artifact: Artifact) -> None:
        self._engine = engine
        self._folder = bundle.folder
        self._artifact = artifact
        self._lock = threading.Lock()
        self._activation: GraphActivation | None = None

    @property
    def name(self) -> str:
        """Of the engine."""
        return self._engine.name

    @property
    def precision(self) -> EnginePrecision:
        """Of the engine."""
        return self._engine.precision

    def run(self, images: Images) -> Outputs:
        """Compute embeddings and logits of a batch of prepared images."""
        return self._engine.run(images)

    def class_activation(
        self, images: Images, labels: Int64[np.ndarray, "b"]
    ) -> Float32[np.ndarray, "b r c"] | None:
        """See `shopsight.inference.class_activation`.

        Raises:
            BundleError: the fp32 file is not the one that was exported.
        """
        with self._lock:
            if self._activation is None:
                known = self._artifact.activation
                assert known is not None
                path = artifact_file(self._folder, self._artifact)
                weight = read_tensors(self._folder)[HEAD_WEIGHT].astype(np.float32)
                self._activation = GraphActivation(path, known.maps, weight)
            activation = self._activation
        return activation(images, labels)
