"""What a command line names is there: checks that need no torch, whose import takes seconds."""

from __future__ import annotations

from pathlib import Path

from shopsight import paths
from shopsight.bundle.read import bundle_folder, read_info
from shopsight.errors import ConfigError
from shopsight.io.hub import names_hub, parse_hub_name
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line


def check_model(model: str | Path) -> None:
    """Refuse what is no bundle, and no run with one; its weights are not read.

    A bundle on the Hub is looked at where it is opened: then its download shows progress.

    Raises:
        BundleError: there is none, or its model.json is damaged.
        HubError: it is no name of a repository.
    """
    if names_hub(model):
        parse_hub_name(model)
        return
    read_info(bundle_folder(model))


def check_finished_run(run: str | Path) -> None:
    """Refuse what is no finished run, where one is wanted that knows what it learned from.

    Raises:
        ConfigError: there is none.
    """
    folder = RunFolder(Path(run))
    if not folder.exists():
        raise ConfigError(
            "is not a run folder: only a run knows what it learned from",
            where=str(run),
            fix="shopsight train DATA --out RUN   (makes one)",
        )
    if not folder.has_model():
        raise ConfigError(
            "the run is not finished: it has no model",
            where=str(run),
            fix=command_line(["shopsight", "train", "--resume", run]),
        )


def check_run(run: str | Path) -> None:
    """Refuse what is no run, where one is wanted whose own images are scored.

    Raises:
        ConfigError: there is nothing, or a bundle or another folder.
    """
    if not paths.exists(run):
        raise ConfigError("no such folder", where=str(run), fix="name a run folder")
    if not RunFolder(Path(run)).exists():
        raise ConfigError(
            "is not a run folder, and a bundle has no images of its own",
            where=str(run),
            fix=command_line(["shopsight", "evaluate", run, "DATA"]),
        )
