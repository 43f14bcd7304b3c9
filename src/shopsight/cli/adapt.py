"""`shopsight adapt`: a layer or a head on kept embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import DataArgument, DataOptions, DeviceOption, takes_data
from shopsight.cli.output import Column, print_json, print_line, print_note, print_table
from shopsight.cli.progress import shown_progress

NAMES = {
    "recall_at_1": "recall@1",
    "mean_average_precision": "mAP",
    "accuracy": "accuracy",
}


@takes_data
def adapt(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Adapt this run, bundle, preset or backbone, such as "
            "embedded:tf_efficientnet_lite0.",
        ),
    ],
    data: DataArgument,
    options: DataOptions,
    out: Annotated[
        Path, typer.Option("--out", metavar="BUNDLE", help="Write the bundle into this folder.")
    ],
    purpose: Annotated[
        Literal["search", "classes"],
        typer.Option(
            "--for",
            help="Fit a layer that brings photos of one product or label nearer, or a head for "
            "labels.",
        ),
    ] = "search",
    hidden_dim: Annotated[
        int | None,
        typer.Option(
            "--hidden-dim",
            min=1,
            help="For classes, put two hidden layers of this width before the classifier.",
            show_default=False,
        ),
    ] = None,
    keep_anyway: Annotated[
        bool,
        typer.Option("--keep-anyway", help="Write the bundle also where it does not help."),
    ] = False,
    seed: Annotated[
        int, typer.Option("--seed", help="Hold out other images and classes by another number.")
    ] = 0,
    resize: Annotated[
        Literal["pad", "crop", "squash"] | None,
        typer.Option(
            "--resize",
            help="Make images square in this way; without it, as the backbone's library does.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Fit a layer for search, or a head for classes, on embeddings: minutes on a CPU.

    It is compared with the model as it is on held-out images, and on classes that it never saw.
    Exits with 1, and writes nothing, where it does not help.
    """
    with shown_progress():
        done = api.adapt(
            model,
            data,
            out=out,
            purpose=purpose,
            read=options.read,
            resize=resize,
            hidden_dim=hidden_dim,
            keep_anyway=keep_anyway,
            seed=seed,
            device=device,
        )
    if options.json:
        print_json(done.to_json())
    else:
        _print_changes(done.changes, done.relevant_by)
    print_note(f"{done.chosen}, in {api.duration_text(done.seconds)}")
    print_note(done.why)
    if done.model is None:
        print_note("nothing is written; --keep-anyway writes the bundle all the same")
        raise typer.Exit(1)
    print_note(f"written: {done.model}")
    if not options.json:
        _print_next(data, done, purpose)


def _print_next(data: str, done: api.AdaptResult, purpose: str) -> None:
    verb = ["index", "build"] if purpose == "search" else ["predict"]
    data_words = [data, "--out", "INDEX"] if purpose == "search" else ["IMAGE_OR_FOLDER"]
    print_line(f"next:   {api.command_line(['shopsight', *verb, done.model, *data_words])}")


def _print_changes(changes: Mapping[str, Mapping[str, api.Change]], relevant_by: str) -> None:
    columns = [Column(""), Column("as it is"), Column("adapted"), Column("gain, points")]
    for part, metrics in changes.items():
        one = next(iter(metrics.values()))
        what = "held-out images" if part == "images" else f"held-out {relevant_by}s"
        title = (
            f"{what}: {api.counted(one.images, 'image')} of {api.counted(one.classes, relevant_by)}"
        )
        rows = [
            [
                NAMES[metric],
                _percent(change.before),
                _percent(change.after),
                _points(change.gain),
            ]
            for metric, change in metrics.items()
        ]
        print_table(columns, rows, title=title)


def _percent(score: api.Interval) -> str:
    ends = f"[{100 * score.low:.1f}, {100 * score.high:.1f}]" if score.is_known else score.reason
    return f"{api.percent_text(score.value)} {ends}"


def _points(gain: api.Interval) -> str:
    ends = f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]" if gain.is_known else gain.reason
    return f"{100 * gain.value:+.1f} {ends}"
