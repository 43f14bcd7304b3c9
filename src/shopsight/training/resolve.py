"""What a recipe means for this backbone and machine: no "auto" is left in it, and it was tried."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import ValidationError

from shopsight import progress
from shopsight.backbones.create import create_backbone
from shopsight.backbones.new_text_tower import new_text_tower
from shopsight.backbones.spec import Backbone, check_rebuilds
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.held_out_classes import HELD_OUT
from shopsight.config.framing_settings import MULTIPLE_PX
from shopsight.config.loss_settings import PAIR_LOSSES, PROXY_LOSSES
from shopsight.config.recipe import Recipe
from shopsight.devices import unused_gpu_note
from shopsight.errors import ConfigError, first_line
from shopsight.extras import require
from shopsight.inference.open_network import OpenedNetwork
from shopsight.loading.loader import check_enough
from shopsight.preprocess import Preprocess
from shopsight.training.batch_size import resolve_batch_size
from shopsight.training.captions import Captions
from shopsight.training.compile import may_compile
from shopsight.training.contrastive import check_no_batchnorm
from shopsight.training.distill import token_body
from shopsight.training.finetune import Hardware, check_hardware
from shopsight.training.margins import check_margin
from shopsight.training.precision import pick_precision
from shopsight.training.proxies import LIBRARY
from shopsight.training.teacher import (
    check_same_boxes,
    framed_as,
    open_teacher,
    student_recipe,
)
from shopsight.training.zero_shot import check_has_text

FRAMING_KEYS = ("size_px", "resize", "crop_fraction")
"""Of the preprocessing: who sets one of them has chosen a framing."""
# Images enlarged further than this hold no more detail, and cost time.
MOST_MAGNIFIED = 4


def resolve(recipe: Recipe, catalog: Catalog) -> tuple[Recipe, str]:
    """Replace every "auto" of a recipe by what it means for this backbone and machine.

    The network is built as training will build it and run on an image of every size: what cannot
    work must fail before hours of decoding.

    Args:
        recipe: settings, possibly with "auto" in them.
        catalog: labeled images.

    Returns:
        The resolved recipe, and what the backbone's weights are.

    Raises:
        ConfigError: settings that do not fit each other, the backbone or the labels.
        WeightsError: the weights cannot be had, or do not fit.
        ExtraMissingError: the backbone's library or the tracker is not installed.
    """
    hardware = _checked_hardware(recipe, catalog)
    _check_preprocess(recipe)
    recipe, teacher = _with_teacher(recipe, catalog)
    backbone = _new_backbone(recipe)
    _check_backbone(backbone, recipe, catalog)
    own = backbone.preprocess
    if teacher is not None:
        own = framed_as(teacher.info.preprocess, own)
    preprocess = recipe.framed(own)
    if preprocess.average:
        progress.notify(
            f"framing.average: {preprocess.views} views of each image, which cost the network "
            f"{preprocess.views} times as much at inference"
        )
    _check_loss(recipe, catalog)
    recipe = _with_framing(recipe)
    sizes = training_sizes(recipe, preprocess.size_px)
    _check_sizes(backbone, recipe, sizes, preprocess.size_px)
    resolved = recipe.replace(
        preprocess=preprocess.recipe_section(),
        training={
            "precision": pick_precision(recipe.training.precision, hardware.device),
            "compile": _compile(recipe, hardware),
            "progressive_sizes_px": sizes,
        },
        model={"weights": _weights(recipe)},
    )
    sized = resolve_batch_size(
        resolved, hardware.device, devices=hardware.world_size, images=len(catalog)
    )
    return sized, backbone.weights


def training_sizes(recipe: Recipe, size_px: int) -> tuple[int, ...]:
    """Sides of the training images of one epoch after the other.

    Args:
        recipe: says them in pixels or relative to the images that are judged.
        size_px: side of these.
    """
    training = recipe.training
    scaled = (max(1, round(scale * size_px / MULTIPLE_PX)) for scale in training.progressive_scales)
    return training.progressive_sizes_px or tuple(MULTIPLE_PX * one for one in scaled) or (size_px,)


def _with_framing(recipe: Recipe) -> Recipe:
    """The recipe, whose framing is searched only where nobody has chosen one.

    Frozen features say something of images only where the backbone has learned to see, and a probe
    is what training begins with.
    """
    given = any(getattr(recipe.preprocess, key) != "auto" for key in FRAMING_KEYS)
    can = recipe.training.mode.startswith("probe") and _weights(recipe) != "random"
    searches = recipe.framing.search and can and not given and not recipe.distill.teacher
    return recipe.replace(
        framing={"search": searches},
        training={"progressive_scales": ()} if recipe.training.progressive_sizes_px else {},
    )


def _checked_hardware(recipe: Recipe, catalog: Catalog) -> Hardware:
    """What trains, and whether each process of it gets an image."""
    if recipe.tracking.tracker != "none":
        require(recipe.tracking.tracker)
    hardware = check_hardware(recipe)
    split = "split" in catalog.table.columns and not recipe.folds.count
    check_enough(len(catalog.rows_of("train")) if split else len(catalog), hardware.world_size)
    note = unused_gpu_note(recipe.hardware.accelerator)
    if note is not None:
        progress.notify(note)
    return hardware


def _with_teacher(recipe: Recipe, catalog: Catalog) -> tuple[Recipe, OpenedNetwork | None]:
    """The recipe of a teacher's student, and the teacher, where there is one."""
    if not recipe.distill.teacher:
        return recipe, None
    rare = recipe.data.choice("on_rare") in ("drop", "merge", "parent")
    settled_later = rare or HELD_OUT in catalog.table.columns
    teacher = open_teacher(recipe, catalog.labels, may_lose_some=settled_later)
    check_same_boxes(recipe, teacher)
    return student_recipe(recipe, teacher), teacher


