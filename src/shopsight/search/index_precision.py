"""In which precision an index was built, and whether queries in another one may search it.

Weights in bf16 or in eight bits give other embeddings than in fp32: near ones, among which a search
finds a part of what it found before. How large that part is was measured where the model was
exported; where it was not, nobody knows, and no such search is made. An index that was built before
this was written down has no precision, and is searched as it was.
"""

from __future__ import annotations

from shopsight.bundle.embedding_space import (
    EmbeddingSpace,
    EmbedsInto,
    check_recall,
    check_same_space,
)
from shopsight.errors import EmbeddingError
from shopsight.inference.embedder import Embedder
from shopsight.inference.engine import EnginePrecision
from shopsight.search.generation import GenerationInfo
from shopsight.text import command_line


def rounding_of_vectors(embedder: Embedder) -> EmbedsInto | None:
    """What was measured of an embedder's vectors and those of its own network in fp32."""
    if _is_exact(embedder.precision):
        return None
    exact = embedder.space.model_copy(update={"rounded": ""}).fingerprint
    return next((one for one in embedder.embeds_into if one.space == exact), None)


def is_measured(info: GenerationInfo, embedder: Embedder) -> bool:
    """Whether it is known how well a model finds what an index of its own weights holds.

    True of another model's weights, which are refused or declared as they are.
    """
    if info.precision is None or not _same_weights(info.space, embedder.space):
        return True
    return _is_one(info.precision, embedder.precision) or _declared(info, embedder) is not None


def check_query_precision(
    info: GenerationInfo, embedder: Embedder, *, where: str
) -> EmbedsInto | None:
    """Refuse queries of another space than the index's, or in a precision of unknown loss.

    Args:
        info: of the index.
        embedder: of the queries.
        where: the index.

    Returns:
        What was declared, which the caller says to the user; None where nothing is lost.

    Raises:
        EmbeddingError: they are of another space; or in another precision than the index was built
            in, of which nothing was measured, or too large a loss.
    """
    migrate = command_line(["shopsight", "index", "migrate", where, "--model", embedder.name])
    if info.precision is None or not _same_weights(info.space, embedder.space):
        return check_same_space(
            embedder.space, info.space, where=where, embeds_into=embedder.embeds_into, fix=migrate
        )
    if _is_one(info.precision, embedder.precision):
        return None
    declared = _declared(info, embedder)
    if declared is None:
        raise EmbeddingError(
            f"was built in {info.precision}, and {embedder.engine_name} computes in "
            f"{embedder.precision}: what such a search would miss was not measured",
            where=where,
            fix=f"{migrate}   (builds it anew in {embedder.precision})",
        )
    check_recall(declared, where=where, fix=migrate)
    return declared


def _declared(info: GenerationInfo, embedder: Embedder) -> EmbedsInto | None:
    """What was measured of the two precisions, one of which is fp32."""
    if _is_exact(embedder.precision):
        return info.rounding
    return rounding_of_vectors(embedder) if _is_exact(info.precision) else None


def _same_weights(one: EmbeddingSpace, other: EmbeddingSpace) -> bool:
    return one.model_copy(update={"rounded": ""}) == other.model_copy(update={"rounded": ""})


def _is_exact(precision: EnginePrecision | None) -> bool:
    """Whether embeddings are those of fp32; what a GPU calls tf32 rounds inputs to ten bits."""
    return precision in ("32", "tf32")


def _is_one(one: EnginePrecision, other: EnginePrecision) -> bool:
    return one == other or (_is_exact(one) and _is_exact(other))
