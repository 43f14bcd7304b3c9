"""Review: missing and doubtful categories of a shop's export, and the corrected export."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.commands.early_checks import check_finished_run
from shopsight.config.defaults import DEFAULT_PRECISION
from shopsight.datasets.result_places import refuse_output_among_images
from shopsight.errors import CatalogError, ChangedFilesError, ConfigError
from shopsight.evaluation.run_images import CHANGED_FILE, check_run_images
from shopsight.files import atomic_file
from shopsight.output_locks import only_writer_of_folder
from shopsight.output_paths import check_output_path
from shopsight.progress import notify
from shopsight.read_options import ReadOptions
from shopsight.review.cells import AcceptedCells, accepted_cells, check_known, written_categories
from shopsight.review.decide import Review, decide
from shopsight.review.decisions import Decisions
from shopsight.review.new_answers import new_answers
from shopsight.review.out_of_fold import run_answers
from shopsight.review.page import write_review_page
from shopsight.review.review_table import read_decisions, taken, write_review_table
from shopsight.review.shop_products import (
    PRODUCT,
    ShopProducts,
    as_the_run_read,
    open_shop,
)
from shopsight.review.summary import caution_lines, doubt_line, filled_line, measured_line
from shopsight.review.write_export import (
    SUPPLEMENT_FILE,
    ImportFile,
    import_files,
    refuse_original,
    supplement,
    write_import,
)
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line, counted, listed

PAGE_FILE, TABLE_FILE = "review.html", "review.csv"


@dataclass(frozen=True, eq=False)
class ReviewResult:
    """What was found, and what was written.

    Attributes:
        review: each product with what is given and suggested.
        accepted: the cells of the export that change.
        page: review.html.
        table: review.csv.
        imports: files for the shop system; written only if `written`.
        written: whether they were.
        supplement: the feed for what is not written back, where there is one.
    """

    review: Review
    accepted: AcceptedCells
    page: Path
    table: Path
    imports: tuple[ImportFile, ...]
    written: bool
    supplement: Path | None = None

    def lines(self) -> list[str]:
        """What people are to know, a line each."""
        review = self.review
        found = [filled_line(review), measured_line(review.promise), doubt_line(review)]
        return [line for line in found if line] + caution_lines(review)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        promise = self.review.promise
        actions = self.review.table["action"].value_counts()
        return {
            "promised": promise.wanted,
            "kept": promise.is_kept,
            "threshold": promise.threshold if promise.is_kept else None,
            "precision": promise.measured.to_json(),
            "labeled_products": promise.num_labeled,
            "needed_products": promise.num_needed,
            "missing": self.review.num_missing,
            "actions": dict(actions.sort("action").iter_rows()),
            "cells": self.accepted.count,
            "not_written": dict(self.accepted.kept),
            "page": str(self.page),
            "table": str(self.table),
            "imports": [
                {"path": str(one.path), "export": one.export, "cells": one.num_cells}
                for one in self.imports
            ],
            "written": self.written,
            "supplement": None if self.supplement is None else str(self.supplement),
            "notes": self.lines(),
        }


def review(
    run: str | Path,
    export: str | Path | Catalog,
    *,
    out: str | Path,
    read: ReadOptions | None = None,
    photos: str | Path | Catalog | None = None,
    precision: float = DEFAULT_PRECISION,
    decisions: str | Path | None = None,
    minimal: bool = False,
    write: bool = False,
    accept: Collection[str] = (),
    device: str = "auto",
) -> ReviewResult:
    """Find missing and doubtful categories of a shop's products, and write them into its export.

    Each product is judged by a model that did not learn from it. Without `write` only the review is
    written, and the result says which cells of the export would change.

    Args:
        run: a run that was trained on products of the shop.
        export: the shop's export, several files of it with commas between them, their folder; or a
            catalog of its products, which is only reviewed.
        out: the folder for review.html, review.csv and the import file.
        read: how the export is read; None reads labels as the run did, and guesses the rest.
        photos: the catalog of the photos as files, such as `fetch` writes; None reads them where
            the export says.
        precision: categories are filled in as long as so many of them are right.
        decisions: an edited review.csv. With `write` what it accepts is written, and nothing else;
            without, what else keeps the promise, now that it is measured by the corrected
            categories, is proposed beside it.
        minimal: write only the key, title and category of the products that change.
        write: write the import file.
        accept: "changed-file" goes on although the export, or images of the run, changed since the
            training.
        device: see `shopsight.devices`.

    Raises:
        ConfigError: there is no run, the precision is none, or the decisions are no review.
        CatalogError: the export cannot be read, or the run knows none of its products.
        ChangedFilesError: the export, or images of the run, changed.
        WriteError: a file would be written over the export.
        LockedError: another process writes `out`.
    """
    if not 0 < precision < 1:
        raise ConfigError(f"a precision is between 0 and 1, not {precision:g}", where="--precision")
    check_finished_run(run)
    check_output_path(Path(out), reserve=len(SUPPLEMENT_FILE))
    folder, read = RunFolder(Path(run)), read or ReadOptions()
    with use_run_access(RunAccess.by_flags(read)), only_writer_of_folder(out):
        check_run_images(folder, command=["shopsight", "review", run, export], accept=accept)
        read = as_the_run_read(read, folder.recipe().data)
        shop = open_shop(export, read, photos).as_trained(folder)
        refuse_output_among_images(shop.photos, out)
        for name in (PAGE_FILE, TABLE_FILE, SUPPLEMENT_FILE):
            refuse_original(Path(out) / name, shop.files)
        _check_unchanged(folder, shop, accept)
        decided = Decisions()
        if decisions is not None:
            found = read_decisions(decisions, shop, on_changed=CHANGED_FILE in accept)
            decided = replace(found, is_all=write)
        work = _Work(folder, shop, read, Path(out), precision, device)
        return work.done(decided, minimal=minimal, write=write)


@dataclass(frozen=True, eq=False)
class _Work:
    run: RunFolder
    shop: ShopProducts
    read: ReadOptions
    out: Path
    precision: float
    device: str

    def done(self, decided: Decisions, *, minimal: bool, write: bool) -> ReviewResult:
        judged = run_answers(self.run, device=self.device)
        known = judged.answers
        written = written_categories(self.shop, known.labels)
        if self.shop.files:
            check_known(decided.accepted, written, TABLE_FILE)
        new = new_answers(judged.for_others, self.shop.photos, known.names)
        found = decide(
            self.shop,
            known,
            new.answers,
            precision=self.precision,
            not_answered=new.failed,
            decided=decided,
            cells=written,
        )
        changes = taken(found, decided)
        accepted = accepted_cells(self.shop, changes.accepted if self.shop.files else {}, written)
        files = import_files(self.shop, accepted, self.out)
        if write:
            self._refuse_catalog()
            for file in files:
                write_import(
                    file, accepted.by_file[file.export], self.shop, self.read, minimal=minimal
                )
        table = write_review_table(self.out / TABLE_FILE, found, self.shop.photos, changes)
        page = write_review_page(self.out / PAGE_FILE, found, self.shop, method=self._method())
        result = ReviewResult(found, accepted, page, table, tuple(files), write)
        return self._supplemented(result, changes.accepted, written, write=write)

    def _refuse_catalog(self) -> None:
        if not self.shop.files:
            raise ConfigError(
                "is a catalog: nothing is written back into it",
                where=self.shop.name,
                fix=command_line(
                    ["shopsight", "review", self.run.path, "EXPORT", "--photos", "CATALOG"]
                )
                + " --write",
            )

    def _supplemented(
        self,
        result: ReviewResult,
        accepted: Mapping[str, str],
        written: Mapping[str, str],
        *,
        write: bool,
    ) -> ReviewResult:
        """The result with a feed of what is not written back, where there is such a file."""
        if not self.shop.files or self.shop.cells["column"].null_count() == 0:
            return result
        path = self.out / SUPPLEMENT_FILE
        if write:
            with atomic_file(path) as part:
                supplement(self.shop, accepted, written, self.read).write_csv(part)
        return replace(result, supplement=path)

    def _method(self) -> dict[str, str]:
        return {"run": str(self.run.path), "export": self.shop.name}


def _check_unchanged(run: RunFolder, shop: ShopProducts, accept: Collection[str]) -> None:
    """Refuse an export whose products have other categories than the run was trained with.

    Raises:
        ChangedFilesError: some have, or are gone, and that is not accepted.
        CatalogError: the run knows neither its products nor its categories.
    """
    catalog = run.catalog()
    named = catalog.table.filter(pl.col("group").is_not_null()) if catalog.has("group") else None
    labels = {} if named is None else dict(named.select("group", "label").iter_rows())
    now = dict(shop.table.select(PRODUCT, "as_run").iter_rows())
    if labels.keys().isdisjoint(shop.all_products):
        _check_other_shop(run, shop, set(catalog.labels), set(now.values()))
        return
    rows = shop.row_texts()
    changed = [
        f"{name}{rows.get(name, '')}: is {now[name] or 'without a category'}, was {label}"
        for name, label in labels.items()
        if name in now and now[name] != label
    ]
    changed += [
        f"{name}: is not there any more" for name in labels if name not in shop.all_products
    ]
    if not changed:
        return
    what = f"{counted(len(changed), 'product')} of {len(labels):,} changed since the training"
    if CHANGED_FILE not in accept:
        raise ChangedFilesError(
            f"not the export that the run was made with: {what}",
            where=shop.name,
            details=changed,
            fix="train on this export\n--accept changed-file   (takes them as they are now)",
        )
    notify(f"accepted: {what}, e.g. {changed[0]}")


def _check_other_shop(
    run: RunFolder, shop: ShopProducts, known: Collection[str], given: Collection[str | None]
) -> None:
    if not set(known) & set(given):
        raise CatalogError(
            "the run knows none of its products and none of its categories",
            where=shop.name,
            details=[f"the run knows: {listed(sorted(known))}"],
            fix=f"shopsight train EXPORT --out RUN   (on these products; {run.path} has others)",
        )
    notify(
        "the run knows none of these products: how often it is right was measured on those that "
        "it was trained on, which may be easier or harder"
    )
