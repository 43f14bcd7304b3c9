"""The embedding space: what two vectors must share so that their similarity means anything.

Widths alone prove nothing: two networks of 512 numbers each give vectors that compare without an
error and without sense. Every file with embeddings, every index and every bundle carries its
space, and nothing compares vectors of two.

The engine and its precision are not part of it: fp32, tf32, fp16 and bf16 of the same weights give
embeddings that search alike (`shopsight.inference.pick_precision` takes no other). What computes
something else on purpose (a distilled student, an int8 export) has a space of its own and may
declare that it embeds into another one, with the recall that was measured.

An export measures that of everything that rounds, and declares it also where the space is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shopsight.errors import EmbeddingError
from shopsight.files import sha256_json
from shopsight.preprocess import PREPROCESS_VERSION, Preprocess
from shopsight.text import percent_text

FINGERPRINT_VERSION = 1
LEAST_RECALL = 0.8
"""Of queries by rounded weights among vectors of the exact ones: below it nothing is compared."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, Field(max_length=1000)]


def embedding_hash(values: Mapping[str, object]) -> str:
    """Hash what an embedding depends on, with the version of the code that prepares images."""
    versions = {"version": FINGERPRINT_VERSION, "preprocess_version": PREPROCESS_VERSION}
    return sha256_json({**versions, **values})


class EmbeddingSpace(BaseModel):
    """Everything that changes an embedding.

    Attributes:
        backbone: name of the image encoder's architecture, with its library.
        backbone_sha256: of its tensors, see `shopsight.bundle.fingerprint.tensors_sha256`.
        text_encoder: name of the text encoder's architecture; empty where there is none.
        text_sha256: of its tensors and of its tokenizer's files; empty where there is none.
        preprocess: how an image becomes the network's input.
        embedding_dim: numbers in an embedding.
        members: networks whose embeddings are concatenated.
        tta_hflip: the embedding is the mean over the image and its mirror image.
        rounded: "int8" where weights and activations were; empty where they were not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: Line
    backbone_sha256: Digest
    text_encoder: Line = ""
    text_sha256: Digest | Annotated[str, Field(max_length=0)] = ""
    preprocess: Preprocess
    embedding_dim: int = Field(ge=1, le=10_000_000)
    members: int = Field(default=1, ge=1)
    tta_hflip: bool = False
    rounded: Literal["", "int8"] = ""

    @property
    def fingerprint(self) -> str:
        """A sha256 in hex; equal exactly where everything that changes an embedding is."""
        # What is not rounded has the fingerprint that it had before anything was.
        unsaid = None if self.rounded else {"rounded"}
        return embedding_hash(self.model_dump(mode="json", exclude=unsaid))

    @property
    def has_text(self) -> bool:
        """Whether texts can be embedded into it."""
        return bool(self.text_sha256)

    def differences(self, other: EmbeddingSpace) -> tuple[str, ...]:
        """What tells two spaces apart, one line each; empty where they are one."""
        mine, others = self.model_dump(mode="json"), other.model_dump(mode="json")
        return tuple(
            f"{name}: {_short(mine[name])} and {_short(others[name])}"
            for name in mine
            if mine[name] != others[name]
        )


class EmbedsInto(BaseModel):
    """Another space into which a model's embeddings may go, and how well they do.

    Attributes:
        space: fingerprint of that space.
        recall: recall@10 of queries by this model among vectors of that space, against queries by
            that space's own model.
        num_queries: on how many images this was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: Digest
    recall: float = Field(ge=0.0, le=1.0, allow_inf_nan=False)
    num_queries: int = Field(ge=1)

    def line(self, name: str) -> str:
        """For people.

        Args:
            name: of the model.
        """
        return (
            f"{name} embeds into the space of these vectors: recall@10 {percent_text(self.recall)} "
            f"on {self.num_queries:,} images"
        )


def check_same_space(
    ours: EmbeddingSpace,
    theirs: EmbeddingSpace,
    *,
    where: str,
    embeds_into: tuple[EmbedsInto, ...] = (),
    fix: str | None = None,
) -> EmbedsInto | None:
    """Refuse to mix embeddings of two spaces.

    Args:
        ours: of the model at work.
        theirs: of the vectors it meets.
        where: the file or index that holds those.
        embeds_into: what the model's bundle declares.
        fix: the next step.

    Returns:
        What was declared about the other, which the caller says to the user; None where they are
        one space and nothing was.

    Raises:
        EmbeddingError: they are two, and nothing was declared; or what was measured of the same
            weights, rounded, is below `LEAST_RECALL`.
    """
    theirs_sha256 = theirs.fingerprint
    for declared in embeds_into:
        if declared.space == theirs_sha256 and ours.embedding_dim == theirs.embedding_dim:
            if ours.backbone_sha256 == theirs.backbone_sha256:
                check_recall(declared, where=where, fix="--precision 32")
            return declared
    if ours.fingerprint == theirs_sha256:
        return None
    raise EmbeddingError(
        "holds embeddings of another space: their similarity to this model's would mean nothing",
        where=where,
        details=theirs.differences(ours),
        fix=fix,
    )


def check_recall(declared: EmbedsInto, *, where: str, fix: str | None) -> None:
    """Refuse what was measured of the same weights, rounded, where too much is lost.

    Raises:
        EmbeddingError: the recall is below `LEAST_RECALL`.
    """
    if declared.recall < LEAST_RECALL:
        raise EmbeddingError(
            "queries by rounded weights would find too little in it: recall@10 "
            f"{percent_text(declared.recall)} on {declared.num_queries:,} images (at least "
            f"{percent_text(LEAST_RECALL)})",
            where=where,
            fix=fix,
        )


def _short(value: object) -> str:
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    return text[:12] if len(text) == 64 else text or "none"
