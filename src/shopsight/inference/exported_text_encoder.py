"""Unit vectors of texts by an exported text encoder; torch is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from shopsight.bundle.exports import artifact_file, read_exports
from shopsight.bundle.format import Bundle
from shopsight.bundle.read import read_tokenizer
from shopsight.bundle.text_info import TOKENIZER_FILE
from shopsight.bundle.tokenizer import GOLDEN_TOLERANCE, SAMPLE_TEXTS, KeptTokenizer
from shopsight.errors import BundleError
from shopsight.inference.onnxruntime_engine import open_session
from shopsight.unit_vectors import unit_vectors

TEXT_INPUT, TEXT_OUTPUT = "ids", "text_embedding"
"""Names in an exported graph; a plain "embedding" is what the exporter calls that of tokens."""
BATCH_TEXTS = 64


class ExportedTextEncoder:
    """A text encoder on the CPU, in fp32. May be asked by several threads at once.

    Args:
        path: of the graph.
        tokenize: from texts to its input.

    Raises:
        BundleError: ONNX Runtime cannot open it, or it is no text encoder of an export.
    """

    def __init__(self, path: Path, tokenize: KeptTokenizer) -> None:
        self._tokenize = tokenize
        self._session = open_session(str(path), where=path)
        inputs = [one.name for one in self._session.get_inputs()]
        outputs = self._session.get_outputs()
        if inputs != [TEXT_INPUT] or [one.name for one in outputs] != [TEXT_OUTPUT]:
            raise BundleError("is no exported text encoder", where=str(path))
        self._embedding_dim = outputs[0].shape[1]

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of texts, a row each; what is longer than the encoder takes is cut.

        Raises:
            EmbeddingError: a vector has no direction.
        """
        found = [np.empty((0, self._embedding_dim), np.float32)]
        for start in range(0, len(texts), BATCH_TEXTS):
            ids = self._tokenize(texts[start : start + BATCH_TEXTS])
            found.extend(self._session.run([TEXT_OUTPUT], {TEXT_INPUT: ids}))
        return unit_vectors(np.concatenate(found))


def kept_tokenizer_of(bundle: Bundle) -> KeptTokenizer:
    """The tokenizer that a bundle with a text encoder holds.

    Raises:
        BundleError: it is not the one that was written.
        ExtraMissingError: a library is not installed.
    """
    assert bundle.info.text is not None
    info = bundle.info.text.tokenizer
    where = str(bundle.folder / TOKENIZER_FILE)
    return KeptTokenizer(read_tokenizer(bundle.folder, info), info, where=where)


def open_exported_text(bundle: Bundle) -> ExportedTextEncoder | None:
    """Open the text encoder that a bundle was exported to.

    Returns:
        None where it was not.

    Raises:
        BundleError: its file changed, is of another text encoder, or gives other vectors here.
        ExtraMissingError: a library is not installed.
    """
    artifact = read_exports(bundle.folder, bundle.info).text
    if artifact is None:
        return None
    assert bundle.info.text is not None
    assert bundle.golden.texts is not None
    where = str(bundle.folder / artifact.file)
    again = f"shopsight export {bundle.folder}   (exports it anew)"
    if artifact.text_sha256 != bundle.info.text.text_sha256:
        raise BundleError("is of another text encoder than the bundle's", where=where, fix=again)
    path = artifact_file(bundle.folder, artifact)
    opened = ExportedTextEncoder(path, kept_tokenizer_of(bundle))
    moved = np.abs(opened.embed(SAMPLE_TEXTS) - unit_vectors(bundle.golden.texts)).max()
    if not moved <= GOLDEN_TOLERANCE:
        raise BundleError(f"vectors of sample texts differ by {moved:.2g}", where=where, fix=again)
    return opened
