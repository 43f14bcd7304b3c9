"""Options of the verbs whose images several machines can embed."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

RunnerOption = Annotated[
    Literal["local", "ray"],
    typer.Option("--runner", help="Embed in this process, or by the workers of a Ray cluster."),
]
RunnerAddressOption = Annotated[
    str | None,
    typer.Option(
        "--runner-address",
        metavar="HOST:PORT",
        help="Join this Ray cluster. Without it, the one that RAY_ADDRESS names, else one on this "
        "machine for as long as the command runs.",
        show_default=False,
    ),
]
RunnerWorkersOption = Annotated[
    int | None,
    typer.Option(
        "--runner-workers",
        min=1,
        help="Start this many Ray workers; without it, one for each GPU or every four cores.",
        show_default=False,
    ),
]
