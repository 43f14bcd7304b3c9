"""Where open_clip takes a model from: its own list, the Hugging Face Hub, or a folder.

The last two come with a configuration of their own, `open_clip_config.json`, which a bundle does
not hold: the image encoder of a bundle is built from its name alone. Most of them are published
with an image encoder that open_clip has under a name: then that is the backbone's name, and it is
trained and bundled like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from shopsight.backbones.downloads import hub_cache, offline_error
from shopsight.backbones.spec import Request, check_known
from shopsight.errors import ConfigError, DamagedFileError, LocationError, WeightsError
from shopsight.files import sha256_json
from shopsight.io.json_files import read_json
from shopsight.io.tensor_header import check_fits_in_memory, read_tensor_header
from shopsight.runtime import fail_fast_offline, trusted_certificates

HUB = "hf-hub:"
FOLDER = "local-dir:"
CONFIG_FILE = "open_clip_config.json"
# Those that open_clip itself prefers. Its other choices are pickles of whoever made the folder.
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
_CONFIG_BYTES = 1 << 20
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_SECTIONS = ("embed_dim", "vision_cfg", "text_cfg")


@dataclass(frozen=True)
class ClipSource:
    """A model that open_clip can build.

    Attributes:
        model: its name, as open_clip's functions take it.
        tag: of its weights; empty where the name says which.
        name: of the backbone, with its library; never a path.
        rebuilds: whether that name is enough to build the image encoder again.
        config: of the model, see open_clip's `model_configs`.
        published: how its weights want images; of open_clip's list also where they are.
        origin: where the weights come from, for an error.
    """

    model: str
    tag: str
    name: str
    rebuilds: bool
    config: Mapping[str, Any]
    published: Mapping[str, Any]
    origin: str

    @property
    def quick_gelu(self) -> bool:
        """Whether its activation is the approximation that OpenAI's models use."""
        return bool(self.config.get("quick_gelu") or self.published.get("quick_gelu"))

    @property
    def is_folder(self) -> bool:
        """Whether nothing is downloaded."""
        return self.model.startswith(FOLDER)

    @property
    def in_hub(self) -> bool:
        """Whether its weights are downloaded from the Hugging Face Hub."""
        return self.model.startswith(HUB) or bool(self.published.get("hf_hub"))


def clip_source(open_clip: ModuleType, request: Request, *, pretrained: bool) -> ClipSource:
    """Find the model that a request names.

    Args:
        open_clip: the library.
        request: "ARCHITECTURE/TAG", "hf-hub:ORG/NAME" or "local-dir:PATH".
        pretrained: its published weights are wanted.

    Raises:
        ConfigError: there is no such model, or its configuration is none.
        WeightsError: it cannot be downloaded, or a folder holds no weights.
    """
    if request.name.startswith(HUB):
        return _of_hub(open_clip, request, pretrained=pretrained)
    if request.name.startswith(FOLDER):
        return _of_folder(open_clip, request, pretrained=pretrained)
    architecture, _, tag = request.name.partition("/")
    check_known(architecture, open_clip.list_models(), request)
    published = _published(open_clip, architecture, tag, pretrained=pretrained)
    return ClipSource(
        architecture,
        tag,
        request.full_name,
        rebuilds=True,
        config=open_clip.get_model_config(architecture),
        published=published,
        origin=str(published.get("hf_hub") or published.get("url") or ""),
    )


def _of_hub(open_clip: ModuleType, request: Request, *, pretrained: bool) -> ClipSource:
    repository = request.name.removeprefix(HUB)
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigError(
            f"{repository!r} is not of the form ORG/NAME",
            where="model.backbone",
            fix="open_clip:hf-hub:Marqo/marqo-fashionSigLIP",
        )
    try:
        with fail_fast_offline(), trusted_certificates():
            config = open_clip.pretrained.download_pretrained_from_hf(
                repository, filename=CONFIG_FILE
            )
            if pretrained:
                # open_clip itself goes on with random weights where it cannot have them.
                open_clip.pretrained.download_pretrained_from_hf(repository)
    except OSError as error:
        raise offline_error(
            request.full_name, repository, hub_cache(), error, instead=IN_A_FOLDER
        ) from error
    return _described(open_clip, request, Path(config), unnamed=request.full_name)


