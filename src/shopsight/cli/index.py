"""`shopsight index`: build an index, keep it up to date, check it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import (
    BoxesOption,
    DataArgument,
    DataOptions,
    DeviceOption,
    JsonOption,
    ResizeOption,
    takes_data,
)
from shopsight.cli.output import Column, print_json, print_line, print_not_read, print_table
from shopsight.cli.progress import shown_progress
from shopsight.cli.runner_options import RunnerAddressOption, RunnerOption, RunnerWorkersOption

IndexArgument = Annotated[
    str, typer.Argument(metavar="INDEX", help="The folder of the index.", show_default=False)
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Embed by this run, bundle, preset or backbone, such as general-base.",
        show_default=False,
    ),
]


@takes_data
def build(
    model: ModelArgument,
    data: DataArgument,
    options: DataOptions,
    out: Annotated[
        Path, typer.Option("--out", metavar="INDEX", help="Write the index into this new folder.")
    ],
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="COLUMN",
            help="Keep this column of the table, to filter by. Repeat for more. Without it, all "
            "with short cells; label, split and text always.",
        ),
    ] = None,
    storage: Annotated[
        Literal["f32", "f16", "int8", "turbo8"],
        typer.Option("--store", help="Keep vectors in the engine in this precision."),
    ] = "f16",
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Have the engine on this Qdrant server, such as http://host:6333.",
            show_default=False,
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            "--shards",
            min=1,
            help="With --url, part the collection into this many shards, which its nodes share.",
            show_default=False,
        ),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(
            "--replicas",
            min=1,
            help="With --url, keep this many copies of each shard.",
            show_default=False,
        ),
    ] = None,
    ef: Annotated[
        int,
        typer.Option(
            "--ef", min=1, max=10_000, help="Compare with this many candidates in the graph."
        ),
    ] = 128,
    resize: ResizeOption = None,
    boxes: BoxesOption = False,
    device: DeviceOption = "auto",
    runner: RunnerOption = "local",
    runner_address: RunnerAddressOption = None,
    runner_workers: RunnerWorkersOption = None,
) -> None:
    """Embed the images of DATA and make them an index that `shopsight search` answers from.

    Nothing has to be trained, and labels are not needed. An interrupted build goes on.
    Exits with 1 if an image could not be read.
    """
    with shown_progress():
        done = api.build_index(
            model,
            data,
            out=out,
            read=options.read,
            keep=keep or (),
            storage=storage,
            url=url,
            resize=resize,
            boxes=boxes,
            device=device,
            runner=api.Runner(runner, runner_address, runner_workers),
            ef=ef,
            shards=shards,
            replicas=replicas,
        )
    _show_change(done, options.json)


@takes_data
def add(
    index: IndexArgument,
    data: DataArgument,
    options: DataOptions,
    device: DeviceOption = "auto",
) -> None:
    """Put the images of DATA into an index; those that it has are brought up to date.

    When this ends, they are on the disk and found. Exits with 1 if an image could not be read.
    """
    with shown_progress():
        done = api.add_to_index(index, data, read=options.read, device=device)
    _show_change(done, options.json)


@takes_data
def update(
    index: IndexArgument,
    data: DataArgument,
    options: DataOptions,
    allow_delete: Annotated[
        bool,
        typer.Option("--allow-delete", help="Remove even more than a tenth of the index."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Bring an index up to DATA: add what is new, embed anew what changed, remove what is gone.

    An image that cannot be read is not gone. Exits with 1 if there is one.
    """
    with shown_progress():
        done = api.update_index(
            index,
            data,
            read=options.read,
            allow_delete=allow_delete,
            dry_run=dry_run,
            device=device,
        )
    _show_change(done, options.json)


def remove(
    index: IndexArgument,
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="Remove these items, or all items of these products."),
    ],
    json: JsonOption = False,
) -> None:
    """Take items or products out of an index: they are never found again.

    `shopsight index compact` removes their bytes from the disk.
    """
    with shown_progress():
        done = api.remove_from_index(index, ids)
    _show_change(done, json)


def info(
    index: IndexArgument,
    items: Annotated[bool, typer.Option("--items", help="List the ids of all items.")] = False,
    json: JsonOption = False,
) -> None:
    """Say what an index is and holds, and what takes the disk."""
    with shown_progress():
        found = api.index_info(index, items=items)
    if json:
        print_json(found.to_json())
        return
    _show_info(found)
    for item in found.items:
        print_line(item)


