"""Push: hand a model on, to the Hugging Face Hub or in the form of MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.cache_place import cache_folder
from shopsight.errors import ConfigError
from shopsight.extras import require_installed
from shopsight.files import scratch_folder
from shopsight.io.hub import PREFIX, names_hub, parse_hub_name
from shopsight.output_locks import only_writer_of_file
from shopsight.output_paths import check_output_path
from shopsight.paths import exists
from shopsight.share.hub import push_folder
from shopsight.share.hub_card import find_figures, hub_card
from shopsight.share.mlflow_model import MODEL_FILE, write_mlflow
from shopsight.share.shared_copy import write_shared_copy

MLFLOW = "mlflow:"
LONGEST_NAME = "/bundle/attributes.safetensors"


@dataclass(frozen=True)
class PushResult:
    """Where a model is now.

    Attributes:
        to: `hf:OWNER/NAME@COMMIT`, or the folder of MLflow.
        load: the call that opens it, in Python.
        url: of the commit; None of a folder.
        files: what was handed on.
    """

    to: str
    load: str
    url: str | None
    files: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "files": list(self.files)}


def push(
    model: str | Path,
    to: str,
    *,
    revision: str | None = None,
    public: bool = False,
    message: str | None = None,
    license: str | None = None,
) -> PushResult:
    """Hand a run's model or a bundle on, once its hashes and golden outputs are verified.

    What is handed on is a copy without photos and without paths: `docs/share.md` lists it.

    Args:
        model: a run or a bundle.
        to: `hf:OWNER/NAME`, a repository on the Hugging Face Hub, made where there is none; or
            `mlflow:FOLDER`, a folder that MLflow loads.
        revision: a branch of the repository; None is the main one.
        public: everybody may read the repository.
        message: of the commit.
        license: the Hub's word for the license of the model, such as "apache-2.0".

    Raises:
        BundleError: the bundle is not what was written, or names folders of this machine.
        ConfigError: `to` is neither of both, or an option does not go with it.
        HubError: the Hub refuses it, or cannot be reached.
        WriteError: the folder cannot be written.
        ExtraMissingError: the Hub's client is not installed.
    """
    if names_hub(to):
        name = parse_hub_name(to)
        if name.revision is not None:
            raise ConfigError(
                "a push makes a new commit, and names none",
                where=to,
                fix=f"{PREFIX}{name.repo} --revision BRANCH",
            )
        require_installed("huggingface_hub")
        bundle = read_bundle(bundle_folder(model))
        figures = find_figures(bundle)
        with scratch_folder(cache_folder() / "hub" / "push") as folder:
            write_shared_copy(
                bundle,
                folder,
                lambda info: hub_card(name, info, bundle.metrics, figures, license=license),
            )
            files = tuple(sorted(path.name for path in folder.iterdir()))
            done = push_folder(
                folder,
                name,
                public=public,
                branch=revision,
                message=message or f"shopsight push: weights {bundle.info.weights_sha256[:12]}",
            )
        return PushResult(str(done.name), f'shopsight.load("{done.name}")', done.url, files)
    if not to.startswith(MLFLOW) or to == MLFLOW:
        raise ConfigError(
            "is neither a repository of the Hub nor a folder of MLflow",
            where=to,
            fix="hf:OWNER/NAME, or mlflow:FOLDER",
        )
    _refuse_hub_options(revision=revision, public=public, message=message, license=license)
    return _push_mlflow(model, Path(to.removeprefix(MLFLOW)))


def _push_mlflow(model: str | Path, folder: Path) -> PushResult:
    check_output_path(folder, reserve=len(LONGEST_NAME))
    if exists(folder) and not exists(folder / MODEL_FILE):
        raise ConfigError(
            "is there, and no folder of MLflow: it is not replaced",
            where=str(folder),
            fix="name a new folder",
        )
    bundle = read_bundle(bundle_folder(model))
    with only_writer_of_file(folder):
        write_mlflow(bundle, folder)
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    load = f"mlflow.pyfunc.load_model({folder.as_posix()!r})"
    return PushResult(str(folder), load, None, tuple(files))


def _refuse_hub_options(**options: object) -> None:
    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        raise ConfigError(
            f"{', '.join(given)} would change nothing: only the Hub has them",
            where=MLFLOW,
            fix=f"leave out {', '.join(given)}",
        )
