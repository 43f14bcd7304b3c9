"""`shopsight export`: files of a model that other engines run, and the proof."""

from __future__ import annotations

from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import JsonOption
from shopsight.cli.output import Column, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Export this run or bundle.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ENGINE,...",
            help="Prove it with onnx (ONNX Runtime), openvino; make what tensorrt runs.",
        ),
    ] = "onnx",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="P,...",
            help="Make fp32 (always), bf16 (OpenVINO computes it from that file), fp16 (for GPUs), "
            "int8.",
        ),
    ] = "fp32",
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="DATA",
            help="Prove it with these images; without it, with those of the run.",
            show_default=False,
        ),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option("--max-drop", metavar="POINTS", help="Lose no more accuracy than this."),
    ] = 0.3,
    json: JsonOption = False,
) -> None:
    """Export a model to files that are served without torch, and prove that they answer alike."""
    with shown_progress():
        done = api.export(
            model,
            to=_words(to),
            precision=_words(precision),
            data=data,
            max_drop=max_drop,
        )
    if json:
        print_json(done.to_json())
        return
    _show(done)


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _show(done: api.ExportResult) -> None:
    rows = []
    for artifact in done.artifacts:
        for one in artifact.parity:
            drop = "" if one.accuracy_drop is None else f"{one.accuracy_drop:+.2f} points lost"
            if one.drop_low is not None and one.drop_high is not None:
                drop += f" ({one.drop_low:+.2f} to {one.drop_high:+.2f})"
            rows.append(
                (
                    artifact.file,
                    f"{one.engine}, {one.precision}",
                    f"{100 * one.same:.1f} %",
                    f"{one.logit_error:.2g}",
                    f"{100 * one.neighbors:.1f} %",
                    drop,
                )
            )
    print_table(
        [
            Column("file"),
            Column("engine"),
            Column("same labels", right=True),
            Column("logits within", right=True),
            Column("same neighbors", right=True),
            Column("accuracy"),
        ],
        rows,
    )
    first = done.artifacts[0].parity[0]
    print_line(f"{done.folder}: proven on {first.num_images:,} images ({first.images})")
