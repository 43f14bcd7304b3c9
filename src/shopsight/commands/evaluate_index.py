"""Evaluate an index: how often a search finds what it should, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.output_locks import only_writer_of_file
from shopsight.output_paths import PAGE_SUFFIXES, check_output_path, check_suffix
from shopsight.read_options import ReadOptions
from shopsight.search.compare_indexes import IndexComparison, compare_evaluations
from shopsight.search.evaluate_index import IndexEvaluation, evaluate_search
from shopsight.search.index import open_index
from shopsight.search.index_folder import IndexFolder
from shopsight.search.retrieval_page import write_retrieval_page
from shopsight.search.strangers import keep_strangers


def is_index(folder: str | Path) -> bool:
    """Whether the folder is an index, finished or not."""
    return IndexFolder(folder).exists()


def evaluate_index(
    index: str | Path,
    queries: str | Path | Catalog | None = None,
    *,
    read: ReadOptions | None = None,
    expand: int = 0,
    rerank: bool = False,
    out: str | Path | None = None,
    device: str = "auto",
) -> IndexEvaluation:
    """Score the search of an index, by its own photos or by queries of another catalog.

    Without `queries`, each photo of a product with several is taken out by its id and searched for;
    copies of it are neither right nor wrong. Without products, photos of the same label count.
    Search is exact; `verify_index` says what a graph loses. The scores that strangers reach are
    kept in the index, for `search(false_accept=...)`.

    Args:
        index: its folder.
        queries: DATA of the same products (its group) or labels.
        read: how DATA is read.
        expand: nearest items that each query is blended with.
        rerank: order candidates by shared neighbors, whether it helps or not.
        out: the .html file for a page of queries with their results, right and wrong.
        device: see `shopsight.devices`.

    Raises:
        SearchError: there is no index, nothing says what is right, or nothing can be found.
        CatalogError: DATA cannot be read.
        LockedError: another process has the index open.
    """
    if out is not None:
        check_output_path(check_suffix(out, PAGE_SUFFIXES, things="reports"))
    IndexFolder(index).current()
    catalog = None if queries is None else open_catalog(queries, read)
    with open_index(index, device=device) as opened:
        found = evaluate_search(opened, catalog, expand=expand, rerank=rerank)
        if found.strangers is not None:
            keep_strangers(opened, found.strangers)
        if out is None:
            return found
        with only_writer_of_file(out):
            page = write_retrieval_page(Path(out), opened, found, catalog)
    return replace(found, report=page)


def compare_indexes(
    indexes: Sequence[str | Path],
    queries: str | Path | Catalog | None = None,
    *,
    read: ReadOptions | None = None,
    device: str = "auto",
) -> IndexComparison:
    """Ask several indexes of the same items the same, and say which finds things best.

    The intervals of all differences hold together, and the best one's score allows for its having
    been picked.

    Args:
        indexes: two folders or more.
        queries: as of `evaluate_index`.
        read: how DATA is read.
        device: see `shopsight.devices`.

    Raises:
        SearchError: as of `evaluate_index`.
        CompareError: fewer than two indexes, or other items.
    """
    found = [evaluate_index(one, queries, read=read, device=device) for one in indexes]
    return compare_evaluations(found)
