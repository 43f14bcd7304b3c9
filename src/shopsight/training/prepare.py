"""All checks before the first training step, and the run folder that training starts from."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, Literal

import polars as pl
import torch
from pydantic import ValidationError

from shopsight import progress
from shopsight.address_secrets import masked
from shopsight.audit.gate import GateRules
from shopsight.audit.row_decisions import dropped_rows
from shopsight.backbones.create import create_backbone
from shopsight.backbones.new_text_tower import new_text_tower
from shopsight.backbones.spec import Backbone, check_rebuilds
from shopsight.cache_place import cache_folder, check_cache_path
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.held_out_classes import HELD_OUT
from shopsight.catalog.rare_classes import split_notes
from shopsight.catalog.seal import mark_of_cache
from shopsight.catalog.split import fold_as_split, fold_catalog, split_catalog
from shopsight.catalog.split_report import SplitReport, check_leakage
from shopsight.catalog.unlabeled import only_labeled
from shopsight.config.loss_settings import PAIR_LOSSES, PROXY_LOSSES
from shopsight.config.recipe import Recipe
from shopsight.devices import unused_gpu_note
from shopsight.errors import ConfigError, TrainingError, first_line
from shopsight.extras import require
from shopsight.files import write_json
from shopsight.loading.loader import check_enough
from shopsight.preprocess import Preprocess
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.text import command_line
from shopsight.training.batch_size import resolve_batch_size
from shopsight.training.captions import Captions
from shopsight.training.compile import may_compile
from shopsight.training.contrastive import check_no_batchnorm
from shopsight.training.distill import token_body
from shopsight.training.finetune import Hardware, check_hardware
from shopsight.training.margins import check_margin
from shopsight.training.precision import pick_precision
from shopsight.training.proxies import LIBRARY
from shopsight.training.teacher import framed_as, labeled_by_teacher, open_teacher, student_recipe
from shopsight.training.usable_images import (
    audited_images,
    check_trainable,
    check_training_part,
    with_used_parts,
    without_held_out,
    without_rare_classes,
    without_unseen,
)
from shopsight.training.zero_shot import check_has_text

# Images enlarged further than this hold no more detail, and cost time.
MOST_MAGNIFIED = 4


def prepare(
    catalog: Catalog,
    recipe: Recipe,
    run: RunFolder,
    *,
    rules: GateRules | None = None,
    fold: int | None = None,
) -> None:
    """Audit, split and resolve; leaves a run folder from which training starts or resumes.

    With `folds.count` and no `fold`, the catalog gets a `fold` column instead of a `split`.

    Args:
        catalog: labeled images.
        recipe: settings, possibly with "auto" in them.
        run: the folder to make.
        rules: which audit findings are accepted, fixed or refused; None refuses errors.
        fold: of the K folds, the one to test on, counted from 0.

    Raises:
        TrainingError: the folder already holds a run.
        AuditError, SplitError, WeightsError, ConfigError: see the checks.
    """
    clock = Clock()
    _check_places(run)
    if fold is not None and not recipe.folds.count:
        raise ConfigError(f"--fold {fold} needs --folds K", fix=f"--folds 5 --fold {fold}")
    rules = rules or GateRules()
    catalog = labeled_by_teacher(catalog, recipe)
    check_trainable(catalog, recipe)
    # Decisions are about all rows of DATA, also those without a label.
    dropped = None if rules.decisions is None else dropped_rows(rules.decisions, catalog)
    catalog, labeled, unlabeled = only_labeled(catalog, recipe.data)
    # First what fails fastest: names, weights and settings, before hours of decoding.
    resolved, weights = resolve(recipe, catalog)
    audited, lost_classes = audited_images(
        with_used_parts(catalog, recipe),
        run,
        rules,
        unlabeled,
        None if dropped is None else dropped[labeled],
    )
    audited = without_held_out(audited, run)
    audited = without_unseen(audited, recipe, run)
    audited, settled = without_rare_classes(audited, recipe, run)
    if recipe.folds.count:
        audited = _with_folds(audited, recipe, run, train_only=settled.train_only)
    cache = str(cache_folder().absolute())
    about = {
        "command": masked(command_line(["shopsight", *sys.argv[1:]])),
        "notes": [*catalog.notes, *settled.notes],
        "rare": {"merged": list(settled.merged), "dropped": list(settled.dropped)},
        "weights": weights,
        "accepted": sorted(rules.accept),
        "lost_classes": list(lost_classes),
        "cache": cache,
        "cache_seal": mark_of_cache(cache),
    }
    if recipe.folds.count and fold is None:
        _write_run(run, audited, resolved, about)
    else:
        only = settled.train_only
        init_run_folder(run, audited, resolved, fold=fold, about=about, train_only=only)
    run.add_seconds("prepare", clock)


def _check_places(run: RunFolder) -> None:
    """Refuse a run folder that is taken, and paths that this system does not take.

    Raises:
        TrainingError: the folder already holds a run.
        WriteError: its path, or that of the cache, is too long.
    """
    run.check_path_length()
    check_cache_path()
    if run.exists():
        raise TrainingError(
            "already holds a run",
            where=str(run.path),
            fix=f"{command_line(['shopsight', 'train', '--resume', run.path])}   (continues it)\n"
            "or give another --out",
        )


def _with_folds(
    audited: AuditedCatalog, recipe: Recipe, run: RunFolder, *, train_only: Collection[str]
) -> AuditedCatalog:
    """Give each image its fold, and write how they were made, or checked, into the run."""
    folded, report = fold_catalog(
        audited.catalog,
        folds=recipe.folds.count,
        seed=recipe.seed,
        duplicate_group=audited.duplicate_group,
        train_only=train_only,
    )
    made = not audited.catalog.has("fold")
    _write_split_report(run, report, made=made, train_only=train_only)
    return audited.with_catalog(folded)


def init_run_folder(
    run: RunFolder,
    audited: AuditedCatalog,
    recipe: Recipe,
    *,
    fold: int | Literal["all"] | None,
    about: dict[str, Any],
    train_only: Collection[str] = (),
) -> None:
    """Write the run folder of one training on an audited catalog.

    Args:
        run: the folder to make.
        audited: the images, with a `fold` column unless `fold` is None.
        recipe: resolved.
        fold: None splits by the recipe; a number tests on that fold; "all" trains on all.
        about: further entries of `run.json`.
        train_only: see `split_catalog`.

    Raises:
        SplitError: a label has no training image, or the parts would measure too few classes.
    """
    catalog, duplicate_group = audited.catalog, audited.duplicate_group
    if fold == "all":
        every = catalog.table.drop("fold").with_columns(split=pl.lit("train"))
        split = catalog.with_table(every)
    elif fold is None:
        split, report = split_catalog(
            catalog,
            val=recipe.data.val,
            test=recipe.data.test,
            seed=recipe.seed,
            duplicate_group=duplicate_group,
            train_only=train_only,
        )
        made = not catalog.has("split")
        _write_split_report(run, report, made=made, train_only=train_only)
    else:
        split = fold_as_split(
            catalog,
            fold,
            val=recipe.data.val,
            seed=recipe.seed,
            duplicate_group=duplicate_group,
        )
        report = check_leakage(split, duplicate_group=duplicate_group)
        _write_split_report(run, report, made=False)
    check_training_part(split, recipe)
    alone = recipe.replace(folds={"count": 0})
    _write_run(run, audited.with_catalog(split), alone, about | {"fold": fold})


def _write_run(
    run: RunFolder, audited: AuditedCatalog, recipe: Recipe, about: dict[str, Any]
) -> None:
    catalog = audited.catalog
    audited.write(run.catalog_file)
    run.write_recipe(recipe)
    run.update_state(**about, stage="prepared", data=catalog.name, synthetic=catalog.synthetic)


def _write_split_report(
    run: RunFolder, report: SplitReport, *, made: bool, train_only: Collection[str] = ()
) -> None:
    """Keep and show what the parts hold; of a split that was made here also what it decided."""
    write_json(run.split_file, report.to_json())
    for line in (*report.lines(), *split_notes(report, made=made, train_only=train_only)):
        progress.notify(line)


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
    if recipe.tracking.tracker != "none":
        require(recipe.tracking.tracker)
    hardware = check_hardware(recipe)
    split = "split" in catalog.table.columns and not recipe.folds.count
    check_enough(len(catalog.rows_of("train")) if split else len(catalog), hardware.world_size)
    note = unused_gpu_note(recipe.hardware.accelerator)
    if note is not None:
        progress.notify(note)
    _check_preprocess(recipe)
    teacher = None
    if recipe.distill.teacher:
        rare = recipe.data.choice("on_rare") in ("drop", "merge")
        settled_later = rare or HELD_OUT in catalog.table.columns
        teacher = open_teacher(recipe, catalog.labels, may_lose_some=settled_later)
        recipe = student_recipe(recipe, teacher)
    size, reads_labels = recipe.preprocess.size_px, recipe.training.reads_labels
    backbone = create_backbone(
        recipe.model.backbone,
        weights=_weights(recipe),
        drop_path=recipe.model.drop_path,
        conv_dropout=recipe.model.conv_dropout,
        size_px=None if size == "auto" else size,
        with_text=reads_labels and recipe.model.new_text is None,
        neck=recipe.model.neck,
    )
    if recipe.model.new_text is not None:
        # What it needs is missing now, not after hours of decoding.
        new_text_tower(recipe.model.new_text, embedding_dim=backbone.embedding_dim, name="")
    elif reads_labels:
        check_has_text(backbone, mode=recipe.training.mode)
    if recipe.training.mode == "contrastive":
        check_no_batchnorm(backbone, frozen=recipe.training.frozen_batchnorm)
        Captions(catalog, recipe)
    check_rebuilds(backbone, recipe.model.backbone)
    own = backbone.preprocess
    if teacher is not None:
        own = framed_as(teacher.info.preprocess, own)
        if recipe.distill.token:
            token_body(backbone.module)
    preprocess = recipe.preprocess.applied_to(own)
    _check_loss(recipe, catalog)
    sizes = recipe.training.progressive_sizes_px or (preprocess.size_px,)
    _check_sizes(backbone, recipe, sizes, preprocess.size_px)
    resolved = recipe.replace(
        preprocess=preprocess.model_dump(),
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
