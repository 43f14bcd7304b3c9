"""What a network costs and how much of the image it sees.

MACs are the multiply-adds of convolutions and matrix products (attention's two included); FLOPs
are twice that. Published tables mix the two up: here both are always given. Normalization,
activations and biases are left out of both, as is usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from shopsight.backbones.create import create_backbone
from shopsight.backbones.stages import Stages, stages_of
from shopsight.head_settings import HeadSettings
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.profiling.receptive_field import HEIGHT, MIXED, Reach, ReceptiveField
from shopsight.profiling.trace import Layer, Trace, trace

# Published costs count the classifier: ImageNet's, or Fashion-MNIST's for our small nets.
IMAGENET_CLASSES = 1000
FASHION_CLASSES = 10


@dataclass(frozen=True)
class StageProfile:
    """Attributes:
    name: the modules' common name; "stem", and "embedding" for the backbone's output.
    stride_px: input pixels between neighboring positions; None once positions are mixed.
    receptive_field: side of the input window, pixels, that one position sees; padding and the
        image's border not subtracted.
    """

    name: str
    stride_px: float | None
    receptive_field: ReceptiveField


@dataclass(frozen=True)
class Speed:
    """Attributes:
    latency_ms: median time of one batch.
    images_per_s: at that latency.
    """

    batch: int
    latency_ms: float
    images_per_s: float
    runs: int


@dataclass(frozen=True)
class Profile:
    """Cost of one network at one image size.

    Attributes:
        classes: outputs of the classifier that is counted in.
        macs: multiply-adds for one image.
        activation_bytes: what backward keeps of one image, in fp32; weights not included.
        stages: from input to output.
        rows: per layer, in order of execution.
        guessed: operations that the receptive field had no rule for, taken to mix everything.
        speeds: measured (`shopsight.profiling.speed`), one per batch size; may be empty.
        measured_on: by what, e.g. "torch on the CPU, bf16, 2 threads".
    """

    backbone: str
    size_px: int
    classes: int
    parameters: int
    macs: int
    activation_bytes: int
    stages: tuple[StageProfile, ...]
    rows: tuple[Layer, ...]
    guessed: tuple[str, ...]
    speeds: tuple[Speed, ...] = ()
    measured_on: str = ""

    @property
    def flops(self) -> int:
        """Floating-point operations for one image: a multiply-add is two."""
        return 2 * self.macs

    def speed(self, batch: int) -> Speed | None:
        """The measurement at a batch size, if it was made."""
        return next((speed for speed in self.speeds if speed.batch == batch), None)

    def timed(self, speeds: Sequence[Speed], *, measured_on: str) -> Profile:
        """The same with measurements."""
        return replace(self, speeds=tuple(speeds), measured_on=measured_on)

    def to_json(self) -> dict[str, Any]:
        """All attributes, with `flops`."""
        return asdict(self) | {"flops": self.flops}


def backbone_with_classifier(
    name: str, *, size_px: int | None = None, classes: int | None = None
) -> tuple[ProductModel, int]:
    """A backbone with random weights (cost needs no others) and a linear head; its classes.

    Args:
        size_px: None keeps the backbone's own.
        classes: None is 1000, as published costs count, or 10 for the `shopsight:` nets.

    Raises:
        ConfigError: no such backbone, or not at this size.
        ExtraMissingError: its library is not installed.
    """
    backbone = create_backbone(name, weights="random", size_px=size_px)
    if classes is None:
        classes = FASHION_CLASSES if name.startswith("shopsight:") else IMAGENET_CLASSES
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, classes=classes)
    return ProductModel(backbone.module, head, backbone.preprocess).eval(), classes


def profile_backbone(
    name: str, *, size_px: int | None = None, classes: int | None = None
) -> Profile:
    """Cost of a backbone with a linear classifier; see `backbone_with_classifier`."""
    model, classes = backbone_with_classifier(name, size_px=size_px, classes=classes)
    return profile_model(model, name=name, classes=classes)


def profile_model(model: ProductModel, *, name: str, classes: int) -> Profile:
    """Cost of a network, from uint8 images to logits, at its preprocessing's size."""
    size_px = model.preprocess.size_px
    image = torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8)
    image = image.to(next(model.parameters()).device)
    traced = trace(model, image)
    rows = tuple(_renamed(layer) for layer in traced.layers)
    return Profile(
        backbone=name,
        size_px=size_px,
        classes=classes,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(row.macs for row in rows),
        activation_bytes=kept_for_backward(model.eval(), image),
        stages=_stages(traced, stages_of(model.backbone)),
        rows=rows,
        guessed=traced.guessed,
    )


def _renamed(layer: Layer) -> Layer:
    """Without the "backbone." that every name would start with."""
    return Layer(**(vars(layer) | {"name": layer.name.removeprefix("backbone.") or "model"}))


def _stages(traced: Trace, stages: Stages) -> tuple[StageProfile, ...]:
    """The reach at the end of each stage.

    A stage ends with the last of its modules, and with the layers without parameters that follow
    (a ResNet's stem includes its max-pooling), but not with the pooling that makes it global.
    """
    owner: dict[str, set[int]] = {}
    for index, names in enumerate(stages):
        for name in names:
            parts = name.split(".")[:-1]
            for depth in range(1, len(parts) + 1):
                owner.setdefault(".".join(parts[:depth]), set()).add(index)
    reached: dict[int, Reach] = {}
    whole: dict[int, str] = {}
    last: int | None = None
    embedding: Reach | None = None
    for name, reach in traced.exits:
        if name == "backbone":
            embedding = reach
        if not name.startswith("backbone."):
            continue
        owners = owner.get(name.removeprefix("backbone."))
        if owners is not None and len(owners) == 1:
            (last,) = owners
            reached[last] = reach
            whole[last] = name.removeprefix("backbone.")
        elif owners is None and last is not None and reach.receptive_field != "global":
            reached[last] = reach
    out = [_stage(_stage_name(stages[i], i, whole[i]), reached[i]) for i in sorted(reached)]
    assert embedding is not None
    return (*out, _stage("embedding", embedding))


def _stage(name: str, reach: Reach) -> StageProfile:
    atoms = [atom for dim in reach.dims for atom in dim]
    strides = [atom.stride_px for atom in atoms if atom.axis == HEIGHT]
    mixed = any(atom.axis == MIXED for atom in atoms)
    return StageProfile(
        name, min(strides) if strides and not mixed else None, reach.receptive_field
    )


def _stage_name(parameters: tuple[str, ...], index: int, last_module: str) -> str:
    """The module that is the whole stage, or what its modules' names begin with."""
    paths = [name.split(".")[:-1] for name in parameters]
    common: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    if common[: last_module.count(".") + 1] == last_module.split("."):
        return last_module
    return ".".join(common) or ("stem" if index == 0 else "top")


def kept_for_backward(model: nn.Module, image: Tensor) -> int:
    """Bytes of activations that autograd keeps of `image` until backward, each storage once."""
    owned = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers(), image)}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        # The graph holds the kept tensors, so no address is used twice.
        output = model(image)
    del output
    return sum(kept.values())
