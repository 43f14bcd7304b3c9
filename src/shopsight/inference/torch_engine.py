"""Run a network with torch."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from shopsight.bundle.format import Golden
from shopsight.devices import (
    computes_bf16,
    copy_to_device,
    pick_device,
    supports_channels_last,
)
from shopsight.inference.engine import EnginePrecision, PrecisionChoice
from shopsight.inference.fuse_batchnorm import fuse_batchnorm
from shopsight.inference.golden import verify_golden
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.progress import notify


class TorchEngine:
    """A network on one device, for inference.

    The engine takes the network over: it is moved to the device and set to eval mode. Weights stay
    fp32. In "bf16" the backbone is autocast and the head is not: logits rounded to eight bits
    would tie. BatchNorms are folded into the convolutions before them, in copies, so that later
    changes of the network's weights have no effect.

    Args:
        model: The network.
        device: Its name, see `shopsight.devices`.
        precision: "auto" is bf16 where the machine multiplies in it, else 32.

    Attributes:
        device: Where the network is.
        model: The network with folded BatchNorms.

    Raises:
        ConfigError: No such device.
    """

    def __init__(
        self,
        model: ProductModel,
        *,
        device: str = "auto",
        precision: PrecisionChoice = "auto",
    ) -> None:
        self.device = pick_device(device)
        if precision == "auto":
            precision = "bf16" if computes_bf16(self.device) else "32"
        self._bf16 = precision == "bf16"
        model = model.to(self.device).eval()
        backbone = fuse_batchnorm(model.backbone, size_px=model.preprocess.size_px)
        self.model = ProductModel(backbone, model.head, model.preprocess, tta_hflip=model.tta_hflip)
        self.model.to(self.device).eval()
        if supports_channels_last(self.device):
            self.model.to(memory_format=torch.channels_last)

    def at(self, precision: Literal["32", "bf16"]) -> TorchEngine:
        """The same network on the same device, computing in another precision."""
        other = copy.copy(self)
        other._bf16 = precision == "bf16"
        return other

    @property
    def precision(self) -> EnginePrecision:
        """Number format of the backbone's multiplications."""
        if self._bf16:
            return "bf16"
        # cuDNN's fp32 convolutions round their inputs to ten bits unless that is switched off.
        tf32 = self.device.type == "cuda" and torch.backends.cudnn.allow_tf32
        return "tf32" if tf32 else "32"

    @property
    def name(self) -> str:
        """For example "torch on cpu, 32"."""
        return f"torch on {self.device.type}, {self.precision}"

    @torch.inference_mode()
    def run(
        self, images: UInt8[np.ndarray, "b s s 3"]
    ) -> tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]:
        """Compute embeddings and logits of a batch of prepared images."""
        pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
        with self._autocast():
            embedding = self.model.embed(copy_to_device(pixels, self.device))
        embedding = embedding.float()
        logits = self.model.classify(embedding)
        return embedding.cpu().numpy(), logits.cpu().numpy()

    @torch.inference_mode()
    def classify(self, embeddings: Float32[np.ndarray, "b w"]) -> Float32[np.ndarray, "b c"]:
        """Compute the logits of embeddings that `run` gave."""
        logits = self.model.classify(torch.from_numpy(embeddings).to(self.device))
        return logits.cpu().numpy()

    def _autocast(self) -> AbstractContextManager[None]:
        if self._bf16:
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


def reference_engine(model: ProductModel) -> TorchEngine:
    """An engine for golden outputs: a copy of the network in fp32 on the CPU."""
    return TorchEngine(copy.deepcopy(model).float(), device="cpu", precision="32")


def fastest_faithful(exact: TorchEngine, golden: Golden, preprocess: Preprocess) -> TorchEngine:
    """Find the engine that `shopsight.load` uses for a network on this machine.

    Args:
        exact: The network in fp32.
        golden: The network's golden outputs.
        preprocess: How an image becomes the network's input.

    Returns:
        The engine in bf16 where the machine multiplies in it and the golden outputs stay within
        their tolerance, else `exact`.
    """
    if not computes_bf16(exact.device):
        return exact
    fast = exact.at("bf16")
    found = verify_golden(fast, golden, preprocess)
    if found.ok:
        return fast
    # Rounding to bf16 ruins some networks: run those in fp32.
    notify(f"{found.line()}: running in fp32")
    return exact
