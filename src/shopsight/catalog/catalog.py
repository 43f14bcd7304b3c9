"""The catalog: one table of images with what is known about each.

Every source (folder per class, table, file-name pattern, IDX pair, named data set) becomes a
`Catalog`; no later step depends on where it came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from shopsight import paths
from shopsight.address_secrets import LOGIN_PATTERN, masked, without_logins
from shopsight.catalog.about_record import (
    METADATA_KEY,
    about_path,
    check_catalog_file,
    read_about,
    root_from_record,
    root_record,
    sealed_images,
)
from shopsight.catalog.column_hash import hash_column
from shopsight.catalog.own_tables import (
    GUARDED_KEY,
    SEPARATOR_KEY,
    TYPES_KEY,
    flat_columns,
    joined_labels,
    read_own_text,
    types_of,
)
from shopsight.catalog.seal import is_sealed, sealed
from shopsight.errors import CatalogError
from shopsight.files import atomic_file, damage_named, write_json
from shopsight.io.access import PUBLIC, Access
from shopsight.io.confinement import real_root
from shopsight.io.logins import without_login
from shopsight.read_options import ReadOptions
from shopsight.tables.table_files import read_table
from shopsight.targets import SparseRows, Targets
from shopsight.text import counted

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
BOX_COLUMNS = ("box_x", "box_y", "box_w", "box_h")
TEXT_COLUMNS = ("image", "label", "group", "split", "text")
TABLE_ROW = "table_row"
"""Column of the row of the user's table, from 0; `Catalog.write` leaves it out."""
SOURCE_FILE, SOURCE_ROW = "source_file", "source_row"
"""Columns of a shop's export: its file, and the product's own row in it, from 1."""
FINGERPRINT_COLUMNS = ("image", "label", "group", "split", *BOX_COLUMNS)
LABEL_SEPARATORS = ("|", ";", "\x1f")


