"""Predictions of several models may only be compared image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import polars as pl

from shopsight.errors import CompareError
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.united_groups import with_united_groups

# An image can be there more than once (several boxes): its occurrences are numbered.
KEY = ("image", "occurrence")


def align_predictions(
    predictions: Sequence[Predictions], names: Sequence[str]
) -> list[Predictions]:
    """The same predictions, all in the order of the images' names, with the same groups.

    Neither the order nor the groups depend on which of them comes first: groups are those that
    any of them knows, see `with_united_groups`. Where two tables have a column `sha256` (of the
    files), it must agree as well.

    Args:
        predictions: at least one.
        names: of the models, for messages.

    Raises:
        CompareError: labels, images, the images' true labels or their groups differ; it says
            which.
    """
    first = predictions[0]
    numbered = [_numbered(part) for part in predictions]
    for part, table, name in zip(predictions[1:], numbered[1:], names[1:], strict=True):
        _check_labels(first, part, names[0], name)
        _check_images(numbered[0], table, names[0], name)
        _check_truth(numbered[0], table, names[0], name)
    tables = with_united_groups(numbered, names)
    return [replace(part, table=table) for part, table in zip(predictions, tables, strict=True)]


def _numbered(predictions: Predictions) -> pl.DataFrame:
    """By image and occurrence, so that tables of the same images have the same order."""
    table = predictions.table.sort("row")
    table = table.with_columns(pl.int_range(pl.len()).over("image").alias("occurrence"))
    return table.sort(KEY)


def _check_labels(first: Predictions, other: Predictions, first_name: str, name: str) -> None:
    if first.multilabel != other.multilabel:
        raise CompareError(
            f"{first_name} and {name} cannot be compared: "
            "one gives one label per image, the other several"
        )
    differing = sorted(set(first.labels) ^ set(other.labels))
    if differing:
        raise CompareError(
            f"{first_name} has {len(first.labels)} labels and {name} has {len(other.labels)}: "
            f"{len(differing)} are not in both",
            details=[f"{label}: only {first_name if label in first.labels else name}"
                     for label in differing],
            fix="evaluate both on the same catalog, with the same --drop and --label-map",
        )  # fmt: skip


def _check_images(first: pl.DataFrame, other: pl.DataFrame, first_name: str, name: str) -> None:
    only_first = first.join(other, on=KEY, how="anti")["image"].to_list()
    only_other = other.join(first, on=KEY, how="anti")["image"].to_list()
    if not only_first and not only_other:
        return
    shared = first.height - len(only_first)
    sides = zip_longest(
        (f"{image}: only {first_name}" for image in only_first),
        (f"{image}: only {name}" for image in only_other),
    )
    raise CompareError(
        f"{first_name} and {name} were tested on different images: {len(only_first)} only in "
        f"{first_name}, {len(only_other)} only in {name}, {shared} in both",
        details=[line for side in sides for line in side if line],
        fix="shopsight split DATA --out splits.csv, and train both on splits.csv",
    )


def _check_truth(first: pl.DataFrame, aligned: pl.DataFrame, first_name: str, name: str) -> None:
    relabeled = _differing(first, aligned, "label")
    if relabeled:
        raise CompareError(
            f"{len(relabeled)} images have one label in {first_name} and another in {name}",
            details=[f"{image}: {a} / {b}" for image, a, b in relabeled],
            fix="evaluate both on the same catalog",
        )
    if "sha256" not in first.columns or "sha256" not in aligned.columns:
        return
    replaced = _differing(first, aligned, "sha256")
    if replaced:
        raise CompareError(
            f"{len(replaced)} images have one content in {first_name} and another in {name}",
            details=[f"{image}: sha256 {a[:12]} / {b[:12]}" for image, a, b in replaced],
            fix="evaluate both on the same catalog",
        )


def _differing(first: pl.DataFrame, other: pl.DataFrame, column: str) -> list[tuple[Any, ...]]:
    pairs = pl.DataFrame({"image": first["image"], "a": first[column], "b": other[column]})
    return pairs.filter(pl.col("a") != pl.col("b")).rows()
