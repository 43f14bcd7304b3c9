"""What a network costs and how much of the image it sees.

MACs are the multiply-adds of convolutions and matrix products, with the two products of attention;
FLOPs are twice that. Published tables often confuse the two, so both are always given.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_hook

from shopsight.backbones.create import create_backbone
from shopsight.backbones.stages import Stages, stages_of
from shopsight.head_settings import HeadSettings
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.profiling.macs import macs_by_module
from shopsight.profiling.receptive_field import Reach, ReceptiveField, ReceptiveFields

# Published costs count the classifier: ImageNet's, or Fashion-MNIST's for our small nets.
IMAGENET_CLASSES = 1000
FASHION_CLASSES = 10
LATENCY_BATCH, THROUGHPUT_BATCH = 1, 32
"""Batch sizes at which the time of one image, and of many, is measured."""


@dataclass(frozen=True)
class StageProfile:
    """What a position at the end of a stage sees.

    Attributes:
        name: the modules' common name, or "stem", or "top"; "embedding" for the backbone's output.
        stride_px: input pixels between neighboring positions; None where there are no positions, or
            none that could be distinguished.
        receptive_field: side of the window of input pixels that one position depends on; padding
            and what lies beyond the image's border are not subtracted. "global" where the positions
            of a whole axis were combined. None if the stage does not depend on the image.
    """

    name: str
    stride_px: float | None
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class LayerProfile:
    """What one module does by itself; the modules that it calls are left out.

    Attributes:
        name: of the module; "model" for the whole network.
        kind: name of its class.
        shape: of its last output; empty if that is not one tensor.
        parameters: its own.
        macs: its own.
        output_bytes: of its output, in fp32.
        receptive_field: side, in input pixels, of the window that an output element depends on;
            None if the output is not one tensor or does not depend on the image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    output_bytes: int
    receptive_field: ReceptiveField | None


@dataclass(frozen=True)
class Speed:
    """How fast one batch size runs.

    Attributes:
        batch: images a batch.
        latency_ms: median time of one batch.
        images_per_s: throughput at that latency.
        runs: number of batches that were timed.
    """

    batch: int
    latency_ms: float
    images_per_s: float
    runs: int


@dataclass(frozen=True)
class Profile:
    """Cost of one network at one image size.

    Attributes:
        backbone: name of the network.
        size_px: side of the image.
        num_classes: outputs of the classifier, which is counted in.
        parameters: with those of the classifier.
        macs: multiply-adds for one image.
        activation_bytes: what the backward pass of one image needs, in fp32, without weights.
        stages: from input to output.
        rows: layers, in the order of execution.
        unknown_functions: functions of torch that the receptive field has no rule for; their
            results are taken to be global, which is an upper bound.
        speeds: measured (`shopsight.profiling.speed`), one per batch size; may be empty.
        measured_on: by what, e.g. "torch on the CPU, bf16, 2 threads".
    """

    backbone: str
    size_px: int
    num_classes: int
    parameters: int
    macs: int
    activation_bytes: int
    stages: tuple[StageProfile, ...]
    rows: tuple[LayerProfile, ...]
    unknown_functions: tuple[str, ...]
    speeds: tuple[Speed, ...] = ()
    measured_on: str = ""

    @property
    def flops(self) -> int:
        """Floating-point operations for one image: a multiply-add is two."""
        return 2 * self.macs

    def speed(self, batch: int) -> Speed | None:
        """The measurement at a batch size, if it was made."""
        return next((speed for speed in self.speeds if speed.batch == batch), None)

    @property
    def latency_ms(self) -> float | None:
        """Median milliseconds for one image, if that was measured."""
        found = self.speed(LATENCY_BATCH)
        return None if found is None else found.latency_ms

    @property
    def images_per_s(self) -> float | None:
        """Throughput in batches of `THROUGHPUT_BATCH`, if that was measured."""
        found = self.speed(THROUGHPUT_BATCH)
        return None if found is None else found.images_per_s

    def timed(self, speeds: Sequence[Speed], *, measured_on: str) -> Profile:
        """The same with measurements."""
        return replace(self, speeds=tuple(speeds), measured_on=measured_on)

    def to_json(self) -> dict[str, Any]:
        """All attributes, with `flops`."""
        return asdict(self) | {"flops": self.flops}


def backbone_with_classifier(
    name: str, *, size_px: int | None = None, num_classes: int | None = None
) -> tuple[ProductModel, int]:
    """Create a backbone with random weights, which suffice for its cost, and a linear head.

    Args:
        name: of the backbone, e.g. "timm:resnet18".
        size_px: side of the image; None keeps the backbone's own.
        num_classes: None is 1000, as published costs count, or 10 for the `shopsight:` nets.

    Returns:
        The network in eval mode, and its number of classes.

    Raises:
        ConfigError: no such backbone, or not at this size.
        ExtraMissingError: its library is not installed.
    """
    backbone = create_backbone(name, weights="random", size_px=size_px)
    if num_classes is None:
        num_classes = FASHION_CLASSES if name.startswith("shopsight:") else IMAGENET_CLASSES
    head = create_head(
        HeadSettings(), embedding_dim=backbone.embedding_dim, num_classes=num_classes
    )
    return ProductModel(backbone.module, head, backbone.preprocess).eval(), num_classes


