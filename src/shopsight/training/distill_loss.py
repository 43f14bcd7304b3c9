"""What a student is told by a teacher's outputs for the same view.

Soft targets: with logits z of the student and t of the teacher, at temperature T,

    T^2 KL(softmax(t / T) || softmax(z / T))

whose gradient in z is T (softmax(z / T) - softmax(t / T)): about that of (z - t) / classes for a
large T, whatever T is, so that the weight need not follow it. Of several labels per image each is
a question of two answers.

Embeddings: 1 - cosine, or the squared difference, mean over the numbers. Relational: distances
between the images of a batch, each divided by their mean, and cosines of the angles that every
three of them make, compared by Huber's loss; widths may differ.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"; Park et al. 2019,
"Relational Knowledge Distillation".
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from shopsight.config.loss_settings import DistillSettings

MOST_RELATED = 64
"""Images of a batch whose angles are compared: their number is its third power."""
ANGLE_WEIGHT = 2.0
"""Of angles against distances, as published."""
SMALLEST_SQUARE = 1e-12


def distillation_loss(
    settings: DistillSettings,
    *,
    embedding: Float[Tensor, "b w"],
    logits: Float[Tensor, "b c"],
    teacher_embedding: Float[Tensor, "b v"],
    teacher_logits: Float[Tensor, "b c"] | None,
    multilabel: bool,
) -> Float[Tensor, ""]:
    """What the teacher's outputs add to the loss, weighted, mean over the batch, in fp32.

    Args:
        settings: weights, temperature and kind.
        embedding: of the student.
        logits: of the student.
        teacher_embedding: for the same views.
        teacher_logits: of the same labels in the same order; None where they do not count.
        multilabel: an image may have several labels.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        loss = embedding.new_zeros((), dtype=torch.float32)
        if settings.soft_weight and teacher_logits is not None:
            soft = soft_loss(
                logits.float(), teacher_logits, settings.temperature, multilabel=multilabel
            )
            loss = loss + settings.soft_weight * soft
        if settings.embedding != "none" and settings.embedding_weight:
            compared = embedding_loss(settings.embedding, embedding.float(), teacher_embedding)
            loss = loss + settings.embedding_weight * compared
    return loss


def soft_loss(
    logits: Float[Tensor, "b c"],
    teacher: Float[Tensor, "b c"],
    temperature: float,
    *,
    multilabel: bool = False,
) -> Float[Tensor, ""]:
    """The divergence from the teacher's probabilities, times the square of the temperature."""
    own, wanted = logits / temperature, teacher / temperature
    if multilabel:
        probability = wanted.sigmoid()
        cross = functional.binary_cross_entropy_with_logits(own, probability)
        least = functional.binary_cross_entropy_with_logits(wanted, probability)
        return temperature**2 * (cross - least)
    divergence = functional.kl_div(
        own.log_softmax(1), wanted.log_softmax(1), reduction="batchmean", log_target=True
    )
    return temperature**2 * divergence


def embedding_loss(
    kind: str, embedding: Float[Tensor, "b w"], teacher: Float[Tensor, "b v"]
) -> Float[Tensor, ""]:
    """How far the student's embeddings are from the teacher's.

    Args:
        kind: "cosine" and "mse" need equal widths; "relational" needs three images, or is 0.
        embedding: of the student.
        teacher: for the same views.
    """
    if kind == "cosine":
        return (1.0 - functional.cosine_similarity(embedding, teacher, dim=1)).mean()
    if kind == "mse":
        return functional.mse_loss(embedding, teacher)
    if len(embedding) < 3:
        return 0.0 * embedding.sum()
    distances = functional.smooth_l1_loss(_distances(embedding), _distances(teacher))
    angles = functional.smooth_l1_loss(
        _angles(embedding[:MOST_RELATED]), _angles(teacher[:MOST_RELATED])
    )
    return distances + ANGLE_WEIGHT * angles


def _distances(vectors: Float[Tensor, "b w"]) -> Float[Tensor, " pairs"]:
    """Distances of all pairs, in units of their mean."""
    first, second = torch.triu_indices(len(vectors), len(vectors), offset=1).to(vectors.device)
    squares = (vectors[first] - vectors[second]).square().sum(1)
    # The root has no finite slope at 0, where two images are copies.
    found = squares.clamp_min(SMALLEST_SQUARE).sqrt()
    return found / found.mean()


def _angles(vectors: Float[Tensor, "b w"]) -> Float[Tensor, "b b b"]:
    """The cosine of the angle at each image between each two others."""
    sides = functional.normalize(vectors[None] - vectors[:, None], dim=2, eps=SMALLEST_SQUARE**0.5)
    return sides @ sides.transpose(1, 2)
