"""`shopsight soup`: average the weights of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import (
    READ_FLAGS,
    RUN_FLAGS,
    DataOptions,
    DeviceOption,
    TrustRecipeOption,
    asked_about_recipe,
    names_in,
    takes_data,
)
from shopsight.cli.output import Column, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress
from shopsight.cli.wildcards import expanded
from shopsight.errors import ConfigError


@takes_data
def soup(
    options: DataOptions,
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Average these finished runs of one start; a single one: its kept epochs or, with "
            "--alpha, itself and its start.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="BUNDLE", help="Write the average there, as a bundle.")
    ],
    uniform: Annotated[bool, typer.Option("--uniform", help="Take the mean of all.")] = False,
    greedy: Annotated[
        bool,
        typer.Option("--greedy", help="Take the mean of those that help on validation images."),
    ] = False,
    alpha: Annotated[
        str | None,
        typer.Option(
            "--alpha",
            metavar="A[,B...]",
            help="Take the point between two ends, 0 to 1 or beyond; of several the best on "
            "validation images.",
            show_default=False,
        ),
    ] = None,
    trust_recipe: TrustRecipeOption = False,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            "--accept",
            metavar="KIND",
            help="Score in spite of changed-file (images of the run that changed or vanished).",
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Average the weights of networks that share a start, into one network.

    Scored on validation and test images and, where the runs were trained on a split by label, by a
    search among the classes that no training saw. What is chosen is chosen on validation images.
    """
    how = _how(uniform, greedy, alpha)
    options.refuse(
        [flag for flag in READ_FLAGS if flag not in RUN_FLAGS],
        why="the runs' own images score, as they were read",
        fix="leave them out",
    )
    alphas = [] if alpha is None else [_number(word) for word in names_in(alpha)]
    folders = expanded(runs)
    # Before torch is imported, which takes seconds.
    for run in folders:
        api.check_run(run)

    def averaged(trusted: bool) -> api.SoupResult:
        with shown_progress():
            return api.soup(
                folders,
                out=out,
                how=how,
                alphas=alphas,
                read=options.read,
                trust_recipe=trusted,
                accept=accept or (),
                device=device,
            )

    done = asked_about_recipe(averaged, trusted=trust_recipe)
    if options.json:
        print_json(done.to_json())
    else:
        _show(done)


def _how(uniform: bool, greedy: bool, alpha: str | None) -> api.How:
    chosen: list[api.How] = []
    if uniform:
        chosen.append("uniform")
    if greedy:
        chosen.append("greedy")
    if alpha is not None:
        chosen.append("alpha")
    if len(chosen) != 1:
        raise ConfigError(
            f"one of --uniform, --greedy and --alpha is needed, and {len(chosen)} are given",
            fix="--uniform   (the mean)\n--greedy   (of several, those that help)\n"
            "--alpha 0,0.25,0.5,0.75,1   (between a run and its start)",
        )
    return chosen[0]


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ConfigError(
            f"{word!r} is not a number", where="--alpha", fix="--alpha 0,0.25,0.5,0.75,1"
        ) from None


def _show(done: api.SoupResult) -> None:
    average, measures = done.average, done.measures
    columns = [Column("", fold=False)]
    columns += [Column(api.measure_title(name, done.metric), True) for name in measures]
    columns.append(Column("", fold=False))
    is_curve = done.how == "alpha"
    rows = []
    for one in average.tried:
        found = one.measured.intervals()
        kept = ("the bundle" if one.kept else "") if is_curve else _stays(one.kept)
        rows.append([one.name, *(_ends(found[name]) for name in measures), kept])
    if not is_curve:
        found = average.measured.intervals()
        rows.append(["the soup", *(_ends(found[name]) for name in measures), "the bundle"])
    title, gains = done.title, done.gains()
    if gains:
        rows.append(["gain, points", *(_points(gains[name]) for name in measures), ""])
        title += f"; gain over {average.reference.name}"
    print_table(columns, rows, title=title)
    for note in done.notes():
        print_line(note)
    print_line(f"bundle: {done.out}")
    print_line(f"page:   {done.page}")


def _stays(kept: bool) -> str:
    return "in the soup" if kept else "left out"


def _ends(score: api.Interval) -> str:
    text = api.percent_text(score.value)
    if not score.is_known:
        return f"{text} [no interval]"
    low = api.percent_text(score.low).removesuffix(" %")
    return f"{text} [{low}, {api.percent_text(score.high)}]"


def _points(gain: api.Interval) -> str:
    text = f"{100 * gain.value:+.1f}"
    if not gain.is_known:
        return f"{text} [no interval]"
    return f"{text} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
