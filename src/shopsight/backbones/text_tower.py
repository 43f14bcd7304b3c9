"""The text encoder of a CLIP model with the tokenizer that it was trained with.

Most of open_clip's text encoders are one network, its text transformer, which CLIP's own class
holds in pieces and later ones as a part. Here it is that network alone either way: a bundle builds
it again from its settings, and the hash of its tensors does not depend on where they came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from pydantic import ValidationError
from torch import Tensor, nn

from shopsight.backbones.clip_sources import ClipSource
from shopsight.backbones.kept_tokenizer import kept_tokenizer
from shopsight.backbones.weights import check_shapes, load_state_dict_strict, only_shapes, shapes_of
from shopsight.bundle.fingerprint import tensors_sha256
from shopsight.bundle.format import Bundle
from shopsight.bundle.read import read_tensors, read_tokenizer, stored_tensors
from shopsight.bundle.text_info import (
    TEXT_WEIGHTS_FILE,
    TOKENIZER_FILE,
    TextInfo,
    TextNetwork,
    TextPart,
)
from shopsight.bundle.tokenizer import (
    GOLDEN_TOLERANCE,
    SAMPLE_TEXTS,
    KeptTokenizer,
    tokenizer_sha256,
)
from shopsight.errors import BundleError, WeightsError
from shopsight.extras import require
from shopsight.progress import notify
from shopsight.unit_vectors import unit_vectors

Tokenize = Callable[[Sequence[str]], Int64[np.ndarray, "b t"]]


@dataclass(frozen=True, eq=False)
class TextTower:
    """A text encoder and its tokenizer.

    Attributes:
        name: of the architecture, with its library.
        module: from ids of tokens, "b t", to "b embedding_dim"; in eval mode.
        embedding_dim: numbers in an embedding.
        tokenize: from texts to ids, each cut or padded to the encoder's length.
        logit_scale: what cosines of images and texts are multiplied by, as it was trained.
        logit_bias: what is then added, where it was trained by a sigmoid loss; else None.
        sha256: of the encoder's tensors, of the vocabulary, and of ids of sample texts.
        network: what builds it again; None where nothing does without files of somebody else's.
    """

    name: str
    module: nn.Module
    embedding_dim: int
    tokenize: Tokenize
    logit_scale: float
    sha256: str
    network: TextNetwork | None
    logit_bias: float | None = None


def open_tokenizer(open_clip: ModuleType, source: ClipSource) -> Any:
    """The tokenizer of a model, from open_clip's wheel, the hub's cache, or the model's folder.

    Raises:
        ExtraMissingError: it is one of `transformers`, which is not installed.
        OSError: its files are not at hand.
    """
    options: dict[str, Any] = {}
    if source.config["text_cfg"].get("hf_tokenizer_name"):
        require("transformers")
        # A configuration may ask to run code of its repository; this overrules it.
        options["trust_remote_code"] = False
    return open_clip.get_tokenizer(source.model, **options)


def text_tower(open_clip: ModuleType, clip: Any, tokenizer: Any, source: ClipSource) -> TextTower:
    """Take the text encoder out of a CLIP model, which is of no use afterwards.

    Args:
        open_clip: the library.
        clip: a model of it.
        tokenizer: its own.
        source: where the model comes from.
    """
    network = _settings(open_clip, source)
    if network is None:
        module: Any = clip.text
    else:
        module = _new_network(open_clip, network)
        # The model's own tensors, not copies of them.
        module.load_state_dict(_pieces(clip, module), assign=True)
    if hasattr(module, "output_tokens"):
        # CoCa's gives its tokens beside the embedding, for its decoder of captions.
        module.output_tokens = False
    tokenize = kept_tokenizer(tokenizer) or _LibraryTokenizer(tokenizer)
    return TextTower(
        source.name,
        module.eval(),
        source.config["embed_dim"],
        tokenize,
        float(clip.logit_scale.detach().exp().max()),
        _sha256(module, tokenize),
        network,
        None if clip.logit_bias is None else float(clip.logit_bias.detach().mean()),
    )


def new_tower(
    open_clip: ModuleType,
    network: TextNetwork,
    tokenizer: KeptTokenizer,
    *,
    name: str,
    logit_scale: float,
) -> TextTower:
    """A text encoder with random weights.

    Args:
        open_clip: the library.
        network: what is built.
        tokenizer: of its input.
        name: of the architecture.
        logit_scale: that its training begins with.
    """
    module = _new_network(open_clip, network).eval()
    digest = _sha256(module, tokenizer)
    return TextTower(name, module, network.embed_dim, tokenizer, logit_scale, digest, network)


def retrained(tower: TextTower, module: nn.Module, *, logit_scale: float) -> TextTower:
    """The tower with other weights.

    Args:
        tower: what it was before.
        module: its network after a training; moved to the CPU.
        logit_scale: as trained.
    """
    assert isinstance(tower.tokenize, KeptTokenizer | _LibraryTokenizer)
    module = module.cpu().eval()
    digest = _sha256(module, tower.tokenize)
    return replace(tower, module=module, logit_scale=logit_scale, sha256=digest)


def bundle_part(tower: TextTower | None) -> TextPart | None:
    """A text encoder as a bundle holds it.

    Args:
        tower: on the CPU; None where there is none.

    Returns:
        None also where no bundle can hold it, which is said.
    """
    if tower is None:
        return None
    if tower.network is None or not isinstance(tower.tokenize, KeptTokenizer):
        notify(f"the bundle is without {tower.name}'s text encoder, which needs files of others")
        return None
    info = TextInfo(
        name=tower.name,
        network=tower.network,
        tokenizer=tower.tokenize.info,
        logit_scale=tower.logit_scale,
        text_sha256=tower.sha256,
    )
    return TextPart(info, _arrays(tower.module), tower.tokenize.definition, _sample_vectors(tower))


def bundled_tower(bundle: Bundle) -> TextTower | None:
    """Build the text encoder of a bundle again, with its weights; nothing is downloaded.

    Returns:
        None where the bundle has none.

    Raises:
        BundleError: its files do not go together.
        ExtraMissingError: a library is not installed.
    """
    info, golden, folder = bundle.info.text, bundle.golden.texts, bundle.folder
    if info is None or golden is None:
        return None
    open_clip = require("open_clip")
    where = str(folder / TEXT_WEIGHTS_FILE)
    stored = stored_tensors(folder, TEXT_WEIGHTS_FILE)
    try:
        # A few bytes of settings can ask for a network of any size: first its shapes alone.
        with only_shapes():
            wanted = shapes_of(_new_network(open_clip, info.network).state_dict())
        check_shapes({name: one.shape for name, one in stored.items()}, wanted, where=where)
        module = _new_network(open_clip, info.network).eval()
        tensors = read_tensors(folder, TEXT_WEIGHTS_FILE)
        load_state_dict_strict(
            module, {name: torch.from_numpy(array) for name, array in tensors.items()}, where=where
        )
    except WeightsError as error:
        raise _does_not_fit(info.name, where, error.details) from error
    tokenizer = KeptTokenizer(
        read_tokenizer(folder, info.tokenizer), info.tokenizer, where=str(folder / TOKENIZER_FILE)
    )
    digest = _sha256(module, tokenizer)
    network = info.network
    tower = TextTower(
        info.name, module, network.embed_dim, tokenizer, info.logit_scale, digest, network
    )
    if digest != info.text_sha256:
        raise _does_not_fit(
            info.name, where, [f"{digest[:12]}... is here, {info.text_sha256[:12]}... was written"]
        )
    moved = float(np.abs(unit_vectors(_sample_vectors(tower)) - unit_vectors(golden)).max())
    if not moved <= GOLDEN_TOLERANCE:
        raise _does_not_fit(info.name, where, [f"vectors of sample texts differ by {moved:.2g}"])
    return tower


def _does_not_fit(name: str, where: str, details: Sequence[str]) -> BundleError:
    return BundleError(
        f"the files of the text encoder are not those of {name}, as model.json has it",
        where=where,
        details=details,
        fix="copy the bundle again from where it was made",
    )


def _settings(open_clip: ModuleType, source: ClipSource) -> TextNetwork | None:
    """What builds a model's text encoder; None where open_clip asks `transformers` for it."""
    config = asdict(open_clip.CLIPTextCfg(**source.config["text_cfg"]))
    if config["hf_model_name"]:
        return None
    known = {name: value for name, value in config.items() if name in TextNetwork.model_fields}
    try:
        return TextNetwork(
            embed_dim=source.config["embed_dim"], quick_gelu=source.quick_gelu, **known
        )
    except ValidationError:
        return None


