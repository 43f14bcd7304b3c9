"""The objective that a recipe names."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from shopsight.config.loss_settings import MARGIN_LOSSES, PAIR_LOSSES, PROXY_LOSSES
from shopsight.config.recipe import Recipe
from shopsight.models.heads import CosineHead
from shopsight.training.margins import MarginObjective
from shopsight.training.objective import ClassificationObjective, Objective
from shopsight.training.pairs import PairObjective
from shopsight.training.proxies import ProxyObjective


def create_objective(
    recipe: Recipe, head: nn.Module, *, class_weights: Float[Tensor, " classes"] | None
) -> Objective:
    """Make the objective of `training.loss`.

    Args:
        recipe: its loss and the numbers of that.
        head: of the network that is trained; what of it the loss does not train is frozen.
        class_weights: see `shopsight.training.losses.class_weights`.

    Raises:
        ExtraMissingError: the loss is of a library that is not installed.
    """
    loss = recipe.training.loss
    if loss in MARGIN_LOSSES | PROXY_LOSSES | PAIR_LOSSES:
        assert isinstance(head, CosineHead), "the recipe's validation"
        if loss in MARGIN_LOSSES:
            return MarginObjective(recipe.training, recipe.metric, head, class_weights)
        if loss in PROXY_LOSSES:
            return ProxyObjective(loss, recipe.metric, head)
        return PairObjective(loss, recipe.metric, head)
    return ClassificationObjective(recipe.training, class_weights)