IN_A_FOLDER = (
    f"open_clip:{FOLDER}FOLDER   (its {CONFIG_FILE} and {WEIGHT_FILES[0]}, downloaded elsewhere)"
)


def _of_folder(open_clip: ModuleType, request: Request, *, pretrained: bool) -> ClipSource:
    folder = Path(request.name.removeprefix(FOLDER))
    config = folder / CONFIG_FILE
    if not config.is_file():
        raise ConfigError(
            f"there is no {CONFIG_FILE} in it",
            where=str(folder),
            fix=f"a folder with {CONFIG_FILE} and {WEIGHT_FILES[0]}",
        )
    weights = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    if pretrained and not weights:
        raise WeightsError(
            f"there is neither {' nor '.join(WEIGHT_FILES)} in it",
            where=str(folder),
            details=sorted(file.name for file in folder.iterdir())[:100],
            fix="save its weights as safetensors: a pickle of somebody else may run code",
        )
    for file in weights[:1]:
        check_fits_in_memory(read_tensor_header(file), file)
    return _described(open_clip, request, config, unnamed=None)


def _described(
    open_clip: ModuleType, request: Request, file: Path, *, unnamed: str | None
) -> ClipSource:
    """The model of a configuration file; `unnamed` names it where open_clip has no name for it."""
    try:
        written = read_json(file, most_bytes=_CONFIG_BYTES)
    except (DamagedFileError, LocationError) as error:
        raise ConfigError(f"is no configuration: {error.what}", where=str(file)) from error
    config = written.get("model_cfg") if isinstance(written, dict) else None
    if not isinstance(config, dict) or any(key not in config for key in _SECTIONS):
        raise ConfigError(
            f"is no configuration of open_clip: it needs model_cfg with {', '.join(_SECTIONS)}",
            where=str(file),
        )
    _refuse_random_words(config, file)
    preprocess = dict(written.get("preprocess_cfg") or {})
    preprocess.pop("size", None)  # the image encoder's own
    twin = _built_in_twin(open_clip, config)
    if twin is not None:
        name = f"open_clip:{twin}"
    elif unnamed is not None:
        name = unnamed
    else:
        name = f"open_clip:config-{sha256_json(config)[:12]}"
    return ClipSource(
        request.name,
        "",
        name,
        rebuilds=twin is not None,
        config=deepcopy(config),
        published=preprocess,
        origin=request.name.partition(":")[2],
    )


def _refuse_random_words(config: Mapping[str, Any], file: Path) -> None:
    text = config["text_cfg"]
    options = text.get("tokenizer_kwargs") if isinstance(text, dict) else None
    if isinstance(options, dict) and options.get("reduction_mask"):
        raise ConfigError(
            "its tokenizer leaves words out at random (reduction_mask): a text would have another "
            "vector each time",
            where=str(file),
            fix="remove reduction_mask from tokenizer_kwargs",
        )


def _built_in_twin(open_clip: ModuleType, config: Mapping[str, Any]) -> str | None:
    """The architecture of open_clip's list whose image encoder is the same, if there is one."""
    wanted = _image_encoder(open_clip, config)
    if wanted is None:
        return None
    for name in open_clip.list_models():
        if _image_encoder(open_clip, open_clip.get_model_config(name)) == wanted:
            return str(name)
    return None


def _image_encoder(open_clip: ModuleType, config: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What an image encoder is built from; None where open_clip does not know a setting."""
    try:
        vision = open_clip.CLIPVisionCfg(**config["vision_cfg"] | {"timm_model_pretrained": False})
    except TypeError:
        return None
    return config["embed_dim"], bool(config.get("quick_gelu")), vision


def _published(
    open_clip: ModuleType, architecture: str, tag: str, *, pretrained: bool
) -> dict[str, Any]:
    """What open_clip knows of the tag's weights; empty without a tag.

    Raises:
        ConfigError: There is no such tag, or none although pretrained weights are wanted.
    """
    published: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    if (pretrained or tag) and not published:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        raise ConfigError(
            f"{architecture} has no weights {tag!r}"
            if tag
            else f"{architecture} needs the name of its weights",
            where="model.backbone",
            details=[f"open_clip:{architecture}/{known}" for known in tags],
            fix=f"--backbone open_clip:{architecture}/{tags[0] if tags else 'TAG'}",
        )
    return published
