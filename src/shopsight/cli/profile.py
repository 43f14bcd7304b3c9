"""`shopsight profile`: what a backbone costs and how much it sees."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import DeviceOption, JsonOption
from shopsight.cli.output import Column, print_json, print_line, print_table
from shopsight.cli.progress import shown_progress


def profile(
    backbone: Annotated[
        str,
        typer.Argument(metavar="BACKBONE", help="Profile this backbone, such as timm:resnet18."),
    ],
    size: Annotated[
        int | None,
        typer.Option("--size", metavar="PX", help="Use images of this side instead of its own."),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(
            "--classes",
            min=1,
            help="Count a classifier of this many classes; left out: 1000 (shopsight: nets: 10).",
        ),
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Print a row per layer.")] = False,
    batches: Annotated[
        str, typer.Option("--batch", metavar="N,...", help="Time these batch sizes; '' times none.")
    ] = "1,32",
    device: DeviceOption = "auto",
    precision: Annotated[
        Literal["auto", "32", "bf16"],
        typer.Option("--precision", help="Time in this number format."),
    ] = "auto",
    json: JsonOption = False,
) -> None:
    """Measure a backbone: parameters, multiply-adds, memory, receptive field and speed."""
    with shown_progress():
        found = api.profile(
            backbone,
            size_px=size,
            classes=classes,
            batches=_batch_sizes(batches),
            device=device,
            precision=precision,
        )
    if json:
        out = found.to_json()
        print_json(out if per_layer else {key: out[key] for key in out if key != "rows"})
        return
    _summary(found)
    _stages(found)
    if per_layer:
        _layers(found)


def _batch_sizes(text: str) -> list[int]:
    words = [word for word in text.split(",") if word.strip()]
    if not all(word.strip().isdigit() and int(word) > 0 for word in words):
        raise typer.BadParameter(f"{text!r} is not a list of batch sizes such as 1,32")
    return [int(word) for word in words]


def _summary(found: api.Profile) -> None:
    rows = [
        ["parameters", f"{found.parameters / 1e6:.2f} M"],
        ["multiply-adds", f"{found.macs / 1e9:.4g} GMACs"],
        ["operations (a multiply-add is two)", f"{found.flops / 1e9:.4g} GFLOPs"],
        ["activations kept for backward, fp32", f"{found.activation_bytes / 1e6:.1f} MB an image"],
    ]
    for speed in found.speeds:
        rows.append(
            [
                f"batch of {speed.batch}",
                f"{speed.latency_ms:.1f} ms, {speed.images_per_s:.1f} images/s",
            ]
        )
    title = f"{found.backbone}, {found.size_px} px, {api.count_text(found.num_classes)} classes"
    print_table([Column("", fold=False), Column("", right=True)], rows, title=title)
    if found.speeds:
        print_line(f"medians of {found.measured_on}")


def _stages(found: api.Profile) -> None:
    columns = [Column("stage"), Column("stride, px", True), Column("receptive field, px", True)]
    rows = [
        [
            stage.name,
            "" if stage.stride_px is None else f"{stage.stride_px:g}",
            str(stage.receptive_field),
        ]
        for stage in found.stages
    ]
    print_table(columns, rows)
    if found.unknown_functions:
        names = ", ".join(found.unknown_functions)
        print_line(f"global is only an upper bound after these functions without a rule: {names}")


def _layers(found: api.Profile) -> None:
    columns = [
        Column("layer", fold=False),
        Column("kind"),
        Column("output"),
        Column("parameters", True),
        Column("multiply-adds", True),
        Column("output, kB", True),
        Column("receptive field, px", True),
    ]
    rows = [
        [
            layer.name,
            layer.kind,
            " x ".join(map(str, layer.shape[1:])),
            api.count_text(layer.parameters),
            api.count_text(layer.macs),
            f"{layer.output_bytes / 1e3:,.1f}",
            "" if layer.receptive_field is None else str(layer.receptive_field),
        ]
        for layer in found.rows
    ]
    print_table(columns, rows)
