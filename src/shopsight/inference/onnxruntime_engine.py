"""Run an exported network with ONNX Runtime on the CPU; torch is not needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shopsight.errors import BundleError, first_line
from shopsight.inference.engine import EnginePrecision, Images, Outputs
from shopsight.inference.quiet_onnxruntime import onnxruntime
from shopsight.prefetch import core_count

INPUT, EMBEDDING, LOGITS = "images", "embedding", "logits"
"""Names in an exported graph."""
_FOLDER_OF_WEIGHTS = "session.model_external_initializers_file_folder_path"


def open_session(
    graph: str | bytes, *, where: Path | str, threads: int | None = None
) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU.

    Args:
        graph: path of the file, or its content.
        where: the file; weights that are too many for it lie in the same folder.
        threads: that compute one batch; None: one for each core of this process.

    Raises:
        BundleError: ONNX Runtime cannot open it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or core_count()
    options.inter_op_num_threads = 1
    # Threads that wait by spinning take the cores of those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if isinstance(graph, bytes):
        folder = str(Path(where).parent)
        options.add_session_config_entry(_FOLDER_OF_WEIGHTS, folder)
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(
            f"ONNX Runtime {onnxruntime.__version__} cannot open the graph: {first_line(error)}",
            where=str(where),
            fix="pip install --upgrade onnxruntime",
        ) from error


class OnnxRuntimeEngine:
    """A graph on the CPU. May be run by several threads at once.

    Args:
        path: of the graph.
        precision: of its numbers.
        threads: that compute one batch; None: one for each core of this process.

    Raises:
        BundleError: ONNX Runtime cannot open it, or it is no graph of an export.
    """

    def __init__(
        self, path: Path | str, *, precision: EnginePrecision, threads: int | None = None
    ) -> None:
        self.precision: EnginePrecision = precision
        self._session = open_session(str(path), where=path, threads=threads)
        inputs = [one.name for one in self._session.get_inputs()]
        outputs = [one.name for one in self._session.get_outputs()]
        if inputs != [INPUT] or outputs[:2] != [EMBEDDING, LOGITS]:
            raise BundleError(
                f"is no exported network: it takes {inputs} and gives {outputs}", where=str(path)
            )

    @property
    def name(self) -> str:
        """For example "onnxruntime on cpu, 32"."""
        return f"onnxruntime on cpu, {self.precision}"

    def run(self, images: Images) -> Outputs:
        """Compute embeddings and logits of a batch of prepared images."""
        pixels = np.ascontiguousarray(images)
        embedding, logits = self._session.run([EMBEDDING, LOGITS], {INPUT: pixels})
        return embedding, logits
