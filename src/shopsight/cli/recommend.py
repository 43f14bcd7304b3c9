"""`shopsight recommend`: the best backbone among those that are fast enough here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.compare import show
from shopsight.cli.options import (
    AcceptOption,
    DataArgument,
    DataOptions,
    DeviceOption,
    ExcludeOption,
    FailOnOption,
    names_in,
    takes_data,
)
from shopsight.cli.output import print_json, print_line
from shopsight.cli.progress import shown_progress


@takes_data
def recommend(
    options: DataOptions,
    data: DataArgument,
    latency_ms: Annotated[
        float,
        typer.Option("--latency-ms", min=0.0, help="Let one image take at most this long."),
    ],
    backbones: Annotated[
        str | None,
        typer.Option("--backbones", metavar="A,B,...", help="Consider these."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Write the probes and the page there.")
    ] = Path("runs", "recommend"),
    device: DeviceOption = "auto",
    accept: AcceptOption = None,
    exclude: ExcludeOption = None,
    fail_on: FailOnOption = None,
) -> None:
    """Name the backbone with the best probe among those that are fast enough.

    Exits with 1 if none is.
    """
    # Before torch is imported, which takes seconds.
    api.check_there(data)
    with shown_progress():
        found = api.recommend(
            data,
            read=options.read,
            latency_ms=latency_ms,
            out=out,
            backbones=names_in(backbones or ""),
            device=device,
            accept=accept or (),
            exclude=exclude or (),
            fail_on=fail_on or (),
        )
    if options.json:
        print_json(found.to_json())
    else:
        _show(found, data)
    if found.chosen is None:
        raise typer.Exit(1)


def _show(found: api.Recommendation, data: str) -> None:
    for candidate in found.candidates:
        if candidate.left_out:
            print_line(f"left out: {candidate.backbone}: {candidate.left_out}")
    if found.comparison is not None:
        show(found.comparison)
    if found.chosen is None:
        print_line(f"no backbone is faster than {found.budget_ms:g} ms{_fastest(found)}")
        return
    print_line(f"take: {found.chosen.backbone}")
    if found.faster_alternative is not None:
        print_line(
            f"or, cheaper, and not distinguished from it: {found.faster_alternative.backbone}"
        )
    train = ["shopsight", "train", data, "--backbone", found.chosen.backbone, "--out", "RUN"]
    print_line(f"next: {api.command_line(train)}")


def _fastest(found: api.Recommendation) -> str:
    """The fastest backbone, when all are too slow."""
    timed = {
        candidate.latency_ms: candidate.backbone
        for candidate in found.candidates
        if candidate.latency_ms is not None
    }
    if not timed:
        return ""
    least_ms = min(timed)
    return f"; the fastest is {timed[least_ms]} with {least_ms:.1f} ms"
