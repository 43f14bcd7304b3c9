"""Run an exported network with TensorRT on an NVIDIA GPU. Experimental: see docs/export.md.

What TensorRT builds of a graph is good for one kind of GPU and one version of TensorRT, and takes
minutes. So it is kept in the cache, not in the bundle, by all that it depends on.

Networks are strongly typed: numbers have the formats that the graph says, and nothing else is
chosen. From TensorRT 11 on there is no other kind.
"""

from __future__ import annotations

import re
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from shopsight.cache_place import cache_folder, unless_unwritable
from shopsight.errors import BundleError, ConfigError, ExtraMissingError
from shopsight.extras import is_installed, require
from shopsight.files import atomic_file, make_folder
from shopsight.inference.engine import EnginePrecision, Images, Outputs
from shopsight.inference.onnxruntime_engine import EMBEDDING, INPUT, LOGITS
from shopsight.io.local_files import read_file
from shopsight.progress import notify

BATCH_SIZES = (1, 8, 32)
"""A batch is filled up to one of these, so that shapes hardly ever change."""
WORKSPACE_BYTES = 1 << 30
"""That a kernel may use while it computes."""
MOST_BYTES = 16 << 30
"""Of what is kept."""
FIX = "--engine auto   (torch computes in bf16 on a GPU)"


class TensorRtEngine:
    """A graph on the first GPU. Several threads may ask; one computes at a time.

    Args:
        path: of the graph, whose hash was checked.
        sha256: that hash.
        precision: of its numbers.

    Raises:
        ExtraMissingError: TensorRT or torch is not installed.
        ConfigError: there is no GPU.
        BundleError: TensorRT does not take the graph.
    """

    def __init__(self, path: Path, *, sha256: str, precision: EnginePrecision) -> None:
        self._tensorrt, self._torch = tensorrt_and_torch()
        self.precision: EnginePrecision = precision
        logger = self._tensorrt.Logger(self._tensorrt.Logger.WARNING)
        plan = _plan(self._tensorrt, logger, path, sha256, self._torch.cuda.get_device_name(0))
        # Kept: an engine must not outlive what made it.
        self._runtime = self._tensorrt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BundleError("TensorRT cannot open what it built", where=str(path), fix=FIX)
        self._context = self._engine.create_execution_context()
        self._stream = self._torch.cuda.Stream()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """For example "tensorrt on cuda, 16"."""
        return f"tensorrt on cuda, {self.precision}"

    def run(self, images: Images) -> Outputs:
        """Compute embeddings and logits of a batch of prepared images."""
        pieces, start = list[Outputs](), 0
        while start < len(images) or not pieces:
            left = len(images) - start
            size = next((one for one in BATCH_SIZES if one >= left), BATCH_SIZES[-1])
            pieces.append(self._run_padded(images[start : start + size], size))
            start += size
        embeddings, logits = zip(*pieces, strict=True)
        return np.concatenate(embeddings), np.concatenate(logits)

    def _run_padded(self, images: Images, size: int) -> Outputs:
        torch, count = self._torch, len(images)
        filled = np.zeros((size, *images.shape[1:]), np.uint8)
        filled[:count] = images
        with self._lock, torch.cuda.stream(self._stream):
            pixels = torch.from_numpy(filled).to("cuda")
            self._context.set_input_shape(INPUT, tuple(filled.shape))
            self._context.set_tensor_address(INPUT, pixels.data_ptr())
            outputs = []
            for name in (EMBEDDING, LOGITS):
                shape = tuple(self._context.get_tensor_shape(name))
                outputs.append(torch.empty(shape, dtype=torch.float32, device="cuda"))
                self._context.set_tensor_address(name, outputs[-1].data_ptr())
            done = self._context.execute_async_v3(self._stream.cuda_stream)
            self._stream.synchronize()
        if not done:
            raise ConfigError("TensorRT could not run a batch", where=self.name, fix=FIX)
        embedding, logits = (one.cpu().numpy()[:count] for one in outputs)
        return embedding, logits


def tensorrt_and_torch() -> tuple[Any, Any]:
    """The libraries, on a machine that has what they need.

    Raises:
        ExtraMissingError: one is not installed.
        ConfigError: there is no GPU.
    """
    if not is_installed("tensorrt"):
        # No extra of ours: its wheels are NVIDIA's, fetched from an index of its own.
        raise ExtraMissingError(
            "tensorrt is not installed",
            fix="pip install tensorrt-cu13   (of NVIDIA, under its own license)\n" + FIX,
        )
    torch = require("torch")
    if not torch.cuda.is_available():
        raise ConfigError(
            "TensorRT needs an NVIDIA GPU, and torch sees none",
            where="--engine tensorrt",
            fix="--engine onnxruntime",
        )
    import tensorrt

    return tensorrt, torch


def _plan(trt: Any, logger: Any, path: Path, digest: str, device: str) -> bytes:
    """What was built of the graph, from the cache or anew."""
    folder = cache_folder() / "tensorrt"
    kind = re.sub(r"[^a-z0-9]+", "-", f"{device} {trt.__version__}".lower())
    about = f"{digest} {BATCH_SIZES} {WORKSPACE_BYTES} {kind}"
    kept = folder / f"{sha256(about.encode()).hexdigest()[:24]}.engine"
    timings = folder / f"{kind}.timings"
    if kept.is_file():
        return read_file(kept, most_bytes=MOST_BYTES)
    notify(f"building for {device} with TensorRT {trt.__version__}: once, some minutes")
    known = read_file(timings, most_bytes=MOST_BYTES) if timings.is_file() else b""
    plan, measured = build(trt, logger, path, timings=known)
    with unless_unwritable(cache_folder()):
        make_folder(folder)
        for file, content in ((kept, plan), (timings, measured)):
            with atomic_file(file) as part:
                part.write_bytes(content)
    return plan


def build(trt: Any, logger: Any, path: Path, *, timings: bytes) -> tuple[bytes, bytes]:
    """Build a graph for this GPU.

    Args:
        trt: the library.
        logger: of the library.
        path: of the graph.
        timings: what was measured of kernels before, on the same kind of GPU.

    Returns:
        The engine, and what was measured.

    Raises:
        BundleError: TensorRT does not take the graph.
    """
    builder = trt.Builder(logger)
    # A flag of version 10; later ones know nothing else.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        problems = [str(parser.get_error(number)) for number in range(parser.num_errors)]
        raise BundleError(
            "TensorRT does not take the graph", where=str(path), details=problems, fix=FIX
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False)
    one_image = tuple(network.get_input(0).shape)[1:]
    profile = builder.create_optimization_profile()
    least, most = ((size, *one_image) for size in (BATCH_SIZES[0], BATCH_SIZES[-1]))
    profile.set_shape(INPUT, least, most, most)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError("TensorRT cannot build the graph", where=str(path), fix=FIX)
    return bytes(plan), bytes(config.get_timing_cache().serialize())