def _new_backbone(recipe: Recipe) -> Backbone:
    settings, size = recipe.model, recipe.preprocess.size_px
    own_text = recipe.training.reads_labels and settings.new_text is None
    return create_backbone(
        settings.backbone,
        weights=_weights(recipe),
        drop_path=settings.drop_path,
        conv_dropout=settings.conv_dropout,
        size_px=None if size == "auto" else size,
        with_text="check" if own_text else False,
        neck=settings.neck,
    )


def _weights(recipe: Recipe) -> str:
    weights = recipe.model.weights
    if recipe.training.mode != "scratch":
        return weights
    named = weights
    # "pretrained" is the default and need not be unset for a start from scratch, unless the
    # backbone's own name holds a file.
    if weights == "pretrained" and recipe.model.backbone.startswith("local:"):
        named = recipe.model.backbone.partition("@")[2] or weights
    if named not in ("pretrained", "random"):
        raise ConfigError(
            f"training.mode = 'scratch' and the weights {named!r} exclude each other",
            fix="1. --set training.mode=finetune   (begins with the file)\n"
            "2. --set model.weights=random   (begins without it)",
        )
    return "random"


def _compile(recipe: Recipe, hardware: Hardware) -> bool | Literal["auto"]:
    """Whether to compile; "auto" stays until there is a network whose steps can be measured."""
    wanted = recipe.training.compile
    may = may_compile(recipe, hardware.device, world_size=hardware.world_size)
    return False if wanted == "auto" and not may else wanted


def _check_preprocess(recipe: Recipe) -> None:
    try:
        recipe.preprocess.applied_to(Preprocess())
    except ValidationError as error:
        problem = error.errors()[0]
        key = f"preprocess.{problem['loc'][0]}"
        raise ConfigError(
            f"{problem['msg']} (got {problem['input']!r})", where=key, fix=f"--set {key}=auto"
        ) from error


def _check_backbone(backbone: Backbone, recipe: Recipe, catalog: Catalog) -> None:
    """Check that the backbone has what the training needs of it."""
    new_text, mode = recipe.model.new_text, recipe.training.mode
    if new_text is not None:
        # What it needs is missing now, not after hours of decoding.
        new_text_tower(new_text, embedding_dim=backbone.embedding_dim, name="")
    elif recipe.training.reads_labels:
        check_has_text(backbone, mode=mode)
    if mode == "contrastive":
        check_no_batchnorm(backbone, frozen=recipe.training.frozen_batchnorm)
        Captions(catalog, recipe)
    check_rebuilds(backbone, recipe.model.backbone)
    if recipe.distill.teacher and recipe.distill.token:
        token_body(backbone.module)


def _check_loss(recipe: Recipe, catalog: Catalog) -> None:
    loss = recipe.training.loss
    if loss in PROXY_LOSSES | PAIR_LOSSES:
        require(LIBRARY)
    check_margin(recipe, num_classes=len(catalog.labels))
    if catalog.multilabel == (loss == "bce"):
        return
    if catalog.multilabel:
        raise ConfigError(
            f"images of {catalog.name} have several labels, but loss {loss!r} takes one",
            where="training.loss",
            fix="1. --set training.loss=bce   (several labels per image)\n"
            '2. --label COLUMN, or --label-separator ""   (reads one label per image)',
        )
    raise ConfigError(
        f"images of {catalog.name} have one label each, but loss 'bce' is for several",
        where="training.loss",
        fix="1. --set training.loss=cross-entropy   (one label per image)\n"
        '2. --label-separator TEXT, such as "|"   (where cells hold several)',
    )


def _check_sizes(backbone: Backbone, recipe: Recipe, sizes: tuple[int, ...], own_size: int) -> None:
    if max(sizes) > MOST_MAGNIFIED * own_size:
        raise ConfigError(
            f"training.progressive_sizes_px = {list(sizes)} magnifies images of {own_size} px",
            fix=f'1. --set "training.progressive_sizes_px=[]"   (trains at {own_size} px)\n'
            f"2. --set preprocess.size_px={max(sizes)}   (prepares larger images)",
        )
    _check_size(backbone, own_size, where="preprocess.size_px", fix="--set preprocess.size_px=auto")
    if recipe.training.finetunes:
        for size_px in sorted(set(sizes) - {own_size}):
            _check_size(
                backbone,
                size_px,
                where="training.progressive_sizes_px",
                fix='--set "training.progressive_sizes_px=[]"',
            )


def _check_size(backbone: Backbone, size_px: int, *, where: str, fix: str) -> None:
    """Run the network once: windows or position embeddings may not take every size."""
    try:
        with torch.inference_mode():
            backbone.module.eval()(torch.zeros(1, 3, size_px, size_px))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"{backbone.name} does not take images of {size_px} px",
            where=where,
            details=[first_line(error)],
            fix=fix,
        ) from error
