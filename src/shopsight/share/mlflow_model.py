"""Write a bundle as a model of MLflow, which then answers by `shopsight.share.pyfunc`.

    MLmodel             what MLflow reads: the loader, the signature, the environment
    bundle/             the shared copy of the bundle
    requirements.txt, conda.yaml, python_env.yaml   the environment, three times

MLflow itself is not needed to write it, and shopsight never loads such a folder.
"""

from __future__ import annotations

import json
import platform
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shopsight.bundle.exports import EXPORTS_FILE
from shopsight.bundle.format import Bundle
from shopsight.bundle.model_card import model_card
from shopsight.extras import installed_version
from shopsight.files import atomic_folder, make_folder, write_text
from shopsight.paths import exists
from shopsight.share.pyfunc import IMAGE, TOP
from shopsight.share.shared_copy import write_shared_copy
from shopsight.share.yaml_text import yaml_text

MODEL_FILE = "MLmodel"
DATA_FOLDER = "bundle"
LOADER = "shopsight.share.pyfunc"
MLFLOW_VERSION = "2.22.0"
"""The version whose format is written; later ones read it."""


def write_mlflow(bundle: Bundle, folder: Path) -> None:
    """Write the folder, whole or not at all.

    Args:
        bundle: as it was read; it is verified before anything is written.
        folder: is made, or replaced.

    Raises:
        BundleError: as `shopsight.share.shared_copy.write_shared_copy`.
        WriteError: it cannot be written.
    """
    with atomic_folder(folder) as part:
        inside = part / DATA_FOLDER
        make_folder(inside)
        write_shared_copy(bundle, inside, lambda info: model_card(info, bundle.metrics, scores=""))
        needed = _requirements(inside)
        write_text(part / MODEL_FILE, yaml_text(_model(bundle)))
        write_text(part / "requirements.txt", "".join(f"{one}\n" for one in needed))
        write_text(part / "conda.yaml", yaml_text(_conda(needed)))
        write_text(part / "python_env.yaml", yaml_text(_python_env()))


def _requirements(bundle: Path) -> list[str]:
    extra = "" if exists(bundle / EXPORTS_FILE) else "[train]"
    return ["mlflow", "pandas", f"shopsight{extra}=={installed_version('shopsight')}"]


def _model(bundle: Bundle) -> dict[str, Any]:
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    function = {
        "loader_module": LOADER,
        "data": DATA_FOLDER,
        "env": environment,
        "python_version": platform.python_version(),
    }
    return {
        "flavors": {"python_function": function},
        "metadata": {"weights_sha256": bundle.info.weights_sha256},
        "mlflow_version": MLFLOW_VERSION,
        "model_uuid": uuid.uuid4().hex,
        # MLflow reads these as texts that hold JSON.
        "signature": {
            "inputs": json.dumps([{"type": "binary", "name": IMAGE, "required": True}]),
            "outputs": json.dumps(_outputs()),
            "params": json.dumps([{"name": TOP, "type": "long", "default": 5, "shape": None}]),
        },
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }


def _outputs() -> list[dict[str, Any]]:
    def column(name: str, kind: str) -> dict[str, Any]:
        return {"type": kind, "name": name, "required": False}

    def several(name: str, kind: str) -> dict[str, Any]:
        return {"type": "array", "items": {"type": kind}, "name": name, "required": True}

    return [
        column("label", "string"),
        column("probability", "double"),
        several("labels", "string"),
        several("probabilities", "double"),
        several("predicted_labels", "string"),
        column("unknown", "boolean"),
        column("error", "string"),
    ]


def _conda(needed: list[str]) -> dict[str, Any]:
    python = f"python={platform.python_version()}"
    packages = [python, "pip", {"pip": needed}]
    return {"channels": ["conda-forge"], "dependencies": packages, "name": "mlflow-env"}


def _python_env() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
