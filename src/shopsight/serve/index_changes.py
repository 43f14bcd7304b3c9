"""Changes of a served index: rows with their images come in, items go out.

Images that clients send are kept beside the index, in `uploads`, each by its content: an index that
is migrated to another model embeds them again, and results show them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import ImageError, SearchError
from shopsight.files import atomic_file, make_folder, sha256_bytes
from shopsight.images.kinds import kind_of_bytes
from shopsight.io.access import Access
from shopsight.io.confinement import real_root
from shopsight.search.changes import plan_changes, write_changes
from shopsight.search.index import Index
from shopsight.search.index_folder import source_root
from shopsight.serve.refusals import RefusedError
from shopsight.text import listed

UPLOADS = "uploads"
ID, PRODUCT, IMAGE = "id", "product", "image"
MOST_IDS = 1000
LONGEST_ID = 1000
_EXAMPLE = 'rows=[{"id": "sku-1", "product": "p-1", "label": "dress"}], and a file for each row'


def parse_rows(text: str | None, count: int) -> list[dict[str, Any]]:
    """Read the field `rows` of a form with so many files: a JSON list of objects with an `id`.

    Raises:
        RefusedError: It is none, or not one row for each file, or two rows have one id.
    """
    try:
        rows = json.loads(text or "")
    except (ValueError, RecursionError):
        raise RefusedError(422, "the field rows is no JSON", fix=_EXAMPLE) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RefusedError(422, "the field rows is no list of objects", fix=_EXAMPLE)
    if len(rows) != count or not count:
        raise RefusedError(422, f"{len(rows)} rows for {count} files", fix=_EXAMPLE)
    ids = [row.get(ID) for row in rows]
    for one in ids:
        if not isinstance(one, str) or not 0 < len(one) <= LONGEST_ID:
            raise RefusedError(422, "a row has no id, or one that is no text", fix=_EXAMPLE)
    if len(set(ids)) < len(ids):
        raise RefusedError(422, "two rows have one id", fix="send each item once")
    return rows


def add_rows(
    index: Index, rows: Sequence[dict[str, Any]], images: Sequence[bytes]
) -> dict[str, Any]:
    """Keep the images, and embed and write the rows; what is returned is on the disk and found.

    Args:
        index: it is changed.
        rows: from `parse_rows`.
        images: of the rows, in their order; checked by `check_upload`.

    Raises:
        RefusedError: A row has a column that the index does not keep.
        CatalogError: A cell is of another kind than its column.
    """
    uploads = index.folder.path / UPLOADS
    names = [_kept(uploads, data) for data in images]
    catalog = Catalog(
        _table(index, rows, names),
        name=UPLOADS,
        root=str(uploads),
        access=Access(roots=(real_root(str(uploads)),)),
    )
    with index.writing:
        plan = plan_changes(catalog, index.generation, source=source_root(catalog))
        index.add_source(catalog)
        done = write_changes(
            plan, catalog, index.generation, index.embedder, write=index.generation.write
        )
    return {
        "added": done.added,
        "changed": done.changed + done.rewritten,
        "same": done.same,
        "failed": sorted(done.failed),
    }


def remove_items(index: Index, ids: Sequence[str]) -> int:
    """Take items, or all items of products, out; nothing is removed where one id is unknown.

    Raises:
        RefusedError: An id is unknown, or there are too many.
    """
    if not 0 < len(ids) <= MOST_IDS:
        raise RefusedError(422, f"name 1 to {MOST_IDS:,} ids", fix="DELETE /v1/index?id=A&id=B")
    with index.writing:
        try:
            found = dict.fromkeys(item for name in ids for item in index.resolve(name))
        except SearchError as error:
            raise RefusedError(404, error.what) from None
        index.generation.delete(list(found))
    return len(found)


def _kept(uploads: Path, data: bytes) -> str:
    """Write an image under the name of its content, unless it is there; gives the name."""
    digest, kind = sha256_bytes(data), kind_of_bytes(data)
    name = f"{digest[:2]}/{digest}.{'jpg' if kind == 'jpeg' else kind}"
    if not (uploads / name).exists():
        make_folder((uploads / name).parent)
        with atomic_file(uploads / name) as part:
            part.write_bytes(data)
    return name


def _table(index: Index, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> pl.DataFrame:
    kept = index.info.schema_
    known = {ID, PRODUCT, *kept}
    unknown = {name for row in rows for name in row} - known
    if unknown:
        raise RefusedError(
            422,
            f"the index keeps no column {listed(sorted(unknown))}",
            fix=f"its columns: {listed(sorted(known))}",
        )
    columns = [pl.Series(IMAGE, names, pl.String)]
    for name in sorted({name for row in rows for name in row}):
        cells = [row.get(name) for row in rows]
        try:
            column = pl.Series("group" if name == PRODUCT else name, cells, strict=True)
        except (TypeError, pl.exceptions.PolarsError, OverflowError):
            raise RefusedError(422, f"the cells of {name!r} are of several kinds") from None
        if name in (ID, PRODUCT) and column.dtype != pl.String:
            raise RefusedError(422, f"{name} is text", fix=_EXAMPLE)
        columns.append(column)
    return pl.DataFrame(columns)


def check_readable(index: int, error: ImageError | None) -> None:
    """Refuse rows of which one has an image that cannot be read.

    Raises:
        RefusedError: with 422.
    """
    if error is not None:
        raise RefusedError(
            422, f"file {index}: {error.what}", fix="nothing was added; leave it out"
        )
