"""What a model said about each labeled image: the table behind every score.

Scores, reports and comparisons are computed from this table alone, so predictions of K folds put
together, or of a run from last year, are scored by the same code.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array

from shopsight.catalog.about_record import METADATA_KEY
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.linked_rows import linked_rows
from shopsight.errors import CatalogError, CompareError
from shopsight.evaluation.attribute_columns import PredictedAttribute
from shopsight.evaluation.predictions_check import (
    KINDS,
    PHOTO_ROWS,
    SCORE_ROW,
    WRITE_ANEW,
    check_products_table,
    check_scores,
    check_types,
    check_values,
)
from shopsight.evaluation.score_files import SUFFIX, FiledScores, ScoreFile, TableScores
from shopsight.files import atomic_file, damage_named, make_folder
from shopsight.held_files import remove_file
from shopsight.io.json_files import parse_json
from shopsight.io.local_files import read_file
from shopsight.io.parquet import parquet_metadata, parquet_schema, read_parquet
from shopsight.memory import memory_budget_bytes
from shopsight.metrics.families import Families
from shopsight.metrics.label_ranking import LabelRanking, LabelScores, rank_labels
from shopsight.runs.audited_catalog import DUPLICATE_GROUP

ALL_ROWS = "all"
BY_PRODUCT = "by-product"
"""The folder of the answers for products, beside those for photos."""


def part_rows(catalog: Catalog, split: str) -> Int64[np.ndarray, "m"]:
    """The rows of one part of a catalog, or of `ALL_ROWS`."""
    return np.arange(len(catalog)) if split == ALL_ROWS else catalog.rows_of(split)


@dataclass(frozen=True, eq=False)
class Predictions:
    """One row per image, in the catalog's order.

    Columns of `table`: `row` (of the catalog), `image`, `group` (where the catalog has it),
    `duplicate_group` (equal for copies of one another, where copies were searched for), `label`,
    `predicted`, `confidence` (of the best label), `correct`, `loss` (nats), `top_labels` and
    `top_probabilities` (the best five). With one label per image also `rank` (of the true
    label, from 1); with several, `label` and `predicted` are lists, `correct` means the same
    set, and `scores` holds the probability of every label in the order of `labels`, or, where
    there are too many, `score_row` its place in `score_files`. Of a K-fold run also `fold`, whose
    network predicted the row.

    Of a model that may answer "unknown" also the columns of
    `shopsight.evaluation.unknown_columns`.

    Of a model with attributes also their columns, see `shopsight.evaluation.attribute_columns`.

    Attributes:
        split: the part of the catalog: "train", "val", "test", "all", or "out-of-fold".
        data: the catalog's name; synthetic: its images were rendered, not photographed.
        score_files: hold the scores of many labels, see `shopsight.evaluation.score_files`; their
            images are numbered on from file to file.
        by_product: the same with a row per product, where images show products of several photos:
            its columns are also `photos`, their number, and `photo_rows`; `row` is the first of
            these. Without products whose photos have several labels.
        attributes: those of the model; their columns are in the table.
    """

    table: pl.DataFrame
    labels: tuple[str, ...]
    multilabel: bool
    split: str
    data: str
    synthetic: bool = False
    score_files: tuple[ScoreFile, ...] = ()
    by_product: Predictions | None = None
    attributes: tuple[PredictedAttribute, ...] = ()

    def __len__(self) -> int:
        return self.table.height

    def label_index(self, column: str) -> Int64[np.ndarray, "n"]:
        """Class indices of `label` or `predicted`; for one label per image."""
        index = pl.Series(range(len(self.labels)), dtype=pl.Int64)
        codes = self.table[column].replace_strict(pl.Series(self.labels), index)
        return codes.to_numpy().astype(np.int64)

    def label_table(self, column: str) -> csr_array:
        """Which labels `label` or `predicted` holds, 0/1 "n c"; for several labels per image."""
        lists = self.table[column]
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        names = lists.filter(pl.Series(lengths > 0)).explode()
        index = pl.Series(range(len(self.labels)), dtype=pl.Int64)
        codes = names.replace_strict(pl.Series(self.labels), index).to_numpy().astype(np.int64)
        ends = np.append(0, np.cumsum(lengths))
        shape = (len(self), len(self.labels))
        hot = csr_array((np.ones(len(codes), np.uint8), codes, ends), shape=shape)
        # A label that is named twice is one label.
        hot.sum_duplicates()
        hot.data[:] = 1
        return hot

    def scores(self) -> LabelScores:
        """The probability of every label, to be read in pieces; for several labels per image."""
        if self.score_files:
            return FiledScores(self.score_files, self.table[SCORE_ROW].to_numpy())
        return TableScores(self.score_table())

    def score_table(self) -> Float32[np.ndarray, "n c"]:
        """The same, all of them in memory."""
        if self.score_files:
            return np.ascontiguousarray(self.scores().of_labels(0, len(self.labels)).T)
        return self.table["scores"].to_numpy().astype(np.float32).reshape(len(self), -1)

    @cached_property
    def ranking(self) -> LabelRanking:
        """How well the scores rank the images; for several labels per image.

        Raises:
            MetricError: there are no images.
        """
        return rank_labels(self.label_table("label"), self.scores())

    def families(self) -> Families:
        """Which images vary together: those of a group, and copies of one another."""
        return self._families

    @cached_property
    def _families(self) -> Families:
        names = [name for name in ("group", DUPLICATE_GROUP) if name in self.table.columns]
        return linked_rows(len(self), [self.table[name] for name in names])

    def with_rows(self, rows: Int64[np.ndarray, "n"]) -> Predictions:
        """The same of a catalog whose row `rows[i]` was row i of the one that was predicted."""
        row = pl.Series("row", rows[self.table["row"].to_numpy()], dtype=pl.Int64)
        columns = [row]
        if PHOTO_ROWS in self.table.columns:
            each = pl.element().replace_strict(np.arange(len(rows)), rows, return_dtype=pl.Int64)
            columns.append(self.table[PHOTO_ROWS].list.eval(each))
        products = None if self.by_product is None else self.by_product.with_rows(rows)
        return replace(self, table=self.table.with_columns(columns), by_product=products)

    def with_duplicate_groups(self, duplicate_group: Int64[np.ndarray, "n"]) -> Predictions:
        """The same where these images are copies of one another, see `AuditedCatalog`."""
        column = pl.Series(DUPLICATE_GROUP, duplicate_group)
        found = replace(self, table=self.table.with_columns(column))
        if self.by_product is None:
            return found
        # Products that share a copy vary together: by the families of their photos.
        family = self.table.select("row").with_columns(
            pl.Series(DUPLICATE_GROUP, found.families().of_image)
        )
        products = self.by_product
        table = products.table.join(family, on="row", how="left", maintain_order="left")
        return replace(found, by_product=replace(products, table=table))

    def without_rows(self, rows: pl.Series) -> Predictions:
        """The same without these rows of the catalog, and without the products that they show."""
        table = self.table.filter(~pl.col("row").is_in(rows.implode()))
        products = self.by_product
        if products is not None:
            shown = products.table.select(
                pl.col(PHOTO_ROWS).list.eval(pl.element().is_in(rows.implode())).list.any()
            ).to_series()
            kept = products.table.filter(~shown)
            products = replace(products, table=kept) if len(kept) else None
        return replace(self, table=table, by_product=products)

    def write(self, path: Path | str) -> None:
        """Write as Parquet, whole; `Predictions.read` gives it back.

        Files of scores are put beside it, before it; those of a former table go after it.
        """
        path = Path(path)
        for file in self.score_files:
            if file.path.parent != path.parent or not _is_of(file.path, path):
                file.keep(path.with_name(f"{path.stem}-{uuid.uuid4().hex[:8]}{SUFFIX}"))
        about = {
            "labels": self.labels,
            "multilabel": self.multilabel,
            "split": self.split,
            "data": self.data,
            "synthetic": self.synthetic,
        }
        if self.attributes:
            about["attributes"] = [[one.name, one.several] for one in self.attributes]
        if self.score_files:
            about["score_files"] = [[file.path.name, file.num_images] for file in self.score_files]
        with atomic_file(path) as part:
            self.table.write_parquet(part, metadata={METADATA_KEY: json.dumps(about)})
        kept = {file.path for file in self.score_files}
        for former in path.parent.glob(f"*{SUFFIX}"):
            if _is_of(former, path) and former not in kept:
                remove_file(former)
        products = _products_of(path)
        if self.by_product is not None:
            make_folder(products.parent)
            self.by_product.write(products)
        elif products.is_file():
            remove_file(products)

    @classmethod
    def read(
        cls,
        path: Path | str,
        columns: Collection[str] | None = None,
        *,
        catalog_rows: int | None = None,
    ) -> Predictions:
        """Read what `write` wrote.

        Args:
            path: the file.
            columns: those of the table to read, as far as they are there; None reads all.
            catalog_rows: how many the catalog has whose images were predicted; None is not known.

        Raises:
            CatalogError: the file is missing, or no file of predictions.
            DamagedFileError: it is damaged, or its scores are.
        """
        path = Path(path)
        if not path.is_file():
            raise CatalogError(
                "no such predictions", where=str(path), fix="shopsight evaluate RUN writes them"
            )
        with damage_named(path, fix=WRITE_ANEW):
            # Bytes, as a file that is mapped cannot be replaced on Windows.
            data = read_file(path, most_bytes=memory_budget_bytes())
            noted = parquet_metadata(data).get(METADATA_KEY)
            about = {} if noted is None else parse_json(noted)
            if "split" not in about or "labels" not in about:
                raise CatalogError("not predictions that shopsight wrote", where=str(path))
            wanted = set(KINDS if columns is None else columns)
            there = [name for name in parquet_schema(data) if columns is None or name in wanted]
            found = cls(
                table=read_parquet(data, columns=there),
                labels=tuple(about["labels"]),
                multilabel=about["multilabel"],
                split=about["split"],
                data=about["data"],
                synthetic=about["synthetic"],
                score_files=tuple(
                    ScoreFile(path.with_name(Path(name).name), int(images), len(about["labels"]))
                    for name, images in about.get("score_files", [])
                ),
                attributes=tuple(
                    one
                    for name, several in about.get("attributes", [])
                    if (one := PredictedAttribute(str(name), bool(several))).given in there
                ),
            )
        place = _products_of(path)
        if columns is None and path.parent.name != BY_PRODUCT and place.is_file():
            products = cls.read(place, catalog_rows=catalog_rows)
            same = products.labels == found.labels and not found.multilabel
            check_products_table(products.table, found.table, place, same_labels=same)
            found = replace(found, by_product=products)
        several = found.multilabel
        check_types(found.table, found.labels, path, multilabel=several)
        check_values(
            found.table,
            found.labels,
            path,
            multilabel=several,
            wanted=wanted,
            catalog_rows=catalog_rows,
        )
        check_scores(found.table, found.score_files, path)
        return found

    @classmethod
    def concat(cls, parts: Sequence[Predictions], *, split: str = "out-of-fold") -> Predictions:
        """Predictions of several models, each about its own rows, as one, sorted by row.

        The index of a part among the parts becomes its rows' `fold`.

        Raises:
            CompareError: the labels differ, or a row was predicted twice.
        """
        first = parts[0]
        if any(p.labels != first.labels or p.multilabel != first.multilabel for p in parts):
            raise CompareError("predictions over different labels cannot be put together")
        numbered, before = list[pl.DataFrame](), 0
        for number, part in enumerate(parts):
            table = part.table.with_columns(fold=pl.lit(number, pl.Int64))
            if part.score_files:
                table = table.with_columns(pl.col(SCORE_ROW) + before)
                before += sum(file.num_images for file in part.score_files)
            numbered.append(table)
        table = pl.concat(numbered).sort("row")
        twice = table.filter(pl.col("row").is_duplicated())["image"].unique(maintain_order=True)
        if len(twice):
            raise CompareError(f"{len(twice)} images are in two folds", details=twice.to_list())
        files = tuple(file for part in parts for file in part.score_files)
        by_product = [part.by_product for part in parts if part.by_product is not None]
        products = cls.concat(by_product, split=split) if by_product else None
        return replace(first, table=table, split=split, score_files=files, by_product=products)


def _products_of(path: Path) -> Path:
    """The file of the answers for products, given that of the answers for their photos."""
    return path.parent / BY_PRODUCT / path.name


def _is_of(scores: Path, path: Path) -> bool:
    """Whether a file of scores has a name that `write` gives it beside `path`."""
    return re.fullmatch(rf"{re.escape(path.stem)}-[0-9a-f]{{8}}{SUFFIX}", scores.name) is not None
