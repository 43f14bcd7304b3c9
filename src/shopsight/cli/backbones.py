"""`shopsight backbones`: networks under short names, and what is known of them."""

from __future__ import annotations

from dataclasses import asdict

from shopsight import api
from shopsight.cli.options import JsonOption
from shopsight.cli.output import Column, print_json, print_line, print_table


def backbones(json: JsonOption = False) -> None:
    """List the presets: networks for searching, with licenses and published figures."""
    if json:
        print_json(
            {
                "presets": [asdict(preset) for preset in api.presets()],
                "left_out": [asdict(network) for network in api.left_out()],
            }
        )
        return
    columns = [
        Column("preset", fold=False),
        Column("width", right=True),
        Column("px", right=True),
        Column("params", right=True),
        Column("text"),
        Column("license"),
        Column("run by us"),
    ]
    print_table(columns, [_row(preset) for preset in api.presets()])
    for preset in api.presets():
        _describe(preset)
    print_line()
    print_line("no presets:")
    for network in api.left_out():
        print_line(f"  {network.name}: {network.why}")
    print_line()
    print_line("search with one: shopsight index build general-base DATA --out index")
    print_line("any other one:   open_clip:ARCHITECTURE/TAG, open_clip:hf-hub:ORG/NAME, timm:NAME")


def _row(preset: api.Preset) -> list[str]:
    return [
        preset.name,
        api.count_text(preset.embedding_dim),
        "-" if preset.size_px is None else str(preset.size_px),
        "-" if preset.params_m is None else f"{preset.params_m:.1f} M",
        preset.text or "-",
        preset.license,
        "yes" if preset.run_by_us else "no",
    ]


def _describe(preset: api.Preset) -> None:
    print_line(f"{preset.name}: {preset.model}")
    if preset.published:
        print_line(f"  published: {preset.published} ({preset.source})")
    if preset.note:
        print_line(f"  {preset.note}")
