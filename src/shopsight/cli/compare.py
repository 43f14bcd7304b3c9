"""`shopsight compare` and `shopsight recommend`: which model to take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import READ_FLAGS, DataArgument, DataOptions, takes_data
from shopsight.cli.output import Column, count, percent, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress

AcceptOption = Annotated[
    list[str] | None,
    typer.Option("--accept", metavar="KIND", help="Train in spite of this audit finding."),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="KIND", help="Mend this finding by leaving files out."),
]
# What is about training, and means nothing to runs that are finished.
TRAINING_FLAGS = ("--recipe", "--set", "--accept", "--exclude")
DeviceOption = Annotated[
    str, typer.Option("--device", help="Where models are timed: auto, cpu, cuda ...")
]


@takes_data
def compare(
    options: DataOptions,
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Finished runs; with --backbones, the DATA to train on instead."
        ),
    ],
    backbones: Annotated[
        str | None,
        typer.Option("--backbones", metavar="A,B,...", help="Train one run for each, on DATA."),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME|FILE", help="With --backbones.")
    ] = "fast",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="With --backbones: any recipe setting."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Writes compare.html, .csv and .json there."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Whose predictions: test, val, out-of-fold (of K-fold runs, as a rule)."
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Profile and time the models.")
    ] = True,
    device: DeviceOption = "auto",
    accept: AcceptOption = None,
    exclude: ExcludeOption = None,
) -> None:
    """Compare runs, or backbones on DATA, over the same test images: score, cost, speed."""
    if backbones is None:
        options.refuse(
            [*READ_FLAGS, *TRAINING_FLAGS],
            why="runs are compared on the images that they were tested on",
            fix="with --backbones A,B, one run for each is trained on DATA",
        )
    with shown_progress():
        if backbones is None:
            found = api.compare(runs, out=out, split=split, measure=measure, device=device)
        else:
            if len(runs) != 1:
                raise typer.BadParameter("with --backbones, give one DATA")
            out = out or Path("runs", "compare")
            found = api.compare_backbones(
                runs[0],
                read=options.read,
                backbones=names(backbones),
                out=out,
                recipe=recipe,
                settings=settings or (),
                device=device,
                accept=accept or (),
                exclude=exclude or (),
            )
    if options.json:
        print_json(found.to_json())
        return
    show(found)
    if out is not None:
        print_line(f"page: {out / 'compare.html'}")


@takes_data
def recommend(
    options: DataOptions,
    data: DataArgument,
    latency_ms: Annotated[
        float,
        typer.Option("--latency-ms", min=0.0, help="The most that one image may take here."),
    ],
    backbones: Annotated[
        str | None,
        typer.Option("--backbones", metavar="A,B,...", help="Those to consider."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the probes and the page go.")
    ] = Path("runs", "recommend"),
    device: DeviceOption = "auto",
    accept: AcceptOption = None,
    exclude: ExcludeOption = None,
) -> None:
    """Name the backbone with the best probe within a time per image. Exit 1 if there is none."""
    with shown_progress():
        found = api.recommend(
            data,
            read=options.read,
            latency_ms=latency_ms,
            out=out,
            backbones=names(backbones or ""),
            device=device,
            accept=accept or (),
            exclude=exclude or (),
        )
    if options.json:
        print_json(found.to_json())
    else:
        for candidate in found.candidates:
            if candidate.left_out:
                print_line(f"left out: {candidate.backbone}: {candidate.left_out}")
        if found.comparison is not None:
            show(found.comparison)
        if found.chosen is None:
            print_line(f"none of the backbones answers within {latency_ms:g} ms{_fastest(found)}")
        else:
            print_line(f"take: {found.chosen.backbone}")
            if found.faster_alternative is not None:
                print_line(f"faster, and not clearly worse: {found.faster_alternative.backbone}")
            print_line(f"next: shopsight train {data} --backbone {found.chosen.backbone} --out RUN")
    if found.chosen is None:
        raise typer.Exit(1)


def _fastest(found: api.Recommendation) -> str:
    """What would have to do, when all are too slow."""
    timed = {
        candidate.latency_ms: candidate.backbone
        for candidate in found.candidates
        if candidate.latency_ms is not None
    }
    if not timed:
        return ""
    least_ms = min(timed)
    return f"; the fastest is {timed[least_ms]} with {least_ms:.1f} ms"


def names(text: str) -> list[str]:
    """`"a, b"` -> `["a", "b"]`."""
    return [word.strip() for word in text.split(",") if word.strip()]


def show(found: api.Comparison) -> None:
    """The table, best first."""
    data = f"{found.data}{' (synthetic)' * found.synthetic}"
    title = f"{data}: {count(found.images)} {found.split} images"
    columns = [
        Column("model"),
        Column(found.metric.replace("_", " "), True),
        Column("to the best", True),
        Column("parameters", True),
        Column("GMACs", True),
        Column("ms, one image", True),
        Column("images/s, by 32", True),
        Column("training", True),
    ]
    print_table(columns, [_row(entry) for entry in found.entries], title=title)
    for backbone, reason in found.left_out.items():
        print_line(f"left out: {backbone}: {reason}")
    tied = [entry.name for entry in found.entries[1:] if not entry.clearly_worse]
    if tied:
        print_line(f"not clearly worse than {found.best.name}: {', '.join(tied)}")


def _row(entry: api.Entry) -> list[str]:
    score, difference, profile = entry.score, entry.difference, entry.profile
    return [
        entry.name,
        f"{percent(score.value)} [{100 * score.low:.1f}, {100 * score.high:.1f}]",
        "best"
        if difference is None
        else f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, "
        f"{100 * difference.high:+.1f}]",
        f"{profile.parameters / 1e6:.2f} M" if profile else "",
        f"{profile.macs / 1e9:.3f}" if profile else "",
        f"{entry.latency_ms:.1f}" if entry.latency_ms is not None else "",
        f"{entry.images_per_s:.1f}" if entry.images_per_s is not None else "",
        api.duration_text(entry.training_s) if entry.training_s is not None else "",
    ]
