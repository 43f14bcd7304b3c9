"""Weights and activations of eight bits: an ONNX file that ONNX Runtime and OpenVINO both run.

A value x is stored as the integer q = round(x / s) + z; the scale s and the zero z of an
activation come from the range that it takes on calibration images, those of a weight from its own
range, one for each channel (one for the whole tensor loses 2.7 points on EfficientNet-Lite0).
Activations are unsigned and weights signed: the products that processors with VNNI sum in 32 bits.
TensorRT wants both signed, without zeros (z = 0) and biases in float; such a file is its own.

Which layers to leave in float is measured: the first convolutions see the largest range and the
head decides, so a short ladder of these is tried, and the one whose logits stay nearest to fp32's
on the calibration images is kept. (Depthwise convolutions in float, the usual advice, are worse.)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shopsight import progress
from shopsight.errors import ExportError
from shopsight.export.parity import run_all
from shopsight.extras import require
from shopsight.held_files import remove_file, replace
from shopsight.inference.engine import Images, Outputs
from shopsight.inference.golden import relative_error
from shopsight.inference.onnxruntime_engine import INPUT, OnnxRuntimeEngine

FIRST_LAYERS = 4
"""Convolutions at the input that a rung of the ladder leaves in float."""
_BATCH = 8
_WEIGHTED = {"Conv", "Gemm", "MatMul"}


@dataclass(frozen=True)
class Quantized:
    """An int8 file.

    Attributes:
        float_layers: nodes that were left in float.
        logit_error: of its logits on the calibration images, as a fraction of their spread.
    """

    float_layers: tuple[str, ...]
    logit_error: float


def quantize(
    source: Path,
    target: Path,
    images: Images,
    exact: Outputs,
    *,
    reduce_range: bool = False,
    symmetric: bool = False,
) -> Quantized:
    """Write the int8 file of a graph.

    Args:
        source: of fp32.
        target: is made.
        images: prepared, to calibrate with.
        exact: torch's outputs of them.
        reduce_range: weights of seven bits, for processors whose sums of products would overflow.
        symmetric: for TensorRT.

    Raises:
        ExportError: no rung of the ladder can be run.
    """
    settings = _settings(reduce_range=reduce_range, symmetric=symmetric)
    rungs, always = ladder(source), before_layers(source)
    best: Quantized | None = None
    with progress.task("Quantizing", total=len(rungs)) as advance:
        for number, excluded in enumerate(rungs):
            tried = target.with_name(f"rung-{number}.onnx")
            _write(source, tried, images, settings | {"nodes_to_exclude": [*always, *excluded]})
            engine = OnnxRuntimeEngine(tried, precision="int8")
            _, logits = run_all(engine, images)
            found = Quantized(tuple(excluded), relative_error(logits, exact[1]))
            del engine
            if best is None or found.logit_error < best.logit_error:
                best = found
                replace(tried, target)
            else:
                remove_file(tried)
            advance(1)
    assert best is not None
    if not np.isfinite(best.logit_error):
        raise ExportError(
            "the network gives no finite numbers with eight bits",
            where=str(target),
            fix="--precision fp32   (or bf16, on processors that have it)",
        )
    return best


def ladder(graph: Path) -> list[list[str]]:
    """Which layers to leave in float, one list for each try: none, the head, the first ones too."""
    onnx = require("onnx")
    nodes = [node for node in onnx.load(str(graph)).graph.node if node.op_type in _WEIGHTED]
    if not nodes:
        raise ExportError("has no layer that can be rounded", where=str(graph))
    head, first = [nodes[-1].name], [node.name for node in nodes[:FIRST_LAYERS]]
    return [[], head, list(dict.fromkeys([*first, *head]))]


def before_layers(graph: Path) -> list[str]:
    """What normalizes the pixels: a few constants, which need more than eight bits."""
    onnx = require("onnx")
    found = []
    for node in onnx.load(str(graph)).graph.node:
        if node.op_type in _WEIGHTED:
            break
        found.append(node.name)
    return found


def _settings(*, reduce_range: bool, symmetric: bool) -> dict[str, Any]:
    """Of ONNX Runtime's quantization."""
    require("onnx")
    from onnxruntime.quantization import QuantFormat, QuantType

    extra = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    return {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": QuantType.QInt8 if symmetric else QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "reduce_range": reduce_range,
        "op_types_to_quantize": ["Conv", "Gemm", "MatMul", "Add", "Clip", "Relu"],
        "extra_options": extra if symmetric else {},
    }


def _write(source: Path, target: Path, images: Images, settings: dict[str, Any]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The images, a batch at a time."""

        def __init__(self) -> None:
            self._batches = self._all()

        def _all(self) -> Iterator[dict[str, Images]]:
            for start in range(0, len(images), _BATCH):
                yield {INPUT: images[start : start + _BATCH]}

        def get_next(self) -> dict[str, Images] | None:
            return next(self._batches, None)

    # It advises to run a pass that folding has made needless.
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        quantize_static(str(source), str(target), Reader(), **settings)
    finally:
        logger.setLevel(level)
