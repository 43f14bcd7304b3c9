"""Where a network looked: what an engine may offer, and what any engine can be asked.

**Class activation.** Where the logits are a linear function of the mean over the cells of a feature
map f, so is each cell's part of them:

    logit_k = b_k + w_k . mean_ij f_ij = b_k + mean_ij (w_k . f_ij),

and w_k . f_ij is the map of class k: its mean with the bias is the logit, exactly. Other networks
(attention, a norm or layers behind the mean) have no such map, and an engine that has none says so.

**Occlusion.** A part of the image is covered with the mean color, and the loss of log-probability
says what that part was worth. It takes a run of the network for each part, of any engine.

Source: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization"; Zeiler and
Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from shopsight.activations import sigmoid
from shopsight.inference.engine import Engine, Images

CELLS = 7
"""Occluded parts on a side: 49 runs of the network."""
_TINY = 1e-12


@runtime_checkable
class ClassActivationEngine(Protocol):
    """An engine that can give exact maps; of some networks it cannot."""

    def class_activation(
        self, images: Images, labels: Int64[np.ndarray, "b"]
    ) -> Float32[np.ndarray, "b r c"] | None:
        """The map of one label for each image, by the cells of the network.

        Args:
            images: prepared.
            labels: of each image the number of its label.

        Returns:
            Maps whose mean is the label's logit less its bias; None where the network has none.
        """
        ...


def occlusion(
    engine: Engine,
    image: UInt8[np.ndarray, "s s 3"],
    label: int,
    *,
    color: UInt8[np.ndarray, "3"],
    multilabel: bool = False,
    cells: int = CELLS,
) -> Float32[np.ndarray, "{cells} {cells}"]:
    """How much log-probability of a label is lost where a part of an image is covered.

    Args:
        engine: any.
        image: prepared.
        label: its number.
        color: that covers.
        multilabel: the label's probability is by itself.
        cells: parts on a side.
    """
    edges = np.linspace(0, image.shape[0], cells + 1).round().astype(int)
    parts = [
        (slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1]))
        for row in range(cells)
        for column in range(cells)
    ]
    covered = np.repeat(image[None], 1 + len(parts), axis=0)
    for place, part in enumerate(parts, start=1):
        covered[place][part] = color
    # In batches of one size: an engine may have compiled for that.
    half = (len(covered) + 1) // 2
    logits = np.concatenate([engine.run(some)[1] for some in (covered[:half], covered[half:])])
    found = log_probability(logits, label, multilabel=multilabel)
    lost = (found[0] - found[1:]).reshape(cells, cells)
    return np.asarray(lost, np.float32)


def log_probability(
    logits: Float32[np.ndarray, "b c"], label: int, *, multilabel: bool = False
) -> Float64[np.ndarray, "b"]:
    """The logarithm of a label's probability, without a temperature."""
    exact = np.asarray(logits, np.float64)
    if multilabel:
        return np.asarray(np.log(sigmoid(exact[:, label]) + _TINY))
    top = exact.max(axis=1)
    return np.asarray(exact[:, label] - top - np.log(np.exp(exact - top[:, None]).sum(axis=1)))
