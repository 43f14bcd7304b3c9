"""Whether an exported network gives the answers of torch in fp32, on real images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from shopsight.bundle.exports import Parity, Precision
from shopsight.inference.agreement import LEAST_SAME, MOST_CHANGE, Readout, agreement
from shopsight.inference.batches import run_batches
from shopsight.inference.engine import Engine, Images, Outputs
from shopsight.inference.golden import TOLERANCE, relative_error
from shopsight.metrics.estimates import Estimate, difference_of
from shopsight.metrics.families import Families
from shopsight.metrics.nearest import nearest_of_other_families
from shopsight.text import percent_text
from shopsight.unit_vectors import have_direction, unit_vectors

NEIGHBORS = 10
_FP32_TOLERANCE = TOLERANCE["32"]
_NORMAL_95 = 1.96
_BATCHES = (1, 2, 7)
"""Sizes that any batch is made of: exporters treat 1 as a size that never changes."""
_MOST_IMAGES_OF_BATCHES = 24
FEWEST_QUERIES = 3 * NEIGHBORS
"""Of fewer images, most are among the ten nearest of each, whatever the engine."""
_NOTHING_FOUND: dict[str, float | int] = {"cosine": -1.0, "neighbors": 0.0}
_ENGINE_OF = {"fp32": "32", "bf16": "bf16", "fp16": "16", "int8": "int8", "int8-symmetric": "int8"}


@dataclass(frozen=True, eq=False)
class Proof:
    """The images that an export is proven on, and what torch in fp32 says of them.

    Attributes:
        pixels: prepared from the bytes of their files.
        exact: torch's outputs.
        readout: how logits become answers.
        source: where the images are from, for people.
        targets: class of each image; -1 where it is not known; None with several labels per image.
        families: of the images.
    """

    pixels: Images
    exact: Outputs
    readout: Readout
    source: str
    targets: Int64[np.ndarray, "n"] | None
    families: Families

    def __len__(self) -> int:
        return len(self.pixels)


def run_all(engine: Engine, pixels: Images, *, batch: int = 16) -> Outputs:
    """The outputs of all images."""
    batches = (pixels[start : start + batch] for start in range(0, len(pixels), batch))
    embeddings, logits = zip(*run_batches(engine, batches), strict=True)
    return np.concatenate(embeddings), np.concatenate(logits)


def measure(engine: Engine, precision: Precision, proof: Proof) -> Parity:
    """Compare an engine with torch in fp32.

    Args:
        engine: that runs the exported file.
        precision: that it computes in.
        proof: the images.
    """
    embeddings, logits = run_all(engine, proof.pixels)
    exact_embeddings, exact_logits = proof.exact
    answers = agreement(logits, exact_logits, proof.readout)
    same_width = embeddings.shape == exact_embeddings.shape and np.isfinite(embeddings).all()
    search = _as_search(embeddings, exact_embeddings) if same_width else _NOTHING_FOUND
    found = Parity(
        engine=engine.name.partition(" ")[0],
        precision=precision,
        num_images=len(proof),
        images=proof.source,
        embedding_error=_finite(relative_error(embeddings, exact_embeddings)),
        logit_error=_finite(relative_error(logits, exact_logits)),
        same=answers.same,
        num_near_ties=answers.num_near_ties,
        change=_finite(answers.change),
        cosine=search["cosine"],
        neighbors=search["neighbors"],
    )
    return found.model_copy(update=search | _accuracy_drop(logits, proof))


def batches_agree(engine: Engine, proof: Proof) -> bool:
    """Whether each image gets the same outputs in batches of 1, 2, 7 and of random sizes."""
    pixels = proof.pixels[:_MOST_IMAGES_OF_BATCHES]
    whole = run_all(engine, pixels)
    rng = np.random.default_rng(0)
    sizes = [[size] * len(pixels) for size in _BATCHES]
    sizes.append(rng.integers(1, 12, len(pixels)).tolist())
    for some in sizes:
        pieces, start = [], 0
        for size in some:
            if start >= len(pixels):
                break
            pieces.append(engine.run(pixels[start : start + size]))
            start += size
        for at, expected in enumerate(whole):
            found = np.concatenate([piece[at] for piece in pieces])
            if relative_error(found, expected) > _FP32_TOLERANCE:
                return False
    return True


def problems(parity: Parity, *, max_drop: float) -> list[str]:
    """Why an export must not be used; empty where it may.

    Args:
        parity: what was measured.
        max_drop: points of accuracy that may be lost.
    """
    found = []
    tolerance = TOLERANCE[_ENGINE_OF[parity.precision]]  # type: ignore[index]
    if parity.precision == "fp32":
        worst = max(parity.embedding_error, parity.logit_error)
        if worst > tolerance:
            found.append(f"outputs differ by {worst:.2g} (tolerance {tolerance:g})")
        return found
    if parity.embedding_error > tolerance:
        found.append(f"embeddings differ by {parity.embedding_error:.2g} (at most {tolerance:g})")
    if not parity.precision.startswith("int8"):
        # What eight bits change is judged by accuracy.
        if parity.same < LEAST_SAME:
            found.append(
                f"{percent_text(parity.same)} of clear answers are the same (at least "
                f"{percent_text(LEAST_SAME)})"
            )
        if parity.change > MOST_CHANGE:
            found.append(f"probabilities change by {parity.change:.3f} (at most {MOST_CHANGE:g})")
    if parity.drop_low is not None and parity.drop_low > max_drop:
        found.append(
            f"accuracy falls by {parity.accuracy_drop:.2f} points, {parity.drop_low:.2f} at the "
            f"least (--max-drop {max_drop:g})"
        )
    return found


def images_to_prove(parity: Parity, *, max_drop: float) -> int | None:
    """How many labeled images would prove that no more is lost; None where it is proven.

    The half width of the interval falls with the root of the number of images. With a true drop of
    none, it must be no wider than `max_drop`.
    """
    if parity.precision == "fp32":
        return None  # Its outputs are the same: no answer can differ but a tie.
    if parity.drop_low is None or parity.drop_high is None or parity.drop_high <= max_drop:
        return None
    half = (parity.drop_high - parity.drop_low) / 2
    if half <= 0 or max_drop <= 0:
        return None
    return math.ceil(round(parity.num_labeled * (half / max_drop) ** 2, 6))


def _accuracy_drop(logits: Float32[np.ndarray, "n c"], proof: Proof) -> dict[str, float | int]:
    """In points, with its interval paired by image."""
    if proof.targets is None or not (known := proof.targets >= 0).any():
        return {}
    targets = proof.targets[known]
    before = proof.exact[1][known].argmax(1) == targets
    after = logits[known].argmax(1) == targets
    found = difference_of(Estimate.share(before), Estimate.share(after), proof.families.take(known))
    drop: dict[str, float | int] = {
        "accuracy_drop": 100 * found.value,
        "num_labeled": len(targets),
        "gained": int((after & ~before).sum()),
        "lost": int((before & ~after).sum()),
    }
    if found.low is not None and np.isfinite([found.low, found.high]).all():
        drop |= {"drop_low": 100 * found.low, "drop_high": 100 * found.high}
    return drop


def _as_search(
    found: Float32[np.ndarray, "n w"], exact: Float32[np.ndarray, "n w"]
) -> dict[str, float | int]:
    """The smallest cosine of an embedding with torch's, and the neighbors that stay.

    Both as one engine searches among its own vectors, and as it searches an index of torch's.
    """
    usable = have_direction(found) & have_direction(exact)
    if usable.sum() < 2:
        return {"cosine": 1.0, "neighbors": 1.0}
    mine, theirs = unit_vectors(found[usable]), unit_vectors(exact[usable])
    own, wanted = _nearest(mine, mine), _nearest(theirs, theirs)
    measured: dict[str, float | int] = {
        "cosine": float((mine * theirs).sum(1).min()),
        "neighbors": _shared(own, wanted),
    }
    if len(mine) >= FEWEST_QUERIES:
        mixed = _nearest(mine, theirs)
        measured["recall_at_10"] = _shared(mixed, wanted)
        measured["recall_at_1"] = float((mixed[:, 0] == wanted[:, 0]).mean())
    return measured


def _nearest(
    queries: Float32[np.ndarray, "n w"], gallery: Float32[np.ndarray, "n w"]
) -> Int64[np.ndarray, "n k"]:
    """The nearest images of each, without itself."""
    own = np.arange(len(gallery))
    return nearest_of_other_families(
        queries,
        gallery,
        query_family=own,
        gallery_family=own,
        k=min(NEIGHBORS, len(own) - 1),
    )


def _shared(found: Int64[np.ndarray, "n k"], wanted: Int64[np.ndarray, "n k"]) -> float:
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([np.intersect1d(a, b).size / len(b) for a, b in pairs]))


def _finite(value: float) -> float:
    return float(value) if np.isfinite(value) else 1e9
