"""The classifier that a run has before any fine-tuning: of its probe, or of its labels' names."""

from __future__ import annotations

from safetensors.torch import save_file
from torch import Tensor

from shopsight.backbones.weights import load_state_dict_strict
from shopsight.files import atomic_file, make_folder
from shopsight.io.weights import read_weights
from shopsight.models.heads import DirectionHead, LinearHead
from shopsight.models.product_model import ProductModel
from shopsight.runs.run_folder import RunFolder


def write_classifier(run: RunFolder, weight: Tensor, bias: Tensor) -> None:
    """Keep a classifier in the run."""
    make_folder(run.checkpoints)
    with atomic_file(run.probe_file) as part:
        save_file({"weight": weight, "bias": bias}, part)


def take_classifier(run: RunFolder, model: ProductModel) -> None:
    """Give a network the classifier that the run keeps.

    Args:
        run: past its probe.
        model: changed in place.

    Raises:
        WeightsError: its file cannot be read, or is of other labels.
    """
    classifier = read_weights(run.probe_file, unwrap=False)
    assert isinstance(model.head, LinearHead | DirectionHead)
    load_state_dict_strict(model.head.classifier, classifier, where=str(run.probe_file))
