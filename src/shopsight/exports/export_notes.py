"""What was decided while an export was read, in lines whose counts add up."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from shopsight.exports.export_files import ExportRows
from shopsight.exports.grouping import VARIANT
from shopsight.exports.layout import IMAGE, IMAGE_ELSE
from shopsight.exports.product_images import IMAGE_ID, ProductImages
from shopsight.exports.product_labels import ProductLabels
from shopsight.exports.products import PRODUCT, Products
from shopsight.exports.statuses import StatusCounts, status_note
from shopsight.text import counted, listed

_MOST_SHOWN_ATTRIBUTES = 8


@dataclass(frozen=True, eq=False)
class Decided:
    """What an export became.

    Attributes:
        export: its rows.
        everything: all of its products.
        products: those that are read.
        status: how many have which status.
        labels: of the products that are read.
        images: of these.
        attributes: of the images.
    """

    export: ExportRows
    everything: Products
    products: Products
    status: StatusCounts
    labels: ProductLabels
    images: ProductImages
    attributes: pl.DataFrame

    def notes(self) -> list[str]:
        """The lines, in the order in which things were decided."""
        lines = [*self.export.notes, self._rows()]
        if self.everything.num_without_key:
            key = self.export.column("parent") or self.export.column("key:0")
            of_none = counted(self.everything.num_without_key, "row")
            lines.append(f"left out, of no product by their {key!r}: {of_none}")
        lines.append(status_note(self.status, len(self.everything.table)))
        lines.append(self._products())
        lines += [*self.labels.notes, *self._images(), self._attributes()]
        return [line for line in lines if line]

    def _rows(self) -> str:
        """What the rows of the files are of."""
        whole, num_files = self.everything, len(self.export.files)
        further = whole.further
        others = further.filter(~pl.col(VARIANT))
        images = others.filter(
            pl.any_horizontal(pl.col(f"^{IMAGE}.*$", f"^{IMAGE_ELSE}.*$").is_not_null())
        )
        counts = {
            "products": len(whole.table),
            "variants": len(further) - len(others),
            "further images": len(images),
            "neither": len(others) - len(images),
        }
        kinds = ", ".join(f"{count:,} of {of}" for of, count in counts.items() if count)
        files = f"{counted(num_files, 'file')}, " * (num_files > 1)
        how = "by its columns; --platform NAME reads it as another"
        return (
            f"read as an export of {self.export.profile.title} ({how}): {files}"
            f"{counted(len(whole.rows), 'row')}: {kinds}"
        )

    def _products(self) -> str:
        """How many products and images there are, and what they lack."""
        num_products = len(self.products.table)
        imaged = self.images.table[PRODUCT].n_unique()
        bare = num_products - imaged
        unlabeled = self.labels.num_unlabeled
        line = f"{counted(num_products, 'product')}, {counted(len(self.images.table), 'image')}"
        line += f", {counted(bare, 'product')} without one" if bare else ""
        if not unlabeled:
            return line
        verb = "is" if unlabeled == 1 else "are"
        return f"{line}; {unlabeled:,} without a {self.labels.noun} {verb} unlabeled"

    def _images(self) -> list[str]:
        images, table = self.images, self.images.table
        lines = []
        if images.num_again:
            lines.append(f"images that their product names again, kept once: {images.num_again:,}")
        products_of = table.group_by(IMAGE_ID).len()["len"]
        shared = int((products_of > 1).sum())
        if shared:
            lines.append(f"images of several products, kept once for each: {shared:,}")
        if images.num_odd:
            lines.append(
                f"cells that name no image: {images.num_odd:,}, e.g. {images.odd_example[:60]!r}"
            )
        if images.num_variant_only:
            lines.append(
                "images of variants that are none of their product's images, left out: "
                f"{images.num_variant_only:,}"
            )
        shown = table["variant"].drop_nulls()
        if len(shown):
            lines.append(f"images that show one variant: {len(shown):,}, e.g. {shown[0]!r}")
        return lines

    def _attributes(self) -> str:
        """The attributes, those of most products first."""
        counts = {
            name: len(column) - column.null_count()
            for name, column in zip(
                self.attributes.columns, self.attributes.iter_columns(), strict=True
            )
        }
        first = sorted(counts, key=lambda name: -counts[name])
        shown = [f"{name} ({counts[name]:,})" for name in first]
        if not shown:
            return ""
        return f"attributes of images: {listed(shown, most=_MOST_SHOWN_ATTRIBUTES)}"
