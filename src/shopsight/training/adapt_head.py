"""A head on kept embeddings: logistic regression, or two hidden layers before it."""

from __future__ import annotations

import copy

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import nn
from torch.nn import functional

from shopsight import progress
from shopsight.config.model_settings import ProbeSettings
from shopsight.head_settings import HeadSettings
from shopsight.models.heads import DirectionHead, LinearHead, create_head
from shopsight.training.probe import fit_probe, sample_rows
from shopsight.unit_vectors import unit_vectors

LR, WEIGHT_DECAY = 1e-3, 1e-2
BATCH_IMAGES = 256
PASSES = 60
PATIENCE = 6
"""Passes without a lower validation loss, after which a hidden layer's training ends."""
LOGITS_AT_ONCE = 4096


def fit_head(
    embeddings: Float32[np.ndarray, "n d"],
    target: Int64[np.ndarray, "n"],
    train: Int64[np.ndarray, "t"],
    val: Int64[np.ndarray, "v"],
    settings: HeadSettings,
    *,
    num_classes: int,
    seed: int,
) -> nn.Module:
    """Fit a head, with its penalty or number of passes by the validation images.

    Args:
        embeddings: of all rows.
        target: their classes.
        train: rows to fit on.
        val: rows to choose on.
        settings: of kind "linear", "direction" or "mlp".
        num_classes: number of classes.
        seed: of the order of the images, and of dropout.
    """
    head = create_head(settings, embedding_dim=embeddings.shape[1], num_classes=num_classes)
    train = sample_rows(train, seed=seed)
    if isinstance(head, LinearHead | DirectionHead):
        used = unit_vectors(embeddings) if isinstance(head, DirectionHead) else embeddings
        probe = fit_probe(
            torch.from_numpy(used[train]),
            target[train],
            torch.from_numpy(used[val]),
            target[val],
            num_classes=num_classes,
            settings=ProbeSettings(),
        )
        with torch.no_grad():
            head.classifier.weight.copy_(probe.weight)
            head.classifier.bias.copy_(probe.bias)
        return head.eval()
    return _fit_layers(
        head,
        torch.from_numpy(embeddings),
        torch.from_numpy(target),
        (torch.from_numpy(train), torch.from_numpy(val)),
        seed=seed,
    )


def mean_directions(
    embeddings: Float32[np.ndarray, "n d"], target: Int64[np.ndarray, "n"], num_classes: int
) -> DirectionHead:
    """The head whose class directions are the means of the classes' unit vectors.

    With a photo or two of each product there is nothing to regress on, and any number of products
    takes one pass. Logits are cosines times a scale that the temperature sets right.

    Args:
        embeddings: of the images to learn from.
        target: their classes; -1 is left out.
        num_classes: number of classes, each with an image.
    """
    known = target >= 0
    sums = np.zeros((num_classes, embeddings.shape[1]), np.float64)
    np.add.at(sums, target[known], unit_vectors(embeddings[known]))
    head = DirectionHead(embeddings.shape[1], num_classes)
    with torch.no_grad():
        head.classifier.weight.copy_(torch.from_numpy(16.0 * unit_vectors(sums)))
        head.classifier.bias.zero_()
    return head.eval()


def head_logits(
    head: nn.Module, embeddings: Float32[np.ndarray, "n d"]
) -> Float32[np.ndarray, "n c"]:
    """Logits of kept embeddings."""
    with torch.inference_mode():
        pieces = [
            head(torch.from_numpy(embeddings[first : first + LOGITS_AT_ONCE]))
            for first in range(0, len(embeddings), LOGITS_AT_ONCE)
        ]
    return np.asarray(torch.cat(pieces).numpy(), np.float32)


def _fit_layers(
    head: nn.Module,
    embeddings: torch.Tensor,
    target: torch.Tensor,
    rows: tuple[torch.Tensor, torch.Tensor],
    *,
    seed: int,
) -> nn.Module:
    """Train a head of several layers until its validation loss no longer falls."""
    train, val = rows
    torch.manual_seed(seed)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    optimizer = torch.optim.AdamW(head.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    best, best_loss, waited = copy.deepcopy(head.state_dict()), float("inf"), 0
    with progress.task("Fitting", PASSES, "passes") as advance:
        for _ in range(PASSES):
            head.train()
            order = train[torch.randperm(len(train))]
            for first in range(0, len(order), BATCH_IMAGES):
                batch = order[first : first + BATCH_IMAGES]
                if len(batch) < 2:
                    # BatchNorm has no spread over one image.
                    continue
                loss = functional.cross_entropy(head(embeddings[batch]), target[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            advance(1)
            val_loss = _loss(head.eval(), embeddings, target, val if len(val) else train)
            waited = 0 if val_loss < best_loss else waited + 1
            if val_loss < best_loss:
                best, best_loss = copy.deepcopy(head.state_dict()), val_loss
            if waited >= PATIENCE:
                break
    head.load_state_dict(best)
    return head.eval()


def _loss(
    head: nn.Module, embeddings: torch.Tensor, target: torch.Tensor, rows: torch.Tensor
) -> float:
    total = 0.0
    with torch.inference_mode():
        for first in range(0, len(rows), LOGITS_AT_ONCE):
            some = rows[first : first + LOGITS_AT_ONCE]
            loss = functional.cross_entropy(head(embeddings[some]), target[some], reduction="sum")
            total += float(loss)
    return total / len(rows)
