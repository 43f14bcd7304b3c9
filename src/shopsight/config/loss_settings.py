"""The sections of what training minimizes, and the names of its losses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shopsight.config.reach import READS
from shopsight.config.section import Positive, Section


class ContrastiveSettings(Section):
    """Images and captions drawn together, for a backbone with a text encoder.

    Attributes:
        loss: "softmax" over all captions of a step, or "sigmoid" of each pair. Images of one label
            or caption belong to each other's captions.
        batch_size: Images of a step, of all devices together. `training.batch_size` of them are in
            memory at once on each device: the gradient is that of the whole batch.
        captions: "labels" reads labels in the sentences of `zero_shot.prompts`, "text" is the
            catalog's column of texts, "both" takes one of the two by chance.
        locked: The tower that keeps its weights.
        text_lr_factor: Learning rate of the text encoder, in units of `optimizer.lr`.
    """

    loss: Literal["softmax", "sigmoid"] = "softmax"
    batch_size: int = Field(default=1024, ge=2, le=1_000_000)
    captions: Literal["labels", "text", "both"] = "labels"
    locked: Literal["none", "image", "text"] = "none"
    text_lr_factor: Positive = 1.0


Loss = Literal[
    "cross-entropy",
    "focal",
    "bce",
    "arcface",
    "cosface",
    "softtriple",
    "proxy-anchor",
    "proxy-nca",
    "supcon",
    "multi-similarity",
]
MARGIN_LOSSES = frozenset({"arcface", "cosface"})
"""Losses of the logits of a cosine head, with a margin."""
PROXY_LOSSES = frozenset({"softtriple", "proxy-anchor", "proxy-nca"})
"""Losses of embeddings and of directions of classes, which are the head's."""
PAIR_LOSSES = frozenset({"supcon", "multi-similarity"})
"""Losses of embeddings among each other; nothing trains the head."""
METRIC_LOSSES = MARGIN_LOSSES | PROXY_LOSSES | PAIR_LOSSES


class MetricSettings(Section):
    """The numbers of losses that train embeddings for search (`training.loss`).

    Attributes:
        margin: In radians for "arcface", in cosines for the others; unset: .3 for "arcface", .2
            for "cosface", .01 for "softtriple", .1 for "proxy-anchor".
        margin_step: What the margin of "arcface" and "cosface" grows by in each epoch.
        margin_most: Where it stops growing.
        contrastive: Weight of a contrastive loss of the batch's pairs beside a loss of proxies:
            two images of a class are drawn together, two of different classes apart as long as
            their cosine is above `base`.
        gamma: Softness of the choice among the directions of a class in "softtriple".
        alpha: Slope of "proxy-anchor" (unset: 32), and of pairs of one class in
            "multi-similarity" (unset: 2).
        beta: Slope of pairs of two classes in "multi-similarity".
        base: The cosine around which "multi-similarity" judges pairs, see also `contrastive`.
        temperature: What "supcon" divides cosines by.
    """

    margin: Annotated[float, Field(ge=0.0, lt=1.57)] | None = None
    margin_step: float = Field(default=0.0, ge=0.0, le=1.57)
    margin_most: float = Field(default=0.8, ge=0.0, lt=1.57)
    contrastive: float = Field(default=0.0, ge=0.0, le=1e6)
    gamma: Positive = 0.1
    alpha: Positive | None = None
    beta: Positive = 50.0
    base: float = Field(default=0.5, ge=-1.0, le=1.0)
    temperature: Positive = 0.1


class DistillSettings(Section):
    """What a student learns from a teacher, a trained model, beside its labels.

    The student's images are framed as the teacher's are, and both see the same view: views are
    seeded, and the teacher's outputs for each are kept.

    Attributes:
        teacher: A run, a bundle, a preset, or a backbone by name; empty: there is none.
        soft_weight: Weight of the teacher's probabilities in the loss.
        hard_weight: Weight of the labels, by `training.loss`.
        temperature: What logits are divided by before they become probabilities, of both.
        embedding: How embeddings are compared: by "cosine" or "mse" in the teacher's own space,
            where the student's queries then search the teacher's gallery; "relational" compares
            distances and angles among the images of a batch, in a space of the student's own.
        embedding_weight: Weight of that.
        copy_head: Whether the student's head begins as the teacher's.
        frozen_head_epochs: Epochs in which the copied head stays as it is.
        token: Whether the labels train the class token and the teacher the distillation token of a
            network that has both (`timm:deit_..._distilled_...`).
        views: Augmented views of each image; an epoch replays one of them.
    """

    teacher: Annotated[str, READS] = ""
    soft_weight: float = Field(default=1.0, ge=0.0, le=1e6)
    hard_weight: float = Field(default=1.0, ge=0.0, le=1e6)
    temperature: Annotated[float, Field(gt=0.0, le=1000.0)] = 2.0
    embedding: Literal["none", "cosine", "mse", "relational"] = "cosine"
    embedding_weight: float = Field(default=1.0, ge=0.0, le=1e6)
    copy_head: bool = False
    frozen_head_epochs: int = Field(default=0, ge=0, le=1_000_000)
    token: bool = False
    views: int = Field(default=4, ge=1, le=1000)

    @property
    def is_into_space(self) -> bool:
        """Whether the student's embeddings go to where the teacher's are."""
        return bool(self.teacher) and self.embedding in ("cosine", "mse")

    @property
    def reads_answers(self) -> bool:
        """Whether the teacher's labels must be the student's."""
        return self.soft_weight > 0.0 or self.copy_head
