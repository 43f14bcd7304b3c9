"""Find runs and bundles on disk."""

from __future__ import annotations

from pathlib import Path

from shopsight.bundle.format import BUNDLE_FOLDER, INFO_FILE
from shopsight.bundle.read import bundle_folder
from shopsight.paths import is_file
from shopsight.runs.run_folder import RunFolder
from shopsight.safe_names import PART_PREFIX


def run_of(model: Path | str) -> RunFolder | None:
    """The run that a model belongs to; None for a bundle that lies in no run.

    Args:
        model: a run folder, or a bundle.
    """
    bundle = bundle_folder(model).absolute()
    run = RunFolder(bundle.parent)
    return run if bundle.name == BUNDLE_FOLDER and run.exists() else None


def is_model(folder: Path | str) -> bool:
    """Whether the folder is a bundle, or a run that has one."""
    return is_file(bundle_folder(folder) / INFO_FILE)


def find_models(folder: Path, *, depth: int) -> list[Path]:
    """Runs and bundles below `folder`, the newest first, relative to it.

    A run is named by its own folder, not by the bundle inside.

    Args:
        folder: where to look.
        depth: how many levels below it.
    """
    patterns = ["/".join(["*"] * level + [INFO_FILE]) for level in range(1, depth + 1)]
    files = [file for pattern in patterns for file in folder.glob(pattern)]
    # A bundle that a killed process was writing lies in a folder with a hidden name.
    files = [file for file in files if not file.parent.name.startswith(PART_PREFIX)]
    files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    bundles = [file.parent.relative_to(folder) for file in files]
    return [path.parent if path.name == BUNDLE_FOLDER else path for path in bundles]