def profile_model(model: ProductModel, *, name: str, num_classes: int) -> Profile:
    """Determine the cost of a network, from uint8 images to logits, at its own image size.

    Runs it twice on one image, and leaves it in eval mode.

    Args:
        model: the network.
        name: of the network, for `Profile.backbone`.
        num_classes: outputs of its head.
    """
    size_px = model.preprocess.size_px
    image = torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8)
    image = image.to(next(model.parameters()).device)
    model.eval()
    macs, outputs, unknown = _run_once(model, image)
    return Profile(
        backbone=name,
        size_px=size_px,
        num_classes=num_classes,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=sum(macs.values()),
        activation_bytes=kept_for_backward(model, image),
        stages=_stages(outputs, stages_of(model.backbone)),
        rows=_rows(model, macs, outputs),
        unknown_functions=tuple(sorted(unknown)),
    )


class _Output(NamedTuple):
    """The tensor that a module returned; its reach is None if it does not depend on the image."""

    name: str
    shape: tuple[int, ...]
    reach: Reach | None


def _run_once(model: nn.Module, image: Tensor) -> tuple[dict[str, int], list[_Output], set[str]]:
    """Run a network; its MACs, its outputs as the modules finish, functions without a rule."""
    names = {module: name for name, module in model.named_modules()}
    fields = ReceptiveFields(model, image)
    outputs: list[_Output] = []

    def record(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            reach = fields.reaches.get(output)
            outputs.append(_Output(names[module], tuple(output.shape), reach))

    finished = register_module_forward_hook(record)
    with torch.no_grad(), finished, fields, macs_by_module(model) as macs:
        model(image)
    return macs, outputs, fields.unknown


def _rows(
    model: nn.Module, macs: Mapping[str, int], outputs: Sequence[_Output]
) -> tuple[LayerProfile, ...]:
    """Modules that hold parameters, multiply or have no parts, in the order of execution."""
    modules = dict(model.named_modules())
    last_output = {output.name: output for output in outputs}
    parameters = _parameters_by_running_module(modules, macs)
    rows = []
    for name, own_macs in macs.items():
        module = modules[name]
        is_leaf = not any(module.children()) and not isinstance(module, nn.Identity)
        if not (is_leaf or own_macs or parameters[name]):
            continue
        _, shape, reach = last_output.get(name, _Output(name, (), None))
        rows.append(
            LayerProfile(
                name=name.removeprefix("backbone.") or "model",
                kind=type(module).__name__,
                shape=shape,
                parameters=parameters[name],
                macs=own_macs,
                output_bytes=4 * math.prod(shape) if shape else 0,
                receptive_field=reach.receptive_field if reach else None,
            )
        )
    return tuple(rows)


def _parameters_by_running_module(
    modules: Mapping[str, nn.Module], ran: Container[str]
) -> Counter[str]:
    """Count parameters by name of the module that used them.

    Some forward methods use the weights of a part without calling it: these count for the innermost
    module around the part that did run.
    """
    parameters: Counter[str] = Counter()
    for name, module in modules.items():
        user = name
        while user not in ran:
            user = user.rpartition(".")[0]
        parameters[user] += sum(p.numel() for p in module.parameters(recurse=False))
    return parameters


def _stages(outputs: Sequence[_Output], stages: Stages) -> tuple[StageProfile, ...]:
    """The receptive field at the end of each stage.

    A stage ends with the last of its modules, and with the layers without parameters that follow
    (a ResNet's stem includes its max-pooling), but not with the pooling that makes it global.
    """
    owner: dict[str, set[int]] = {}
    for index, names in enumerate(stages):
        for name in names:
            parts = name.split(".")[:-1]
            for depth in range(1, len(parts) + 1):
                owner.setdefault(".".join(parts[:depth]), set()).add(index)
    ends: dict[int, Reach] = {}
    last_module: dict[int, str] = {}
    last: int | None = None
    reaches = [(name, reach) for name, _, reach in outputs if reach is not None]
    for name, reach in reaches:
        if not name.startswith("backbone."):
            continue
        owners = owner.get(name.removeprefix("backbone."))
        if owners is not None and len(owners) == 1:
            (last,) = owners
            ends[last] = reach
            last_module[last] = name.removeprefix("backbone.")
        elif owners is None and last is not None and reach.receptive_field != "global":
            ends[last] = reach
    found = [(_stage_name(stages[i], i, last_module[i]), ends[i]) for i in sorted(ends)]
    found.append(("embedding", dict(reaches)["backbone"]))
    return tuple(
        StageProfile(name, reach.stride_px, reach.receptive_field) for name, reach in found
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


class _Kept:
    """The memory of one tensor that autograd keeps; lives as long as the graph needs the tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.storage = tensor.untyped_storage()


def kept_for_backward(model: nn.Module, image: Tensor) -> int:
    """Bytes of activations that autograd keeps for the backward pass of `image`.

    Each storage counts once; those of weights, buffers and the image do not.
    """
    own = [t.untyped_storage() for t in (*model.parameters(), *model.buffers(), image)]
    # Weak, because a forward method may drop a part of the graph, which frees its memory.
    alive: WeakSet[_Kept] = WeakSet()

    def keep(tensor: Tensor) -> _Kept:
        kept = _Kept(tensor)
        alive.add(kept)
        return kept

    def restore(_kept: _Kept) -> Tensor:
        raise AssertionError("no backward pass is run")

    with torch.enable_grad(), saved_tensors_hooks(keep, restore):
        output = model(image)
    sizes = {kept.storage.data_ptr(): kept.storage.nbytes() for kept in alive}
    del output
    for storage in own:
        sizes.pop(storage.data_ptr(), None)
    return sum(sizes.values())
