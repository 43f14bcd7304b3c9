"""The text encoder of a bundle as a graph of its own, proven on prompts of the bundle's labels."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from shopsight.backbones.text_tower import bundled_tower
from shopsight.bundle.exports import TextArtifact, TextParity, hashed_files
from shopsight.bundle.format import Bundle
from shopsight.bundle.tokenizer import SAMPLE_TEXTS
from shopsight.errors import ExportError
from shopsight.export.onnx_graph import write_text_graph
from shopsight.export.parity import NEIGHBORS
from shopsight.inference.exported_text_encoder import ExportedTextEncoder, kept_tokenizer_of
from shopsight.inference.text_encoder import TextEncoder
from shopsight.unit_vectors import have_direction, unit_vectors
from shopsight.words.class_lists import PROMPTS, ClassWords

MOST_TEXTS = 500
LEAST_COSINE = 0.9999
"""Of a text's vector with torch's: both compute in fp32, and only the order of sums differs."""
LEAST_NEIGHBORS = 0.98
_BATCHES = (1, 2, 7)


def export_text(
    bundle: Bundle, images: Float32[np.ndarray, "n w"], work: Path
) -> TextArtifact | None:
    """Write the graph of a bundle's text encoder, once it is proven.

    Args:
        bundle: with a text encoder.
        images: embeddings of the images that the export is proven on.
        work: the folder for its files.

    Returns:
        None of a bundle without one.

    Raises:
        ExportError: it cannot be written, or gives other vectors than torch.
        BundleError: the files of the text encoder are not those that were written.
    """
    tower = bundled_tower(bundle)
    if tower is None:
        return None
    assert bundle.info.text is not None
    path = work / "text.fp32.onnx"
    length = bundle.info.text.network.context_length
    files = write_text_graph(tower.module, path, context_length=length, name=tower.name)
    texts = prompts_of(bundle)
    wanted = TextEncoder(tower, torch.device("cpu")).embed(texts)
    encoder = ExportedTextEncoder(path, kept_tokenizer_of(bundle))
    parity = compared(encoder.embed(texts), wanted, images)
    problems = _problems(parity)
    for size in _BATCHES:
        found = encoder.embed(texts[:size])
        if (found * wanted[:size]).sum(1).min() < LEAST_COSINE:
            problems.append(f"texts in a batch of {size} get other vectors")
    if problems:
        raise ExportError(
            f"the text encoder does not answer like torch on {len(texts):,} texts; nothing is "
            "written",
            where=tower.name,
            details=problems,
        )
    return TextArtifact(**hashed_files(files), text_sha256=tower.sha256, parity=parity)


def prompts_of(bundle: Bundle) -> list[str]:
    """Sentences about the bundle's labels, and texts that show what its tokenizer does."""
    sentences = (
        prompt.format(phrase)
        for label in bundle.info.labels
        for phrase in ClassWords(label).phrases()
        for prompt in PROMPTS
    )
    return [*SAMPLE_TEXTS, *islice(sentences, MOST_TEXTS)]


def compared(
    found: Float32[np.ndarray, "t w"],
    wanted: Float32[np.ndarray, "t w"],
    images: Float32[np.ndarray, "n w"],
) -> TextParity:
    """Compare vectors of texts with torch's: by angle, and by the images that they find.

    Args:
        found: unit vectors by the exported encoder.
        wanted: by torch.
        images: embeddings among which the nearest are looked for.
    """
    gallery = unit_vectors(images[have_direction(images)])
    count = min(NEIGHBORS, len(gallery))
    nearest = [np.argsort(-(some @ gallery.T), axis=1)[:, :count] for some in (found, wanted)]
    shared = [np.intersect1d(a, b).size / count for a, b in zip(*nearest, strict=True)]
    return TextParity(
        num_texts=len(found),
        cosine=float((found * wanted).sum(1).min()),
        neighbors=float(np.mean(shared)),
        num_images=len(gallery),
    )


def _problems(parity: TextParity) -> list[str]:
    found = []
    if not parity.cosine >= LEAST_COSINE:
        found.append(f"a vector has the cosine {parity.cosine:.5f} (at least {LEAST_COSINE})")
    if parity.neighbors < LEAST_NEIGHBORS:
        found.append(
            f"{parity.neighbors:.1%} of the {NEIGHBORS} nearest images are the same (at least "
            f"{LEAST_NEIGHBORS:.0%})"
        )
    return found
