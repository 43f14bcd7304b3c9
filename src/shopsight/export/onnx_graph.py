"""Networks as ONNX graphs.

Of images: uint8 pixels in, normalization inside, embeddings and logits out. Of texts: rows of ids
of tokens in, embeddings out.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from shopsight.errors import ExportError, first_line
from shopsight.extras import require
from shopsight.files import atomic_file
from shopsight.inference.exported_text_encoder import TEXT_INPUT, TEXT_OUTPUT
from shopsight.inference.onnxruntime_engine import EMBEDDING, INPUT, LOGITS
from shopsight.models.product_model import ProductModel

OPSET = 20
MOST_BYTES_INSIDE = 1_800_000_000
"""Of weights; a file of Protocol Buffers ends at 2 GB, and the rest of the graph is in it too."""
# 0 and 1 would be taken for sizes that never change.
_TRACED_BATCH = 2


class ExportedNetwork(nn.Module):
    """A `ProductModel` as it is exported.

    Args:
        model: in eval mode, with BatchNorms folded; it is copied.
        half: the backbone computes in fp16; normalization and head stay in fp32.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, model: ProductModel, *, half: bool = False) -> None:
        super().__init__()
        # Channels-last weights would leave traces of their strides in the graph.
        own = copy.deepcopy(model).to("cpu").float()
        self.model = own.to(memory_format=torch.contiguous_format)
        self.half_floats = half
        if half:
            self.model.backbone.half()

    def forward(
        self, images: UInt8[Tensor, "b s s 3"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b c"]]:
        """Embeddings and logits."""
        # Contiguous: a transposed view would be written as arithmetic on strides.
        if self.half_floats:
            # TensorRT takes bytes as its input and does nothing with them but cast.
            pixels = images.to(torch.float32).permute(0, 3, 1, 2).contiguous()
        else:
            pixels = images.permute(0, 3, 1, 2).contiguous().to(torch.float32)
        pixels = pixels * self.model.scale + self.model.offset
        if self.half_floats:
            pixels = pixels.half()
        embedding = self.model.embed_pixels(pixels).float()
        return embedding, self.model.head(embedding)


def write_graph(model: ProductModel, path: Path, *, name: str, half: bool = False) -> list[Path]:
    """Write the graph of a network.

    Args:
        model: in eval mode, with BatchNorms folded.
        path: of the file.
        name: of the network, for the error.
        half: see `ExportedNetwork`.

    Returns:
        The files: a second one where the weights are too many for one.

    Raises:
        ExportError: torch cannot trace the network.
    """
    side = model.preprocess.size_px
    example = torch.zeros(_TRACED_BATCH, side, side, 3, dtype=torch.uint8)
    network = ExportedNetwork(model, half=half)
    return _export(network, example, path, (INPUT, [EMBEDDING, LOGITS]), name=name)


def write_text_graph(
    module: nn.Module, path: Path, *, context_length: int, name: str
) -> list[Path]:
    """Write the graph of a text encoder.

    Args:
        module: from ids of tokens, "b t", to "b w"; on the CPU, in eval mode.
        path: of the file.
        context_length: ids of a row.
        name: of the encoder, for the error.

    Returns:
        The files, as `write_graph`.

    Raises:
        ExportError: torch cannot trace it.
    """
    example = torch.zeros(_TRACED_BATCH, context_length, dtype=torch.int64)
    return _export(module, example, path, (TEXT_INPUT, [TEXT_OUTPUT]), name=name)


def _export(
    network: nn.Module,
    example: Tensor,
    path: Path,
    names: tuple[str, list[str]],
    *,
    name: str,
) -> list[Path]:
    """Write a graph whose batch may be of any size.

    Args:
        network: takes one tensor.
        example: of its input.
        path: of the file.
        names: of the input and of the outputs.
        name: for the error.
    """
    num_bytes = sum(one.nbytes for one in network.state_dict().values())
    beside = num_bytes > MOST_BYTES_INSIDE
    try:
        with _Quiet(), torch.inference_mode():
            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[names[0]],
                output_names=names[1],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
            assert program is not None
            _write(program.model_proto, path, beside=beside)
    except Exception as error:
        raise ExportError(
            f"{name} cannot be written as an ONNX graph: {first_line(error)}",
            where=str(path),
            fix="another backbone; docs/export.md lists those that were exported",
        ) from error
    return [path, *([path.with_name(f"{path.name}.data")] if beside else [])]


def _write(graph: Any, path: Path, *, beside: bool) -> None:
    onnx = require("onnx")
    _forget_sources(graph)
    with atomic_file(path) as part:
        if beside:
            onnx.save_model(
                graph, str(part), save_as_external_data=True, location=f"{path.name}.data"
            )
        else:
            part.write_bytes(graph.SerializeToString())


def _forget_sources(message: Any) -> None:
    """Take away which line of which file each node is from: folders of the exporting machine."""
    for field, value in message.ListFields():
        if field.name == "metadata_props":
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE and field.name != "initializer":
            for one in value if isinstance(value, Iterable) else (value,):
                _forget_sources(one)


class _Quiet:
    """No warnings and log lines of the exporter, which speak of its own inside."""

    def __enter__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")
        self._loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
        self._levels = [one.level for one in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *exception: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
        self._warnings.__exit__(None, None, None)