def verify(index: IndexArgument, device: DeviceOption = "auto", json: JsonOption = False) -> None:
    """Check an index: its counts, its vectors against its images, its graph against exact search.

    Exits with 1 if a check fails.
    """
    with shown_progress():
        checks = api.verify_index(index, device=device)
    if json:
        print_json([vars(check) for check in checks])
    else:
        for check in checks:
            print_line(f"{_verdict(check.ok):11}  {check.name}: {check.said}")
            for detail in check.details:
                print_line(f"             {detail}")
    if any(check.ok is False for check in checks):
        raise typer.Exit(1)


def compact(index: IndexArgument, json: JsonOption = False) -> None:
    """Write an index anew: what was removed leaves the disk, and everything is in the graph."""
    with shown_progress():
        found = api.compact_index(index)
    if json:
        print_json(found.to_json())
    else:
        _show_info(found)


def migrate(
    index: IndexArgument,
    model: Annotated[
        str, typer.Option("--model", metavar="MODEL", help="Embed by this model from now on.")
    ],
    resize: ResizeOption = None,
    allow_delete: Annotated[
        bool,
        typer.Option(
            "--allow-delete", help="Leave even more than a tenth behind that cannot be read."
        ),
    ] = False,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Embed all images of an index by another model; an interrupted migration goes on.

    Until it is done, the index answers by the old one. Exits with 1 if an image could not be read:
    such items are not in the new generation.
    """
    with shown_progress():
        done = api.migrate_index(
            index, model=model, resize=resize, allow_delete=allow_delete, device=device
        )
    _show_change(done, json)


def snapshot(
    index: IndexArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Copy it into this new folder.")
    ],
    json: JsonOption = False,
) -> None:
    """Copy an index as it is at one moment, also while another process changes it."""
    with shown_progress():
        count = api.snapshot_index(index, out=out)
    if json:
        print_json({"index": str(out), "items": count})
    else:
        print_line(f"{out}: {api.counted(count, 'item')}")


def _show_change(done: api.IndexChange, json: bool) -> None:
    if json:
        print_json(done.to_json())
    else:
        counts = {
            "added": done.done.added,
            "embedded anew": done.done.changed,
            "cells written anew": done.done.rewritten,
            "removed": done.done.removed,
            "as they were": done.done.same,
        }
        said = ", ".join(
            f"{api.count_text(count)} {what}" for what, count in counts.items() if count
        )
        would = "would be: " if done.dry_run else ""
        print_line(f"{would}{said or 'nothing to do'}")
        products = f" of {api.counted(done.num_products, 'product')}" if done.num_products else ""
        print_line(f"{done.index}: {api.counted(done.num_items, 'item')}{products}")
    print_not_read(done.done.failed.items(), then="the same command tries them again")
    if done.done.failed:
        raise typer.Exit(1)


def _show_info(found: api.IndexInfo) -> None:
    products = f", {api.counted(found.num_products, 'product')}" if found.num_products else ""
    not_yet = f", {api.count_text(found.not_in_graph)} not in the graph yet"
    rows = [
        ["items", f"{api.count_text(found.num_items)}{products}"],
        ["engine", f"{found.engine}, {found.storage}" + not_yet * (found.not_in_graph > 0)],
        ["model", f"{found.model}, {found.embedding_dim:,} numbers"],
        ["embedding space", found.space[:12] + (f", {found.precision}" if found.precision else "")],
        ["texts", found.texts],
        ["columns", ", ".join(f"{name} ({kind})" for name, kind in found.columns.items())],
        ["images from", ", ".join(found.sources)],
        ["generation", str(found.generation)],
    ]
    rows += [[f"disk, {part}", api.human_bytes(size)] for part, size in found.disk_bytes.items()]
    print_table([Column("", fold=False), Column("")], rows, title=str(found.index))


def _verdict(ok: bool | None) -> str:
    return {True: "ok", False: "failed", None: "not checked"}[ok]


COMMANDS: dict[str, Callable[..., None]] = {
    "build": build,
    "add": add,
    "remove": remove,
    "update": update,
    "info": info,
    "verify": verify,
    "compact": compact,
    "migrate": migrate,
    "snapshot": snapshot,
}
"""The verbs of `shopsight index`, in the order of its help."""
