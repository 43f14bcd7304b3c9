"""Run an exported network with OpenVINO on the CPU; torch is not needed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from shopsight.errors import BundleError, first_line
from shopsight.extras import require
from shopsight.inference.engine import EnginePrecision, Images, Outputs
from shopsight.inference.onnxruntime_engine import EMBEDDING, INPUT, LOGITS
from shopsight.prefetch import core_count

BATCH_SIZES = (1, 8)
"""A graph whose batch may be of any size keeps memory for each size that it ever saw: measured, it
grows without end. So two sizes are compiled, and what is left of a batch is filled up."""
_HINTS: dict[EnginePrecision, str] = {"32": "f32", "bf16": "bf16", "int8": "f32"}
# Of int8 files, what is left in float; where the processor has it, bf16 is faster there.


class OpenVinoEngine:
    """A graph on the CPU. May be run by several threads at once: each has requests of its own.

    Args:
        path: of the graph.
        precision: "32", "bf16" or "int8"; it is always said, as OpenVINO's own choice is bf16 on
            processors that have it.
        threads: that compute one batch; None: one for each core of this process.

    Raises:
        BundleError: OpenVINO cannot open it.
        ExtraMissingError: OpenVINO is not installed.
    """

    def __init__(
        self, path: Path | str, *, precision: EnginePrecision, threads: int | None = None
    ) -> None:
        openvino = require("openvino")
        self.precision: EnginePrecision = precision
        self._own = threading.local()
        self._lock = threading.Lock()
        self._compiled: dict[int, Any] = {}
        self._core = openvino.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads or core_count(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._graph = self._core.read_model(str(path))
            self._input_shape = tuple(
                dimension.get_length() for dimension in self._graph.input(INPUT).partial_shape[1:]
            )
            self._compile(BATCH_SIZES[0])
        except Exception as error:
            raise BundleError(
                f"OpenVINO {openvino.__version__} cannot open the graph: {first_line(error)}",
                where=str(path),
                fix="pip install --upgrade openvino",
            ) from error

    @property
    def name(self) -> str:
        """For example "openvino on cpu, bf16"."""
        return f"openvino on cpu, {self.precision}"

    def run(self, images: Images) -> Outputs:
        """Compute embeddings and logits of a batch of prepared images."""
        pixels = np.ascontiguousarray(images)
        pieces, start = [], 0
        while start < len(pixels):
            left = len(pixels) - start
            size = BATCH_SIZES[-1] if left > BATCH_SIZES[-1] // 2 else BATCH_SIZES[0]
            pieces.append(self._run_padded(pixels[start : start + size], size))
            start += size
        if not pieces:
            embedding, logits = self._run_padded(pixels, BATCH_SIZES[0])
            return embedding[:0], logits[:0]
        return (
            np.concatenate([piece[0] for piece in pieces]),
            np.concatenate([piece[1] for piece in pieces]),
        )

    def _run_padded(self, pixels: Images, size: int) -> Outputs:
        count = len(pixels)
        if count < size:
            filled = np.zeros((size, *self._input_shape), np.uint8)
            filled[:count] = pixels
            pixels = filled
        request = self._request(size)
        request.infer({INPUT: pixels}, share_inputs=True)
        # Copied: the next batch is written into the same memory.
        embedding = request.get_tensor(EMBEDDING).data[:count].copy()
        logits = request.get_tensor(LOGITS).data[:count].copy()
        return embedding, logits

    def _request(self, size: int) -> Any:
        requests = self._own.__dict__.setdefault("requests", {})
        if size not in requests:
            requests[size] = self._compile(size).create_infer_request()
        return requests[size]

    def _compile(self, size: int) -> Any:
        with self._lock:
            if size not in self._compiled:
                graph = self._graph.clone()
                graph.reshape({INPUT: [size, *self._input_shape]})
                self._compiled[size] = self._core.compile_model(graph, "CPU", self._settings)
            return self._compiled[size]
