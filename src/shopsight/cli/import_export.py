"""`shopsight import`: a shop's export as a catalog table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DataOptions, takes_data
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress


@takes_data
def import_export(
    exports: Annotated[
        list[str],
        typer.Argument(
            metavar="EXPORT...",
            help="Read these files of one export, or the folder in which they lie.",
        ),
    ],
    options: DataOptions,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Write this .parquet or .csv table."),
    ],
) -> None:
    """Keep a shop's export as a table of images, which every command takes as DATA.

    Read are Shopify, feeds of Google and Meta, WooCommerce, Magento, PrestaShop, BigCommerce and
    Amazon. Each product and image is a row, with its category as the label.
    """
    with shown_progress():
        done = api.import_export(exports, out=out, read=options.read)
    if options.json:
        print_json(done.to_json())
        return
    facts = done.to_json()
    print_line(
        f"{api.counted(facts['num_images'], 'image')} of "
        f"{api.counted(facts['num_products'], 'product')}, "
        f"{api.counted(len(facts['labels']), 'label')}"
    )
    print_line(f"table: {out}")
