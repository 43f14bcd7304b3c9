"""`shopsight fetch`: the images of a table from web servers, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DataOptions, takes_data
from shopsight.cli.output import Column, print_json, print_line, print_note, print_table
from shopsight.cli.progress import shown_progress

SHOWN_FAILURES = 5
_SAID = {
    "fetched": "new, or not there any more",
    "changed": "another file than before",
    "unchanged": "the same file as before",
    "not asked": "fetched before, and not asked for again",
    "kept": "failed; the file of an earlier command stays",
    "failed": "no file",
}


@takes_data
def fetch(
    catalog: Annotated[
        str,
        typer.Argument(
            metavar="CATALOG",
            help="Fetch the images of this table or export, which are addresses (http, https).",
        ),
    ],
    options: DataOptions,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", help="Keep images and the catalog of them in this folder."
        ),
    ],
    width: Annotated[
        int | None,
        typer.Option(
            "--width",
            metavar="PX",
            min=1,
            max=5760,
            help="Ask cdn.shopify.com for images of this width; other servers give originals.",
            show_default=False,
        ),
    ] = None,
    per_host: Annotated[
        int,
        typer.Option(
            "--per-host", metavar="N", min=1, max=16, help="Ask one host for N images at a time."
        ),
    ] = 4,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Ask only for images that failed the last time."),
    ] = False,
) -> None:
    """Fetch the images of a table from web servers: each once, by content, safely.

    Run again, it asks only whether images changed, and again for what failed. Exits with 1 if an
    image failed.
    """
    with shown_progress():
        done = api.fetch(
            catalog,
            out=out,
            width=width,
            per_host=per_host,
            retry_failed=retry_failed,
            read=options.read,
        )
    if options.json:
        print_json(done.to_json())
    else:
        _show(done)
    for one in done.failed[:SHOWN_FAILURES]:
        print_note(f"not fetched: {one.url}: {one.error}")
    if done.failed:
        where = "" if done.failed_table is None else f"; their rows are in {done.failed_table}"
        print_note(f"not fetched: {api.counted(len(done.failed), 'image')}{where}")
        raise typer.Exit(1)


def _show(done: api.FetchResult) -> None:
    counts = done.counts
    lines: list[tuple[str, str, str]] = [
        (fate, f"{number:,}", _SAID[fate] + _reasons(counts, fate))
        for fate, number in counts.fates.items()
        if number
    ]
    if counts.num_shared:
        lines.append(("shared", f"{counts.num_shared:,}", "further rows of the same images"))
    if counts.num_local:
        lines.append(("not at an address", f"{counts.num_local:,}", "left as they are"))
    lines.append(("in all", f"{counts.num_rows:,}", "rows"))
    print_table([Column("images"), Column("number", right=True), Column("")], lines)
    if done.table is not None:
        rows = api.counted(done.num_table_rows, "row")
        print_line(f"{done.table}: {rows}, {api.counted(counts.num_files, 'file')}")
    if done.failed_table is not None:
        print_line(f"{done.failed_table}: {api.counted(counts.num_failed_rows, 'row')}")


def _reasons(counts: api.FetchCounts, fate: str) -> str:
    if fate != "failed" or not counts.reasons:
        return ""
    return ": " + ", ".join(f"{reason} {number:,}" for reason, number in counts.reasons.items())