@dataclass(frozen=True, eq=False)
class Catalog:
    """Images, one row each, in a fixed order.

    Attributes:
        table: the column `image` (path relative to `root`, or absolute, or a URL, or a member of a
            container such as `train-images-idx3-ubyte.gz#17`), and optionally `label` (String, or
            List(String) where an image has several), `group` (stays in one part of a split),
            `split` ("train", "val", "test"), `fold`, `box_x box_y box_w box_h` (pixels of the
            upright image), and `text`. Of a table also `table_row`, its row there, from 0. Other
            columns of the source are kept.
        name: name of the data set or file, for reports.
        root: folder or URL that `image` is relative to; empty when every image has a full path.
        notes: what was guessed, cleaned or merged while reading, one line each.
        unlisted: image files under `root` without a row, relative to it.
        synthetic: the images were rendered by shopsight, not photographed.
        access: which files, hosts and stores may be read for the images.

    Raises:
        CatalogError: the table lacks `image`, or a column has a type or value that cannot be used.
    """

    table: pl.DataFrame
    name: str
    root: str = ""
    notes: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    synthetic: bool = False
    access: Access = PUBLIC

    def __post_init__(self) -> None:
        # A name and password are kept nowhere that is written.
        object.__setattr__(self, "root", without_login(self.root))
        object.__setattr__(self, "name", without_logins(self.name))
        object.__setattr__(self, "notes", tuple(map(masked, self.notes)))
        object.__setattr__(self, "table", _without_logins(_checked(self.table, self.name)))

    def __len__(self) -> int:
        return self.table.height

    def refs(self) -> list[str]:
        """Absolute paths or URLs, one per row, as `images.decode.read_bytes` takes them."""
        images = self.table["image"]
        joined = pl.lit(paths.join(paths.full(self.root), "")) + images
        is_full = images.str.contains(paths.FULL_PATTERN)
        return pl.select(pl.when(is_full).then(images).otherwise(joined)).to_series().to_list()

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Distinct labels, sorted; empty when the catalog has none."""
        if "label" not in self.table.columns:
            return ()
        column = self.table["label"]
        flat = column.explode() if self.multilabel else column
        return tuple(flat.drop_nulls().unique().sort().to_list())

    @property
    def multilabel(self) -> bool:
        """Whether an image can have several labels."""
        return "label" in self.table.columns and self.table.schema["label"] == pl.List(pl.String)

    def has(self, column: str) -> bool:
        """Whether there is such a column with any value in it."""
        return column in self.table.columns and self.table[column].null_count() < len(self)

    def targets(self, labels: Sequence[str]) -> Targets:
        """The labels as numbers.

        Args:
            labels: the classes, in the order of their indices.

        Returns:
            A class index for each row, int64 "n"; with several labels per image a sparse table,
            uint8 "n c", with a 1 for each label of a row.

        Raises:
            CatalogError: a row has no label, or one that is not in `labels`.
        """
        if "label" not in self.table.columns:
            raise CatalogError(
                "the images have no labels",
                where=self.name,
                fix="--label COLUMN of a table, or one folder for each class",
            )
        self._refuse_unknown(labels)
        if self.multilabel:
            return self._multi_hot(labels)
        codes = self.table["label"].replace_strict(
            list(labels), list(range(len(labels))), return_dtype=pl.Int64
        )
        return codes.to_numpy().astype(np.int64)

    def rows_of(self, split: str) -> Int64[np.ndarray, "m"]:
        """Indices of the rows of one split, ascending.

        Raises:
            CatalogError: the catalog is not split.
        """
        if "split" not in self.table.columns:
            raise CatalogError(
                "the catalog is not split",
                where=self.name,
                fix="shopsight split DATA --out splits.csv",
            )
        hit = self.table.select((pl.col("split") == split).fill_null(False)).to_series()
        return np.flatnonzero(hit.to_numpy()).astype(np.int64)

    def boxes(self) -> Float64[np.ndarray, "n 4"] | None:
        """Boxes as x, y, width, height in pixels; None when the catalog has none.

        A row of NaN means the whole image.
        """
        if not all(column in self.table.columns for column in BOX_COLUMNS):
            return None
        columns = [self.table[column].fill_null(float("nan")) for column in BOX_COLUMNS]
        return np.stack([column.to_numpy() for column in columns], axis=1).astype(np.float64)

    def take(self, rows: Sequence[int] | Int64[np.ndarray, "m"]) -> Catalog:
        """The catalog of these rows, in this order."""
        return self.with_table(self.table[np.asarray(rows, dtype=np.int64)])

    def with_table(self, table: pl.DataFrame) -> Catalog:
        """The catalog with another table."""
        return replace(self, table=table)

    def with_notes(self, *lines: str) -> Catalog:
        """The catalog with more notes."""
        return replace(self, notes=(*self.notes, *lines))

    def fingerprint(self) -> str:
        """A sha256 in hex of image, label, group, split and box of every row, in order.

        It does not depend on `root`: moving the images changes nothing.
        """
        digest = hashlib.sha256()
        for name in FINGERPRINT_COLUMNS:
            if name in self.table.columns:
                digest.update(name.encode())
                hash_column(digest, self.table[name])
        return digest.hexdigest()

    def write(self, path: Path | str, *, kept_notes: Sequence[str] = ()) -> None:
        """Write a file that `Catalog.read` reads.

        `name`, `root`, `synthetic` and `access` go into the Parquet metadata, or into
        `<name>.about.json` beside a CSV. `notes` and `unlisted` are about the source and are not
        kept.

        Args:
            path: a .parquet, .csv or .tsv file.
            kept_notes: what whoever opens the table is to know.

        Raises:
            CatalogError: the suffix is another one.
            WriteError: the file, or the one beside it, cannot be written.
        """
        path = check_catalog_file(path)
        table = self.table.drop(TABLE_ROW, strict=False)
        about: dict[str, Any] = {"name": self.name, "synthetic": self.synthetic}
        about |= root_record(self.root, path)
        about |= {"access": self.access.to_json()} if self.access != PUBLIC else {}
        about |= {"notes": [*kept_notes]} if kept_notes else {}
        about = sealed(about, sealed_images(table, path))
        if path.suffix == ".parquet":
            with atomic_file(path) as part:
                table.write_parquet(part, metadata={METADATA_KEY: json.dumps(about)})
        else:
            about |= {TYPES_KEY: types_of(table), GUARDED_KEY: True}
            if self.multilabel:
                about[SEPARATOR_KEY] = mark = _free_separator(self.labels, path)
                table = table.with_columns(joined_labels(table["label"], mark))
            with atomic_file(path) as part:
                flat_columns(table).write_csv(
                    part, separator="\t" if path.suffix == ".tsv" else ","
                )
            write_json(about_path(path), about)

    @classmethod
    def read(
        cls, path: Path | str, read: ReadOptions | None = None, *, with_access: bool = False
    ) -> Catalog:
        """Read what `write` wrote; `shopsight.datasets.open` reads other tables.

        A CSV may have been saved again by another program, in its own way.

        Args:
            path: the file.
            read: a text table's encoding, and what to do with rows of too many or too few cells.
            with_access: trust the file's own word on what may be read, as that of a run. Of a table
                that this user wrote, its word on files and object stores is taken; of one that
                somebody sent, none: its images lie below its own folder, or on public hosts.

        Raises:
            CatalogError: the file is missing or cannot be read, or `write` did not write it.
        """
        path = Path(path)
        if not path.is_file():
            raise CatalogError("no such catalog", where=str(path))
        about = read_about(path)
        if about is None:
            raise CatalogError("not a catalog that shopsight wrote", where=str(path))
        if path.suffix == ".parquet":
            table, notes = read_table(str(path), read)
        else:
            table, notes = read_own_text(path, about, read)
        root = root_from_record(about, path)
        with damage_named(path):
            access = Access.from_json(about.get("access"))
        is_own = not with_access and is_sealed(about, sealed_images(table, path))
        if is_own:
            access = Access(stores=access.stores, remote=access.remote, roots=access.roots)
        elif not with_access:
            access = Access(roots=(real_root(str(path.parent)),))
        if root and not paths.is_url(root) and (with_access or is_own):
            # It was moved with its images.
            access = access.within(root)
        return cls(
            table=table,
            name=about["name"],
            notes=(*map(str, about.get("notes", ())), *notes),
            root=root,
            synthetic=about["synthetic"],
            access=access,
        )

    def _refuse_unknown(self, labels: Sequence[str]) -> None:
        column = self.table["label"]
        missing = column.null_count()
        if missing:
            raise CatalogError(
                f"{missing} of {len(self)} images {'has' if missing == 1 else 'have'} no label",
                where=self.name,
                details=self.table.filter(column.is_null())["image"].to_list(),
            )
        unknown = sorted(set(self.labels) - set(labels))
        if unknown:
            raise CatalogError(
                f"{counted(len(unknown), 'label')} {'is' if len(unknown) == 1 else 'are'} unknown "
                "to the model",
                where=self.name,
                details=unknown,
                fix="drop them with --drop LABEL, or rename them with --label-map",
            )

    def _multi_hot(self, labels: Sequence[str]) -> SparseRows:
        # Needed where there is something to train or to score.
        from scipy.sparse import csr_array

        lists = self.table.select(pl.col("label")).with_row_index("row")
        # A label that a row names twice is one label.
        pairs = lists.explode("label").drop_nulls().unique()
        codes = pairs["label"].replace_strict(
            list(labels), list(range(len(labels))), return_dtype=pl.Int64
        )
        ones = np.ones(pairs.height, np.uint8)
        cells = (pairs["row"].to_numpy().astype(np.int64), codes.to_numpy().astype(np.int64))
        hot = csr_array((ones, cells), shape=(len(self), len(labels)))
        hot.sort_indices()
        sparse: SparseRows = hot
        return sparse


def _checked(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """The table with columns of the types that `Catalog` promises."""
    if "image" not in table.columns:
        raise CatalogError("the table has no column `image`", where=name, details=table.columns)
    casts = [
        pl.col(column).cast(pl.String)
        for column in TEXT_COLUMNS
        if column in table.columns and not isinstance(table.schema[column], (pl.List, pl.String))
    ]
    casts += [pl.col(c).cast(pl.Float64) for c in BOX_COLUMNS if c in table.columns]
    if "fold" in table.columns:
        casts.append(pl.col("fold").cast(pl.Int64))
    if isinstance(table.schema.get("label"), pl.List):
        casts.append(pl.col("label").cast(pl.List(pl.String)))
    table = table.with_columns(casts)
    if table["image"].null_count():
        missing = counted(table["image"].null_count(), "row")
        raise CatalogError(f"{missing} without an image name", where=name)
    if "split" in table.columns:
        odd = set(table["split"].drop_nulls().unique().to_list()) - set(SPLITS)
        if odd:
            raise CatalogError(
                "unknown split names", where=name, details=sorted(odd), fix="use train, val, test"
            )
    return table


def _without_logins(table: pl.DataFrame) -> pl.DataFrame:
    """The table without names and passwords in addresses; those of images are remembered."""
    found = [
        name
        for name, kind in table.schema.items()
        if kind == pl.String
        and table[name].str.contains("@", literal=True).any()
        and table[name].str.contains(LOGIN_PATTERN).any()
    ]
    if "image" in found:
        images = table["image"]
        for address in images.filter(images.str.contains(LOGIN_PATTERN)):
            without_login(address)
    return table.with_columns(pl.col(found).str.replace_all(LOGIN_PATTERN, "${1}"))


def _free_separator(labels: Sequence[str], path: Path) -> str:
    for mark in LABEL_SEPARATORS:
        if not any(mark in label for label in labels):
            return mark
    raise CatalogError(
        "labels hold every separator that could stand between them in text",
        where=str(path),
        fix="name a .parquet file",
    )
