"""What the data goes through before training: tables, labels, audit, copies, splits."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
from scaling import Function, classes_of

# Of products that have several photos.
ROWS_PER_GROUP = 3
CROWD = 0.3


def scratch(name: str) -> Path:
    """A file in a folder that vanishes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="shopsight-scale-", ignore_cleanup_errors=True)
    _folders.append(folder)
    return Path(folder.name) / name


_folders: list[tempfile.TemporaryDirectory[str]] = []


def labels_of(rows: int) -> pl.Series:
    """Names of classes, commoner and rarer ones."""
    count = classes_of(rows)
    skewed = np.random.default_rng(0).beta(0.8, 1.4, rows)
    return pl.Series("label", [f"class {int(one * count):05}" for one in skewed])


def table_of(rows: int, *, several: bool = False) -> pl.DataFrame:
    """A shop's products: image, label (or three of them), group."""
    number = pl.int_range(rows, eager=True)
    images = pl.DataFrame({"number": number}).select(
        pl.format("https://images.example/{}/{}.jpg", pl.col("number") % 977, "number")
    )
    table = pl.DataFrame(
        {
            "image": images.to_series(),
            "label": labels_of(rows),
            "group": ("p" + (number // ROWS_PER_GROUP).cast(pl.String)),
        }
    )
    if several:
        code = np.random.default_rng(1).integers(0, classes_of(rows), (rows, 3))
        names = np.array([f"label {one:05}" for one in range(classes_of(rows))])
        labels = pl.Series("label", names[code].tolist(), dtype=pl.List(pl.String))
        table = table.with_columns(labels.list.unique(maintain_order=True))
    return table


def catalog_of(rows: int, *, several: bool = False) -> Any:
    from shopsight.catalog.catalog import Catalog

    return Catalog(table_of(rows, several=several), "shop")


def several_of(rows: int) -> Any:
    return catalog_of(rows, several=True)


def written(catalog: Any, name: str) -> Path:
    path = scratch(name)
    catalog.write(path)
    return path


def csv_of(rows: int, *, several: bool = False) -> Path:
    """A shop's own CSV, with a title and a price beside."""
    table = table_of(rows, several=several).rename({"image": "image_url", "label": "category"})
    if several:
        table = table.with_columns(pl.col("category").list.join("|"))
    table = table.rename({"group": "sku"}).with_columns(
        title=pl.format("Produit numéro {}, {}", pl.int_range(rows), "category"),
        price=pl.int_range(rows) % 977 / 10,
    )
    path = scratch("products.csv")
    table.write_csv(path)
    return path


def boxes_of(rows: int) -> Path:
    """A table of boxes, four columns of numbers."""
    boxes = np.random.default_rng(2).integers(1, 500, (rows, 4))
    columns = [pl.Series(f"box_{side}", boxes[:, at]) for at, side in enumerate("xywh")]
    path = scratch("boxes.csv")
    table_of(rows).with_columns(columns).write_csv(path)
    return path


def lists_of(rows: int) -> Path:
    """A table of labels as a program prints lists, few of them different."""
    cells = pl.format("['{}', '{}']", "label", pl.col("label").shift().fill_null("first"))
    table = table_of(rows)
    ordered = table.with_columns(label=table["label"].sort()).with_columns(label=cells)
    path = scratch("lists.csv")
    ordered.write_csv(path)
    return path


def opened(path: Path) -> object:
    from shopsight.datasets.open import open_catalog

    return open_catalog(str(path))


def paths_of(rows: int) -> Any:
    from shopsight.image_files.scan import Scan

    folders = classes_of(rows)
    return Scan(
        sorted(f"{row % folders:06}/{row:08}.jpg" for row in range(rows)), Counter(), [], []
    )


def folders(scan: Any) -> object:
    from shopsight.folders.folders import folder_catalog

    return folder_catalog(scan, name="shop", root="shop")


def unify(catalog: Any) -> object:
    from shopsight.catalog.label_spelling import unify_labels

    return unify_labels(catalog)


def rename(catalog: Any) -> object:
    from shopsight.catalog.label_map import map_labels

    return map_labels(catalog, {label: label[:-1] for label in catalog.labels})


def split(catalog: Any) -> object:
    from shopsight.catalog.split import split_catalog

    groups = np.arange(len(catalog)) // 2
    return split_catalog(catalog, val=0.1, test=0.2, seed=0, duplicate_group=groups)


def folds(catalog: Any) -> object:
    from shopsight.catalog.split import fold_catalog

    return fold_catalog(catalog, folds=5, seed=0)


def photos(rows: int) -> np.ndarray:
    """Thumbnails of unrelated products, smooth as photos are.

    Amplitudes fall with the frequency as those of photos do; around the product is a ground. The
    principal axes have the standard deviations of 5,756 photos of clothes.
    """
    from shopsight.images.thumbnails import LUMA_PX, THUMB_BYTES

    rng = np.random.default_rng(3)
    frequency = np.hypot(*np.meshgrid(np.arange(8), np.arange(8)))
    amplitude = (1 / np.maximum(frequency, 0.5) ** 1.2).ravel().astype(np.float32)
    grid = (np.arange(LUMA_PX) + 0.5) / LUMA_PX
    waves = np.cos(np.pi * np.arange(8)[:, None] * grid)
    basis = np.einsum("ai,bj->abij", waves, waves).reshape(64, -1).astype(np.float32)
    basis *= (amplitude * 40)[:, None]
    frame = np.hypot(*np.meshgrid(grid - 0.5, grid - 0.5)).ravel()
    thumbs = np.empty((rows, THUMB_BYTES), np.uint8)
    for start in range(0, rows, 65_536):
        some = slice(start, min(start + 65_536, rows))
        count = some.stop - start
        weights = rng.standard_normal((count, 64), dtype=np.float32)
        luma = 120 + weights @ basis
        ground = np.broadcast_to(rng.uniform(20, 255, (count, 1)), luma.shape)
        outside = frame > rng.uniform(0.35, 0.6, (count, 1))
        luma[outside] = ground[outside]
        thumbs[some, : luma.shape[1]] = np.clip(luma, 0, 255)
        thumbs[some, luma.shape[1] :] = rng.integers(90, 166, (count, 1))
    return thumbs


def photos_and_a_crowd(rows: int) -> np.ndarray:
    """The same, with a crowd of placeholders: different files that look alike."""
    from shopsight.images.thumbnails import LUMA_BYTES, THUMB_BYTES

    thumbs = photos(rows)
    crowd = thumbs[: int(CROWD * rows)]
    placeholder = np.full(THUMB_BYTES, 126, np.uint8)
    placeholder[:LUMA_BYTES] = 225
    placeholder[LUMA_BYTES // 3 : LUMA_BYTES // 2] = 150
    noise = np.random.default_rng(4)
    for start in range(0, len(crowd), 65_536):
        some = crowd[start : start + 65_536]
        some[:] = placeholder + noise.integers(0, 4, some.shape)
    return thumbs


def pairs(thumbs: np.ndarray) -> object:
    from shopsight.audit.near_duplicates import near_pairs

    return near_pairs(thumbs)


def inspection_of(rows: int, thumbs: np.ndarray | None = None) -> Any:
    """What is known of files, of which each hundredth is a copy of another."""
    from shopsight.audit.file_info import Inspection
    from shopsight.images.thumbnails import THUMB_BYTES

    number = pl.int_range(rows, eager=True)
    original = pl.select(pl.when(number % 100 == 1).then(number - 1).otherwise(number)).to_series()
    files = pl.DataFrame(
        {
            "status": pl.select(
                pl.when(number % 1000 == 7).then(pl.lit("unreadable")).otherwise(pl.lit("ok"))
            ).to_series(),
            "reason": "",
            "problem": "",
            "format": "jpeg",
            "width": pl.Series([600], dtype=pl.Int32).new_from_index(0, rows),
            "height": pl.Series([800], dtype=pl.Int32).new_from_index(0, rows),
            "bytes": number + 30_000,
            "sha256": original.hash(seed=1).cast(pl.String),
            "contrast": pl.Series([50.0], dtype=pl.Float32).new_from_index(0, rows),
        }
    )
    blank = np.zeros((rows, THUMB_BYTES), np.uint8) if thumbs is None else thumbs
    return Inspection(files, blank, np.full(rows, thumbs is not None))


def audited(rows: int) -> tuple[Any, Any]:
    return catalog_of(rows), inspection_of(rows)


def audited_crowd(rows: int) -> tuple[Any, Any]:
    return catalog_of(rows), inspection_of(rows, photos_and_a_crowd(rows))


def audit_known(given: tuple[Any, Any]) -> Any:
    from shopsight.audit import audit

    with mock.patch.object(audit, "inspect_all", return_value=given[1]):
        return audit.audit(given[0], remember=False)


def report_of(rows: int) -> Any:
    return audit_known(audited(rows))


def write_report(report: Any) -> None:
    report.write(scratch("audit"))


def gated(report: Any) -> object:
    from shopsight.audit.gate import gate as let_pass

    return let_pass(report.catalog, report, exclude=("label-conflict", "lost-class"))


def members_of(rows: int) -> tuple[list[str], Path]:
    """Names of images in one container, whose files need not be there."""
    container = scratch("train-images-idx3-ubyte")
    container.parent.mkdir(parents=True, exist_ok=True)
    container.write_bytes(b"images")
    return [f"{container}#{row}" for row in range(rows)], container.with_name("kept.parquet")


def inspect(given: tuple[Sequence[str], Path]) -> object:
    """Inspect files whose facts are drawn: what is measured is the keeping of them."""
    from shopsight.audit import file_info, inspect_file

    thumb = np.random.default_rng(5).integers(0, 256, (997, 704), np.uint8)
    texts = [row.tobytes() for row in thumb]

    def drawn(ref: str, *_: object) -> Any:
        number = int(ref.rpartition("#")[2])
        return inspect_file.FileInfo(
            status="ok",
            format="jpeg",
            width=600,
            height=800,
            bytes=number,
            sha256=f"{number:064x}",
            contrast=50.0,
            thumb=texts[number % len(texts)],
        )

    with mock.patch.object(file_info, "inspect", drawn):
        return file_info.inspect_all(given[0], kept=given[1], threads=2)


def inspected(rows: int) -> tuple[list[str], Path]:
    given = members_of(rows)
    inspect(given)
    return given


def method(name: str) -> Callable[[Any], object]:
    return lambda catalog: getattr(catalog, name)()


def read_back(path: Path) -> object:
    from shopsight.catalog.catalog import Catalog

    return Catalog.read(path)


FUNCTIONS = (
    Function("open a CSV", csv_of, opened),
    Function("open a CSV, several labels", lambda n: csv_of(n, several=True), opened),
    Function("open a CSV with boxes", boxes_of, opened),
    Function("open a CSV, labels as lists", lists_of, opened),
    Function("paths into a catalog", paths_of, folders),
    Function("spellings of labels", catalog_of, unify),
    Function("spellings of several labels", several_of, unify),
    Function("rename labels", catalog_of, rename),
    Function("fingerprint", catalog_of, method("fingerprint")),
    Function("addresses of images", catalog_of, method("refs")),
    Function("write Parquet", catalog_of, lambda one: written(one, "catalog.parquet")),
    Function("write CSV", catalog_of, lambda one: written(one, "catalog.csv")),
    Function("read Parquet", lambda n: written(catalog_of(n), "catalog.parquet"), read_back),
    Function("read CSV", lambda n: written(catalog_of(n), "catalog.csv"), read_back),
    Function("split", catalog_of, split),
    Function("split, several labels", several_of, split),
    Function("folds", catalog_of, folds),
    Function("files, first audit", members_of, inspect),
    Function("files, known", inspected, inspect),
    Function("near duplicates", photos, pairs),
    Function("near duplicates, a crowd", photos_and_a_crowd, pairs),
    Function("checks of an audit", audited, audit_known),
    Function("checks of an audit, a crowd", audited_crowd, audit_known),
    Function("pages of an audit", report_of, write_report),
    Function("gate", report_of, gated),
)
