"""The images that a training uses: labeled, audited, with the parts that it trains and tests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
from jaxtyping import Bool

from shopsight import progress
from shopsight.audit.audit import audit
from shopsight.audit.gate import GateRules, gate, refuse_one_class
from shopsight.catalog.catalog import SOURCE_ROW, TABLE_ROW, Catalog
from shopsight.catalog.held_out_classes import HELD_OUT, held_out_rows, is_held_out
from shopsight.catalog.rare_classes import (
    SettledClasses,
    check_rare_options,
    settle_rare_classes,
)
from shopsight.catalog.split import scarce_labels
from shopsight.config.loss_settings import PAIR_LOSSES
from shopsight.config.recipe import Recipe
from shopsight.errors import CatalogError, SplitError
from shopsight.files import atomic_file, make_folder
from shopsight.images.kinds import suffix_of
from shopsight.images.thumbnails import write_thumbs
from shopsight.loading.loader import check_enough
from shopsight.read_options import drop_flags
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.spreadsheets import for_reading, unguarded
from shopsight.targets import count_classes, first_labels
from shopsight.text import counted, listed
from shopsight.training.finetune import check_hardware
from shopsight.training.losses import class_weights
from shopsight.training.retrieval_score import check_retrieval


def check_trainable(catalog: Catalog, recipe: Recipe) -> None:
    """Refuse images that no network can learn from as the recipe says, before any is read.

    Raises:
        CatalogError: no image has a label, or rare classes cannot be settled as they are to be.
        AuditError: all have the same.
    """
    if not catalog.labels:
        raise _no_labels(catalog)
    refuse_one_class(catalog)
    check_rare_options(catalog, recipe.data)


def _no_labels(catalog: Catalog) -> CatalogError:
    table, what = catalog.table, "there are no labels to train on"
    if not {TABLE_ROW, SOURCE_ROW}.isdisjoint(table.columns):
        others = [name for name in table.columns if name not in {"image", TABLE_ROW, SOURCE_ROW}]
        details = [f"other columns: {listed(others, most=20)}"] if others else []
        fix = "--label COLUMN names the column of the classes"
        return CatalogError(what, where=catalog.name, details=details, fix=fix)
    first = table["image"][0] if len(table) else ""
    return CatalogError(
        what,
        where=catalog.name,
        details=[f"an image is {first}"],
        fix=f'--label-pattern "*_{{label}}{suffix_of(first)}" takes them from the names of files '
        "(shirt of 12_shirt)\nor put the images of each class into a folder of its name, or name a "
        "table of images and classes as DATA",
    )


def with_used_parts(catalog: Catalog, recipe: Recipe) -> Catalog:
    """The catalog without the given parts that this training does not use.

    K folds cover all images, so a given split is not used, and the other way round: what the audit
    would find in it is no finding.
    """
    unused = "split" if recipe.folds.count else "fold"
    if unused not in catalog.table.columns:
        return catalog
    if catalog.has(unused):
        progress.notify(
            "the given split is not used: the folds cover all images"
            if recipe.folds.count
            else "the given folds are not used: --folds K trains on them"
        )
    return catalog.with_table(catalog.table.drop(unused))


def audited_images(
    catalog: Catalog,
    run: RunFolder,
    rules: GateRules,
    unlabeled: Sequence[str],
    dropped: Bool[np.ndarray, "n"] | None = None,
) -> tuple[AuditedCatalog, tuple[str, ...]]:
    """Audit, and leave out what cannot be used; the run keeps the report and the names.

    Args:
        catalog: the images that have a label.
        run: where the audit, the list of what is left out and the thumbnails are written.
        rules: which findings are accepted, fixed or refused.
        unlabeled: images that were left out before, for the list.
        dropped: rows that somebody decided to leave out; None is none.

    Returns:
        The images that stay, with the audit's facts about them; and a line for each class that
        lost its files, or too many.

    Raises:
        AuditError: see `shopsight.audit.gate.gate`.
    """
    report = replace(
        audit(catalog), fail_on=tuple(rules.fail_on), accept=tuple(sorted(rules.accept))
    )
    report.write(run.audit)
    passed = gate(
        catalog,
        report,
        accept=rules.accept,
        exclude=rules.exclude,
        fail_on=rules.fail_on,
        dropped=dropped,
    )
    bare = pl.DataFrame({"image": unlabeled}, schema={"image": pl.String})
    left_out = pl.concat([passed.excluded, bare.with_columns(reason=pl.lit("no label"))])
    with atomic_file(run.left_out_file) as part:
        for_reading(left_out).write_csv(part)
    if passed.excluded.height:
        counts, *lost = passed.notes()
        progress.notify(f"{counts}; by name in {run.left_out_file}")
        for line in lost:
            progress.notify(line)
    facts = report.files[passed.rows.tolist()]
    write_thumbs(run.thumbs_file, facts["sha256"], report.thumbs[passed.rows])
    audited = AuditedCatalog(passed.catalog, facts["sha256"], report.duplicate_group[passed.rows])
    return audited, passed.lost_classes


def without_rare_classes(
    audited: AuditedCatalog, recipe: Recipe, run: RunFolder
) -> tuple[AuditedCatalog, SettledClasses]:
    """Drop or merge rare classes, or refuse them, as the recipe says; the run lists the former.

    Args:
        audited: the images that the audit let pass.
        recipe: `data.on_rare` and `data.rare_below`, and the split that is to be made.
        run: its list of images that are left out gets those of classes that are dropped.

    Raises:
        SplitError: see `settle_rare_classes`.
        AuditError: only one class is left.
    """
    settled = settle_rare_classes(
        audited.catalog,
        recipe.data,
        duplicate_group=audited.duplicate_group,
        scarce=partial(
            scarce_labels,
            val=recipe.data.val,
            test=recipe.data.test,
            folds=recipe.folds.count,
            seed=recipe.seed,
        ),
    )
    for line in settled.notes:
        progress.notify(line)
    if len(settled.rows) < len(audited):
        gone = np.setdiff1d(np.arange(len(audited)), settled.rows)
        _list_left_out(run, audited.catalog.take(gone), "rare class")
    refuse_one_class(settled.catalog)
    return audited.take(settled.rows).with_catalog(settled.catalog), settled


def without_held_out(audited: AuditedCatalog, run: RunFolder) -> AuditedCatalog:
    """The images without those of classes that a split by label holds out, which the run keeps.

    Args:
        audited: the images that the audit let pass.
        run: keeps them for a test on classes that it never saw, and lists them as left out.
    """
    held = is_held_out(audited.catalog)
    rows = np.flatnonzero(held)
    catalog = audited.catalog.with_table(audited.catalog.table.drop(HELD_OUT, strict=False))
    if not len(rows):
        return audited.with_catalog(catalog)
    gone = catalog.take(rows)
    progress.notify(
        f"held out by the split, not trained on: {counted(len(gone.labels), 'class')} of "
        f"{counted(len(rows), 'image')}: {listed(gone.labels)}"
    )
    _list_left_out(run, gone, "held-out class")
    audited = audited.with_catalog(catalog)
    audited.take(rows).write(run.held_out_file)
    return audited.take(np.flatnonzero(~held))


def without_unseen(audited: AuditedCatalog, recipe: Recipe, run: RunFolder) -> AuditedCatalog:
    """The images without those of whole classes that only the retrieval of an epoch is scored on.

    Of a given split, images to test on are never scored before the end: those of these classes are
    left out.

    Args:
        audited: the images that the audit let pass.
        recipe: `data.val_classes` is the fraction.
        run: gets the images, and lists those that are left out.

    Raises:
        SplitError: too few classes would be left, or held out to tell anything.
    """
    if not recipe.data.val_classes:
        return audited
    catalog = audited.catalog
    unseen = held_out_rows(
        catalog,
        fraction=recipe.data.val_classes,
        seed=recipe.seed,
        duplicate_group=audited.duplicate_group,
    )
    tested = np.zeros(len(catalog), bool)
    if catalog.has("split"):
        tested = (catalog.table["split"] == "test").fill_null(value=False).to_numpy()
    scored = audited.take(np.flatnonzero(unseen & ~tested))
    classes = first_labels(scored.catalog.targets(scored.catalog.labels))
    check_retrieval(classes, scored.duplicate_group, where=catalog.name)
    make_folder(run.path)
    scored.write(run.unseen_file)
    _list_left_out(run, scored.catalog, "class only scored for retrieval")
    if (unseen & tested).any():
        _list_left_out(run, catalog.take(np.flatnonzero(unseen & tested)), "held-out class")
    progress.notify(
        f"retrieval is scored on {counted(len(scored.catalog.labels), 'class')} of "
        f"{counted(len(scored), 'image')} that training never sees: "
        f"{listed(scored.catalog.labels)}"
    )
    return audited.take(np.flatnonzero(~unseen))


def _list_left_out(run: RunFolder, gone: Catalog, reason: str) -> None:
    """Add images to the run's list of those that are left out."""
    before = unguarded(pl.read_csv(run.left_out_file, infer_schema=False, glob=False))
    with atomic_file(run.left_out_file) as part:
        more = gone.table.select("image").with_columns(reason=pl.lit(reason))
        for_reading(pl.concat([before, more])).write_csv(part)