def _new_network(open_clip: ModuleType, network: TextNetwork) -> nn.Module:
    """The text transformer with random weights."""
    settings = network.model_dump()
    embed_dim, quick_gelu = settings.pop("embed_dim"), settings.pop("quick_gelu")
    module: nn.Module = open_clip.model._build_text_tower(embed_dim, settings, quick_gelu)
    return module


def _pieces(clip: Any, module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model's text encoder, which is a part of it, or whose parts are."""
    state: dict[str, Tensor] = (clip.text if hasattr(clip, "text") else clip).state_dict()
    return {name: state[name] for name in module.state_dict()}


def _arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}


@torch.inference_mode()
def _sample_vectors(tower: TextTower) -> Float32[np.ndarray, "k d"]:
    found: Tensor = tower.module(torch.from_numpy(tower.tokenize(SAMPLE_TEXTS)))
    return found.float().numpy()


def _sha256(module: nn.Module, tokenizer: KeptTokenizer | _LibraryTokenizer) -> str:
    """Hash what becomes of texts: the encoder's tensors, and what the tokenizer does."""
    digest = sha256(f"{tensors_sha256(_arrays(module))} {tokenizer.sha256}".encode())
    return digest.hexdigest()


class _LibraryTokenizer:
    """A tokenizer of open_clip's that no file can hold."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> Int64[np.ndarray, "b t"]:
        ids: np.ndarray = self._tokenizer(list(texts)).numpy()
        return ids

    @property
    def sha256(self) -> str:
        """As that of `KeptTokenizer`."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        vocabulary = self._tokenizer.encoder if inner is None else inner.get_vocab()
        return tokenizer_sha256(vocabulary, self(SAMPLE_TEXTS))
