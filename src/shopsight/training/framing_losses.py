"""How well a linear head on frozen features tells classes apart, image by image.

Each image is judged by a head that was fitted without it and without its family (copies of it,
photos of its product, or those that look like it: `looks`): the cross-validated log loss. Two
framings are compared on the same images and the same folds, so that what makes an image hard for
both cancels. With d_i the difference of the losses of image i and families f of images that vary
together, the mean difference has the variance

    var = sum over f of (sum over i in f of (d_i - mean d))^2 / n^2,

the sandwich estimate of a mean of clustered values.

Source: Liang and Zeger 1986, "Longitudinal data analysis using generalized linear models".
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor
from torch.nn import functional

from shopsight import progress
from shopsight.config.model_settings import ProbeSettings
from shopsight.metrics.families import Families
from shopsight.targets import SparseRows, Targets
from shopsight.training.probe import fit_probe

FOLDS = 3


def out_of_fold_losses(
    features: Float32[np.ndarray, "n d"],
    targets: Targets,
    folds: Int64[np.ndarray, "n"],
    *,
    num_classes: int,
    penalty: float,
) -> Float64[np.ndarray, "n"]:
    """The loss of each image in nats, by a head that was fitted on the other folds.

    Args:
        features: of the images.
        targets: of the images.
        folds: of the images, `FOLDS` in number.
        num_classes: number of classes.
        penalty: see `shopsight.training.probe`.
    """
    losses = np.zeros(len(features))
    settings = ProbeSettings(penalties=(penalty,), within=0.0)
    with progress.use_listener(None):
        for fold in range(FOLDS):
            inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if not len(outside) or not len(inside):
                continue
            probe = fit_probe(
                features[inside],
                targets[inside],
                features[:0],
                targets[inside[:0]],
                num_classes=num_classes,
                settings=settings,
            )
            logits = torch.from_numpy(features[outside]) @ probe.weight.T + probe.bias
            losses[outside] = image_losses(logits, targets[outside])
    return losses


def image_losses(logits: Float[Tensor, "m classes"], targets: Targets) -> Float64[np.ndarray, "m"]:
    """The log loss of each image; with several labels, the sum of the binary losses of these."""
    if not isinstance(targets, SparseRows):
        each = functional.cross_entropy(logits, torch.from_numpy(targets), reduction="none")
    else:
        # ln(1 + e^z) - t z, of which the second term is there for the labels of an image alone.
        own = np.asarray(targets.multiply(logits.numpy()).sum(axis=1)).ravel()
        each = functional.softplus(logits).sum(1) - torch.from_numpy(own)
    return each.double().numpy()


def compared(
    losses: Float64[np.ndarray, "n"], best: Float64[np.ndarray, "n"], families: Families
) -> tuple[float, float]:
    """By how much losses exceed those of the best, in the mean, and the standard error of that."""
    difference = losses - best
    mean = float(difference.mean())
    sums = np.bincount(families.of_image, weights=difference - mean)
    return mean, float(np.sqrt((sums**2).sum())) / len(difference)
