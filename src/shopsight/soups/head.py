"""A linear head fitted anew to a backbone, as the probe of a training is."""

from __future__ import annotations

import torch

from shopsight.inference.predictor import Predictor
from shopsight.models.product_model import ProductModel
from shopsight.soups.candidates import VAL, Candidates
from shopsight.training.losses import class_weights
from shopsight.training.probe import fit_probe, sample_rows
from shopsight.training.usable_images import class_counts


@torch.no_grad()
def refit_head(candidates: Candidates, model: ProductModel) -> None:
    """Fit the classifier of a network to the embeddings of its own backbone.

    Args:
        candidates: have the images, and the recipe of the run's probe.
        model: changed in place; its head is linear.
    """
    predictor = Predictor(candidates.engine(model, candidates.golden(model)), candidates.info)
    audited, recipe = candidates.audited, candidates.recipe
    labels = candidates.info.labels
    targets = audited.catalog.targets(labels)
    train = sample_rows(candidates.rows("train"), seed=recipe.seed)
    val = candidates.rows(VAL)
    features = [
        torch.from_numpy(candidates.embeddings(predictor, candidates.source, rows))
        for rows in (train, val)
    ]
    with torch.enable_grad():
        probe = fit_probe(
            features[0],
            targets[train],
            features[1],
            targets[val],
            num_classes=len(labels),
            settings=recipe.probe,
            weights=class_weights(recipe.training, class_counts(audited.catalog), labels),
        )
    classifier = model.head.classifier
    assert isinstance(classifier, torch.nn.Linear)
    classifier.weight.copy_(probe.weight)
    classifier.bias.copy_(probe.bias)
