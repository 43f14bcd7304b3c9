"""`shopsight compare`: runs, or backbones on DATA, over the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import (
    READ_FLAGS,
    AcceptOption,
    DataOptions,
    DeviceOption,
    ExcludeOption,
    FailOnOption,
    RecipeOption,
    SetOption,
    TrustRecipeOption,
    asked_about_recipe,
    names_in,
    takes_data,
)
from shopsight.cli.output import Column, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress
from shopsight.cli.wildcards import expanded

# These are about training, and change nothing for finished runs.
TRAINING_FLAGS = ("--recipe", "--set", "--trust-recipe", "--accept", "--exclude", "--fail-on")


RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN...",
        help="Compare these finished runs, or search indexes; with --backbones, give one DATA "
        "instead.",
    ),
]
BackbonesOption = Annotated[
    str | None,
    typer.Option("--backbones", metavar="A,B,...", help="Train one run for each, on DATA."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Write compare.html, .csv and .json there."),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split", help="Compare on test, val, or out-of-fold (the default of K-fold runs)."
    ),
]
MeasureOption = Annotated[
    bool, typer.Option("--measure/--no-measure", help="Profile and time the models.")
]


@takes_data
def compare(
    options: DataOptions,
    runs: RunsArgument,
    backbones: BackbonesOption = None,
    recipe: RecipeOption = api.PROBE_RECIPE,
    settings: SetOption = None,
    trust_recipe: TrustRecipeOption = False,
    out: OutOption = None,
    split: SplitOption = None,
    measure: MeasureOption = True,
    device: DeviceOption = "auto",
    accept: AcceptOption = None,
    exclude: ExcludeOption = None,
    fail_on: FailOnOption = None,
) -> None:
    """Compare runs, or backbones on DATA, over the same images: score, cost, speed.

    Indexes are asked for their own photos, which must be the same ones.
    """
    if backbones is None and all(map(api.is_index, runs)):
        options.refuse(
            [*READ_FLAGS, *TRAINING_FLAGS, "--out", "--split", "--measure"],
            why="indexes are compared by the searches for their own photos",
            fix="shopsight compare INDEX INDEX",
        )
        _compare_indexes(expanded(runs), options.json, device)
        return
    if backbones is None:
        _refuse_for_runs(options)
        with shown_progress():
            found = api.compare(
                expanded(runs), out=out, split=split, measure=measure, device=device
            )
    else:
        _check_backbones(runs, recipe, settings)
        folder = out = out or Path("runs", "compare")

        def compared(trusted: bool) -> api.Comparison:
            with shown_progress():
                return api.compare_backbones(
                    runs[0],
                    read=options.read,
                    backbones=names_in(backbones),
                    out=folder,
                    recipe=recipe,
                    settings=settings or (),
                    trust_recipe=trusted,
                    device=device,
                    accept=accept or (),
                    exclude=exclude or (),
                    fail_on=fail_on or (),
                )

        found = asked_about_recipe(compared, trusted=trust_recipe)
    if options.json:
        print_json(found.to_json())
        return
    show(found)
    if out is not None:
        print_line(f"page: {out / 'compare.html'}")


def _refuse_for_runs(options: DataOptions) -> None:
    options.refuse(
        [*READ_FLAGS, *TRAINING_FLAGS],
        why="runs are compared on the images that they were tested on",
        fix="with --backbones A,B, one run for each is trained on DATA",
    )


def _check_backbones(runs: list[str], recipe: str, settings: list[str] | None) -> None:
    """Refuse what cannot be trained before torch is imported, which takes seconds."""
    if len(runs) != 1:
        raise typer.BadParameter("with --backbones, give one DATA")
    api.recipe_with(recipe, settings or ())
    api.check_there(runs[0])


def _compare_indexes(indexes: list[str], json: bool, device: str) -> None:
    with shown_progress():
        found = api.compare_indexes(indexes, device=device)
    if json:
        print_json(found.to_json())
        return
    names = api.index_names(found)
    rows = []
    for metric, best in found.metrics.items():
        cells = []
        for score, difference in zip(best.scores, best.differences, strict=True):
            points = "" if difference is None else f"  {100 * difference.value:+.1f} "
            ends = "" if difference is None else _ends(difference, "+.1f")
            cells.append(f"{api.percent_text(score.value)}{points}{ends}")
        rows.append([metric.replace("_", " "), *cells])
    columns = [Column("", fold=False), *(Column(name, True) for name in names)]
    asked = api.counted(found.evaluations[0].num_scored, "lookup")
    print_table(columns, rows, title=f"{asked}; points to the best, whose intervals hold together")
    tied = [names[number] for number in found.chosen.may_be_best]
    if len(tied) > 1:
        print_line(f"cannot be distinguished by mAP: {', '.join(tied)}")
    else:
        print_line(f"best by mAP: {names[found.chosen.best]}")


def show(found: api.Comparison) -> None:
    """Print the table, best first."""
    data = f"{found.data}{' (synthetic)' * found.synthetic}"
    metric = found.metric.replace("_", " ")
    title = f"{data}: {api.images_text(found)}"
    columns = [
        Column("model"),
        Column(metric, True),
        Column("vs best", True),
        *([Column(f"{found.reported_on} {metric}", True)] if found.reported_on else []),
        Column("parameters", True),
        Column("GMACs", True),
        Column("latency (ms)", True),
        Column("throughput (images/s, batch 32)", True),
        Column("training", right=True, fold=False),
    ]
    print_table(columns, [_row(entry) for entry in found.entries], title=title)
    for backbone, reason in found.left_out.items():
        print_line(f"left out: {backbone}: {reason}")
    for says in (api.verdict, api.about_cheapest, api.about_choice, api.about_report):
        if sentence := says(found):
            print_line(sentence)


def _row(entry: api.Entry) -> list[str]:
    score, difference, reported, profile = (
        entry.score,
        entry.difference,
        entry.reported,
        entry.profile,
    )
    return [
        entry.name,
        f"{api.percent_text(score.value)} {_ends(score, '.1f')}",
        "best"
        if difference is None
        else f"{100 * difference.value:+.1f} {_ends(difference, '+.1f')}",
        *([f"{api.percent_text(reported.value)} {_ends(reported, '.1f')}"] if reported else []),
        f"{profile.parameters / 1e6:.2f} M" if profile else "",
        f"{profile.macs / 1e9:.3f}" if profile else "",
        f"{entry.latency_ms:.1f}" if entry.latency_ms is not None else "",
        f"{entry.images_per_s:.1f}" if entry.images_per_s is not None else "",
        api.duration_text(entry.training_s) if entry.training_s is not None else "",
    ]


def _ends(found: api.Interval, form: str) -> str:
    """The interval in percent or points, or why there is none."""
    if not found.is_known:
        return f"({found.reason})"
    return f"[{100 * found.low:{form}}, {100 * found.high:{form}}]"
