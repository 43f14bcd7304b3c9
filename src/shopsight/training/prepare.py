"""All checks before the first training step, and the run folder that training starts from."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, Literal

import polars as pl

from shopsight import progress
from shopsight.address_secrets import masked
from shopsight.audit.gate import GateRules
from shopsight.audit.row_decisions import dropped_rows
from shopsight.cache_place import cache_folder, check_cache_path
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.rare_classes import split_notes
from shopsight.catalog.seal import mark_of_cache
from shopsight.catalog.split import fold_as_split, fold_catalog, split_catalog
from shopsight.catalog.split_report import SplitReport, check_leakage
from shopsight.catalog.unlabeled import only_labeled
from shopsight.catalog.used_boxes import FOR_TRAINING, with_used_boxes
from shopsight.config.recipe import Recipe
from shopsight.errors import ConfigError, TrainingError
from shopsight.files import write_json
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.text import command_line
from shopsight.training.attribute_plan import attribute_notes, settle_columns
from shopsight.training.resolve import resolve
from shopsight.training.teacher import labeled_by_teacher
from shopsight.training.usable_images import (
    audited_images,
    check_trainable,
    check_training_part,
    with_used_parts,
    without_held_out,
    without_rare_classes,
    without_unseen,
)


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
        AuditError, CatalogError, SplitError, WeightsError, ConfigError: see the checks.
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
    recipe = settle_columns(recipe, catalog)
    catalog, labeled, unlabeled = only_labeled(catalog, recipe.data)
    catalog = with_used_boxes(catalog, used=recipe.framing.boxes, how=FOR_TRAINING)
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
        "rare": {
            "merged": list(settled.merged),
            "dropped": list(settled.dropped),
            "folded": dict(settled.folded),
        },
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
    _say_attributes(audited.with_catalog(split), recipe)
    alone = recipe.replace(folds={"count": 0})
    _write_run(run, audited.with_catalog(split), alone, about | {"fold": fold})


def _say_attributes(audited: AuditedCatalog, recipe: Recipe) -> None:
    """Say what becomes of each attribute, before any training."""
    names = recipe.attributes.columns
    for line in attribute_notes(audited, () if names == "auto" else names):
        progress.notify(line)


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
