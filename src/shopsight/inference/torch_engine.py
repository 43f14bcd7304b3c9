"""Run a network with torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from shopsight.devices import (
    computes_bf16,
    computes_tf32,
    copies_from_pinned,
    copy_to_device,
    pick_device,
    supports_channels_last,
)
from shopsight.errors import ConfigError
from shopsight.inference.engine import EnginePrecision, Images, Outputs, PrecisionChoice
from shopsight.inference.fuse_batchnorm import fuse_batchnorm
from shopsight.inference.torch_class_activation import exact_activation
from shopsight.models.product_model import ProductModel
from shopsight.runtime import fp32_products

CUDA_BATCH_IMAGES = 256
"""Enough for every kernel to fill a large GPU; 39 MB of pixels at 224 px."""


class TorchEngine:
    """A network on one device, for inference.

    The engine takes the network over: it is moved to the device and set to eval mode. Weights stay
    fp32. In "bf16" the backbone is autocast, in "tf32" (on CUDA) its products are of inputs rounded
    to ten bits, in "32" nothing is rounded, whatever torch is set to. The head is always in fp32:
    logits rounded to eight bits would tie. BatchNorms are folded into the convolutions before
    them, in copies, so that later changes of the network's weights have no effect.

    Args:
        model: The network.
        device: Its name, see `shopsight.devices`.
        precision: "auto" is bf16 where the machine multiplies in it, else 32; which one a bundle
            bears, `shopsight.inference.pick_precision` finds out.

    Attributes:
        device: Where the network is.
        model: The network with folded BatchNorms.
        precision: Number format of the backbone's multiplications.

    Raises:
        ConfigError: No such device, or not this precision on it.
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
        self.precision: EnginePrecision = self._checked(precision)
        # On the CPU: whether folding is right is then decided alike for every device.
        model = model.to("cpu").eval()
        backbone = fuse_batchnorm(model.backbone, size_px=model.preprocess.size_px)
        self.model = ProductModel(backbone, model.head, model.preprocess, tta_hflip=model.tta_hflip)
        self.model.to(self.device).eval()
        self._copying: torch.cuda.Stream | None = None
        if supports_channels_last(self.device):
            self.model.to(memory_format=torch.channels_last)

    def at(self, precision: EnginePrecision) -> TorchEngine:
        """The same network on the same device, computing in another precision.

        Raises:
            ConfigError: Not this precision on this device.
        """
        other = copy.copy(self)
        other.precision = self._checked(precision)
        return other

    def with_head(self, head: nn.Module) -> TorchEngine:
        """The same backbone with another head, which this engine takes over."""
        other, model = copy.copy(self), self.model
        head = head.to(self.device).eval()
        other.model = ProductModel(
            model.backbone, head, model.preprocess, tta_hflip=model.tta_hflip
        ).eval()
        other.model.to(self.device)
        return other

    def _checked(self, precision: EnginePrecision) -> EnginePrecision:
        known = ("32", "tf32", "bf16") if computes_tf32(self.device) else ("32", "bf16")
        if precision not in known:
            raise ConfigError(
                f"{self.device.type} does not compute in {precision!r} here",
                where="precision",
                fix=f"one of {', '.join(('auto', *known))}",
            )
        return precision

    @property
    def name(self) -> str:
        """For example "torch on cpu, 32"."""
        return f"torch on {self.device.type}, {self.precision}"

    @property
    def batch_size(self) -> int | None:
        """Images that fill a GPU."""
        return CUDA_BATCH_IMAGES if self.device.type == "cuda" else None

    @property
    def most_begun(self) -> int:
        """Two on CUDA: one is copied there while the other one computes."""
        return 2 if self.device.type == "cuda" else 1

    @property
    def reads_pinned(self) -> bool:
        """On CUDA."""
        return copies_from_pinned(self.device)

    def run(self, images: Images) -> Outputs:
        """Compute embeddings and logits of a batch of prepared images."""
        if self.device.type == "cuda":
            return self.begin(images)()
        embedding, logits = self.compute(copy_to_device(_tensor(images), self.device))
        return embedding.cpu().numpy(), logits.cpu().numpy()

    def begin(self, images: Images) -> Callable[[], Outputs]:
        """Begin a batch; the result's call waits for it.

        On CUDA nothing here waits for the device: the images are copied by a stream of their own,
        from page-locked memory, while the batch before them computes. Elsewhere the batch is done
        when this returns.
        """
        if self.device.type != "cuda":
            outputs = self.run(images)
            return lambda: outputs
        pinned = _tensor(images)
        if not pinned.is_pinned():
            pinned = pinned.pin_memory()
        computing = torch.cuda.current_stream(self.device)
        if self._copying is None:
            self._copying = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._copying):
            pixels = copy_to_device(pinned, self.device)
        computing.wait_stream(self._copying)
        # The allocator may give the memory of `pixels` away only when this stream has read it.
        pixels.record_stream(computing)
        hosts = [_begin_copy_to_host(output) for output in self.compute(pixels)]
        # Blocking: a thread that waits leaves its core to those that decode.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record(computing)

        def outputs_when_done() -> Outputs:
            done.synchronize()
            assert pinned is not None  # held until its copy is over
            # Copied: views would keep page-locked memory for as long as a caller keeps them.
            embedding, logits = (host.numpy().copy() for host in hosts)
            return embedding, logits

        return outputs_when_done

    @torch.inference_mode()
    def compute(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and logits of uint8 pixels that are on the device, where they stay."""
        with self._rounding():
            embedding = self.model.embed(pixels)
        embedding = embedding.float()
        return embedding, self._logits(embedding)

    def class_activation(
        self, images: Images, labels: Int64[np.ndarray, "b"]
    ) -> Float32[np.ndarray, "b r c"] | None:
        """See `shopsight.inference.class_activation`; in fp32, whatever the precision."""
        pixels = copy_to_device(_tensor(images), self.device)
        with exact_products(self.device):
            maps = exact_activation(self.model, pixels, torch.from_numpy(labels).to(self.device))
        return None if maps is None else maps.cpu().numpy()

    def classify(self, embeddings: Float32[np.ndarray, "b w"]) -> Float32[np.ndarray, "b c"]:
        """Compute the logits of embeddings that `run` gave."""
        on_device = copy_to_device(torch.from_numpy(embeddings), self.device)
        return self._logits(on_device).cpu().numpy()

    @torch.inference_mode()
    def _logits(self, embedding: Tensor) -> Tensor:
        with exact_products(self.device):
            return self.model.classify(embedding)

    @contextmanager
    def _rounding(self) -> Iterator[None]:
        """The precision of the backbone."""
        if self.precision == "bf16":
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                yield
        elif self.precision == "tf32":
            with fp32_products("tf32"):
                yield
        else:
            with exact_products(self.device):
                yield


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """fp32 without rounding; the CPU rounds nothing unless it is asked to, and needs no turn."""
    if device.type != "cuda" and torch.get_float32_matmul_precision() == "highest":
        yield
    else:
        with fp32_products("ieee"):
            yield


def _tensor(images: Images) -> Tensor:
    """The images as a tensor that shares their memory, or that of a contiguous copy."""
    return torch.from_numpy(np.require(images, requirements=["C", "W"]))


def _begin_copy_to_host(tensor: Tensor) -> Tensor:
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def reference_engine(model: ProductModel) -> TorchEngine:
    """An engine for golden outputs: a copy of the network in fp32 on the CPU."""
    return TorchEngine(copy.deepcopy(model).float(), device="cpu", precision="32")
