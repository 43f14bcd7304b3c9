"""The network that a recipe begins to train."""

from __future__ import annotations

from dataclasses import replace

import lightning
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.backbones.new_text_tower import new_text_tower
from shopsight.backbones.spec import Backbone
from shopsight.config.recipe import Recipe
from shopsight.models.heads import DirectionHead, create_head
from shopsight.models.product_model import ProductModel
from shopsight.models.two_towers import TwoTowers
from shopsight.preprocess import Preprocess


def start_network(
    recipe: Recipe, *, num_classes: int, tta_hflip: bool = False, with_text: bool = False
) -> tuple[ProductModel, Backbone]:
    """Build the network of a recipe, the same each time.

    Args:
        recipe: resolved.
        num_classes: of the head.
        tta_hflip: whether the mirror image is averaged in.
        with_text: whether the text encoder is wanted too.
    """
    settings = recipe.model
    preprocess = recipe.framed(Preprocess())
    contrastive = recipe.training.mode == "contrastive"
    lightning.seed_everything(recipe.seed, verbose=False)
    backbone = create_backbone(
        settings.backbone,
        weights=settings.weights,
        drop_path=settings.drop_path,
        conv_dropout=settings.conv_dropout,
        size_px=preprocess.size_px,
        with_text=with_text or contrastive,
        neck=settings.neck,
    )
    if settings.new_text is not None:
        text = new_text_tower(
            settings.new_text, embedding_dim=backbone.embedding_dim, name="open_clip:new"
        )
        backbone = replace(backbone, text=text)
    head = create_head(settings.head, embedding_dim=backbone.embedding_dim, num_classes=num_classes)
    if contrastive:
        sigmoid = recipe.contrastive.loss == "sigmoid"
        return _two_towers(backbone, head, preprocess, tta_hflip, sigmoid=sigmoid), backbone
    return ProductModel(backbone.module, head, preprocess, tta_hflip=tta_hflip), backbone


def _two_towers(
    backbone: Backbone, head: nn.Module, preprocess: Preprocess, tta_hflip: bool, *, sigmoid: bool
) -> TwoTowers:
    text = backbone.text
    assert text is not None
    assert isinstance(head, DirectionHead)
    return TwoTowers(
        backbone.module,
        head,
        preprocess,
        tta_hflip=tta_hflip,
        text=text.module,
        logit_scale=text.logit_scale,
        logit_bias=text.logit_bias,
        sigmoid=sigmoid,
    )
