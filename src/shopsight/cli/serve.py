"""`shopsight serve`: a model answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import DeviceOption
from shopsight.cli.progress import shown_progress


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Answer with this run or bundle.")],
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="INDEX",
            help="Search this index, and change it for clients with the write key.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Listen there; an address that others reach needs a read key, or --open.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="Listen on this port; 0 takes any free one.")
    ] = 8000,
    read_key_file: Annotated[
        Path | None,
        typer.Option(
            "--read-key-file",
            metavar="FILE",
            help="Answer only clients that send the key in this file; without it, the key in "
            "SHOPSIGHT_READ_KEY.",
            show_default=False,
        ),
    ] = None,
    write_key_file: Annotated[
        Path | None,
        typer.Option(
            "--write-key-file",
            metavar="FILE",
            help="Let clients that send the key in this file change the index and reload the "
            "model; without it, the key in SHOPSIGHT_WRITE_KEY.",
            show_default=False,
        ),
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Listen on a network without a read key.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="SITE",
            help="Let pages of this site ask, such as https://shop.example. Repeat for more.",
            show_default=False,
        ),
    ] = None,
    review: Annotated[
        str | None,
        typer.Option(
            "--review",
            metavar="RUN|DATA",
            help="Have labels of this run or DATA reviewed at /review, with the write key or, "
            "without one, a key that is printed.",
            show_default=False,
        ),
    ] = None,
    review_folder: Annotated[
        Path | None,
        typer.Option(
            "--review-folder",
            metavar="FOLDER",
            help="Keep the decisions here instead of beside the data.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Serve a model over HTTP: labels, embeddings, search, and a page to try it on.

    It stops on Ctrl-C or SIGTERM when everything is answered, and loads the model anew on SIGHUP.
    """
    with shown_progress():
        api.serve(
            model,
            index=index,
            host=host,
            port=port,
            read_key_file=read_key_file,
            write_key_file=write_key_file,
            open_to_all=open_to_all,
            allow_origins=allow_origin or (),
            review=review,
            review_folder=review_folder,
            device=device,
        )