def check_training_part(catalog: Catalog, recipe: Recipe) -> None:
    """Refuse a split whose train part cannot train: labels without images, or too few for all.

    Raises:
        SplitError: a label has no training image.
        ConfigError: the class weights that the recipe names do not fit the labels, or there are
            fewer images than training processes.
    """
    train = catalog.take(catalog.rows_of("train"))
    absent = sorted(set(catalog.labels) - set(train.labels))
    if absent:
        raise SplitError(
            f"{len(absent)} of {len(catalog.labels)} labels have no training image",
            details=absent,
            fix=f"{drop_flags(absent)}, or give them images in the training part",
        )
    class_weights(recipe.training, class_counts(catalog), catalog.labels)
    _check_pairs(catalog, recipe)
    check_enough(len(train), check_hardware(recipe).world_size)


def _check_pairs(catalog: Catalog, recipe: Recipe) -> None:
    """Refuse a loss of pairs, or batches of several images a class, where no class has two."""
    training = recipe.training
    packs = training.sampling == "pxk" and training.images_per_class > 1
    if training.loss not in PAIR_LOSSES and not packs:
        return
    lone = sum(count == 1 for count in class_counts(catalog))
    if lone == len(catalog.labels):
        asks = (
            f"training.loss = {training.loss!r}"
            if training.loss in PAIR_LOSSES
            else "training.sampling = 'pxk'"
        )
        raise SplitError(
            f"{asks} needs several images of a class, but each of the "
            f"{counted(lone, 'class')} has one for training",
            where=catalog.name,
            fix="1. --label COLUMN of what several images share: a product, a model, a kind\n"
            "2. --set training.loss=arcface --set training.sampling=plain   (needs no pairs)",
        )
    if lone:
        kept = "not sampled" if training.loss in PAIR_LOSSES else "sampled, several times"
        progress.notify(
            f"{counted(lone, 'class')} of {len(catalog.labels):,} have one training image, which "
            f"forms no pair: {kept if training.sampling == 'pxk' else 'without effect'}"
        )


def class_counts(catalog: Catalog) -> list[int]:
    """Training images of each label, in the order of `catalog.labels`."""
    targets = catalog.take(catalog.rows_of("train")).targets(catalog.labels)
    return [int(count) for count in count_classes(targets, num_classes=len(catalog.labels))]
