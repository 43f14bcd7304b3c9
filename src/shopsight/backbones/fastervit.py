"""`fastervit:NAME`: NVIDIA's networks, for non-commercial use."""

from __future__ import annotations

import importlib
import warnings

import torch

from shopsight.backbones.downloads import is_network_error, offline_error, torch_cache
from shopsight.backbones.preprocess_configs import timm_preprocess
from shopsight.backbones.spec import Backbone, Request, check_known, load_weight_file
from shopsight.backbones.stages import stages_of
from shopsight.backbones.weights import StateDict, load_state_dict_strict
from shopsight.errors import ConfigError
from shopsight.extras import require
from shopsight.files import make_folder
from shopsight.io.weights import read_weights
from shopsight.progress import notify
from shopsight.runtime import trusted_certificates


def fastervit_backbone(request: Request) -> Backbone:
    """Build one of the FasterViT networks; see `shopsight.backbones.create`."""
    with warnings.catch_warnings():
        # It imports timm by paths that timm has since renamed, and registers its names again.
        warnings.simplefilter("ignore")
        require("fastervit")
        models = importlib.import_module("fastervit.models.faster_vit")
        registry = importlib.import_module("fastervit.models.registry")
    known = [name for name in registry.list_models() if "any_res" not in name]
    check_known(request.name, known, request)
    notify(f"{request.full_name}: NVIDIA Source Code License-NC, for non-commercial use only")
    config = models.default_cfgs[request.name]
    own_size_px = config["input_size"][-1]
    if request.size_px not in (None, own_size_px):
        raise ConfigError(
            f"{request.full_name} takes images of {own_size_px} px only "
            f"(requested: {request.size_px})",
            where="preprocess.size_px",
            fix=f"--set preprocess.size_px={own_size_px}",
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")
        module = registry.model_entrypoint(request.name)(
            pretrained=False, num_classes=0, drop_path_rate=request.drop_path
        )
    if request.weights == "pretrained":
        state = _download(request, config["url"])
        load_state_dict_strict(module, state, where=config["url"], exclude=("head",))
        loaded = f"pretrained: {config['url']}"
    else:
        loaded = load_weight_file(module, request, classifier=("head",))
    preprocess = timm_preprocess(config, size_px=request.size_px)
    embedding_dim = module.norm.weight.numel()
    return Backbone(request.full_name, module, embedding_dim, preprocess, stages_of(module), loaded)


def _download(request: Request, url: str) -> StateDict:
    path = torch_cache() / url.rpartition("/")[2]
    if not path.is_file():
        make_folder(path.parent)
        try:
            with trusted_certificates():
                torch.hub.download_url_to_file(url, str(path), progress=False)
        except Exception as error:
            if is_network_error(error):
                raise offline_error(request.full_name, url, path.parent, error) from error
            raise
    return read_weights(path)
