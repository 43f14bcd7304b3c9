"""A teacher, and what a recipe becomes by it: labels, layers, head and framing of its student."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from shopsight import progress
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.errors import ConfigError
from shopsight.inference.load import load
from shopsight.inference.open_network import OpenedNetwork, open_network
from shopsight.neck_settings import NeckSettings
from shopsight.paths import full, is_folder
from shopsight.preprocess import Preprocess
from shopsight.text import counted, listed


def open_teacher(
    recipe: Recipe, labels: Sequence[str], *, may_lose_some: bool = False
) -> OpenedNetwork:
    """Open the teacher of a recipe, and check that it can teach these labels.

    Args:
        recipe: of the student.
        labels: of the student's images.
        may_lose_some: rare or held-out labels are left out later.

    Raises:
        ConfigError: it does not know one of the labels, and they count; or it is an ensemble.
        BundleError: it cannot be opened.
    """
    name = recipe.distill.teacher
    teacher = open_network(name, with_text=False)
    if teacher.info.members > 1:
        raise ConfigError(
            f"the teacher is an ensemble of {teacher.info.members} networks, whose embedding is of "
            "no one space",
            where="distill.teacher",
            fix="name the run of one fold",
        )
    if recipe.distill.reads_answers:
        known = set(teacher.info.labels) if teacher.is_trained else set[str]()
        unknown = set(labels) - known
        if unknown and (not may_lose_some or len(unknown) == len(labels)):
            raise _other_labels(known, unknown, name)
        if recipe.distill.copy_head and not may_lose_some and teacher.info.labels != tuple(labels):
            raise ConfigError(
                f"the teacher's head knows {len(known):,} labels, the student {len(labels):,}",
                where="distill.copy_head",
                fix="--set distill.copy_head=false --set distill.frozen_head_epochs=0",
            )
    return teacher


def check_same_boxes(recipe: Recipe, teacher: OpenedNetwork) -> None:
    """Refuse a trained teacher that sees boxes where its student sees whole images, or vice versa.

    Raises:
        ConfigError: it does.
    """
    boxes = teacher.info.preprocess.boxes
    if teacher.is_trained and boxes != recipe.framing.boxes:
        raise ConfigError(
            f"the teacher was trained on {'boxes' if boxes else 'whole images'}, and both must see "
            "the same view",
            where="distill.teacher",
            fix=f"--set framing.boxes={str(boxes).lower()}",
        )


def _other_labels(known: set[str], unknown: set[str], name: str) -> ConfigError:
    fix = "--set distill.soft_weight=0 --set distill.copy_head=false   (embeddings alone)"
    if not known:
        return ConfigError(
            f"the teacher {name} has no classes: it teaches embeddings alone",
            where="distill.teacher",
            fix=fix,
        )
    return ConfigError(
        f"the teacher {name} does not know {counted(len(unknown), 'label')} of the student's: its "
        "answers would teach that no image has them",
        where="distill.teacher",
        details=[
            *sorted(unknown)[:5],
            f"the teacher knows {listed(sorted(known))}",
        ],
        fix=fix,
    )


def labeled_by_teacher(catalog: Catalog, recipe: Recipe) -> Catalog:
    """Photos without any label, with the teacher's answers as labels; others as they are.

    Raises:
        ConfigError: the teacher has no classes.
        BundleError: it cannot be opened.
    """
    name = recipe.distill.teacher
    if not name or catalog.labels:
        return catalog
    if not is_folder(name):
        raise ConfigError(
            f"the photos have no labels, and the teacher {name} has no classes to give them",
            where="distill.teacher",
            fix="name a run or a bundle as the teacher, or --label COLUMN",
        )
    predictor = load(name, device=recipe.hardware.accelerator, engine="torch")
    if predictor.info.multilabel:
        raise ConfigError(
            "the photos have no labels, and the teacher gives several to each",
            where="distill.teacher",
            fix="shopsight predict TEACHER DATA --out labels.csv   (and read the labels from it)",
        )
    found = predictor.predict(catalog)
    labels = [one.labels[0] if one.labels else None for one in found]
    note = (
        "the labels are the teacher's answers: scores say how often the student answers as the "
        "teacher does"
    )
    progress.notify(note)
    table = catalog.table.drop("label", strict=False).with_columns(
        pl.Series("label", labels, pl.String)
    )
    return catalog.with_table(table).with_notes(note)


def student_recipe(recipe: Recipe, teacher: OpenedNetwork) -> Recipe:
    """The recipe with the layers that reach the teacher's space, and its head where it is copied.

    Raises:
        ConfigError: the recipe's own neck has another width than the teacher's embedding.
    """
    width, neck = teacher.info.embedding_dim, recipe.model.neck
    name = recipe.distill.teacher
    if is_folder(name):
        # The run is resumed from wherever the user is then.
        recipe = recipe.replace(distill={"teacher": full(name)})
    if not recipe.distill.is_into_space:
        return recipe
    if neck.kind in ("none", "bnneck"):
        neck = NeckSettings(kind="linear", embedding_dim=width, pool=neck.pool)
    elif neck.embedding_dim != width:
        raise ConfigError(
            f"the teacher's embedding has {width:,} numbers, the student's "
            f"{neck.embedding_dim or 'as many as its backbone gives'}",
            where="model.neck.embedding_dim",
            fix=f"--set model.neck.embedding_dim={width}",
        )
    head = teacher.info.head if recipe.distill.copy_head else recipe.model.head
    return recipe.replace(model={"neck": neck.model_dump(), "head": head.model_dump()})


def framed_as(teacher: Preprocess, student: Preprocess) -> Preprocess:
    """The student's preprocessing with the teacher's framing: both see the same view."""
    framing = {
        "resize": teacher.resize,
        "crop_fraction": teacher.crop_fraction,
        "pad_color": teacher.pad_color,
        "interpolation": teacher.interpolation,
    }
    return Preprocess.model_validate(student.model_dump() | framing)
