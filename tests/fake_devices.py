"""CUDA and MPS without a GPU: real training code on tensors that have a device and no values.

torch's `FakeTensorMode` computes shapes and devices only. Within it a network can be "moved to
CUDA" where there is none, and an operation on tensors of two devices is the error that it would be
on a GPU. `CudaRules` adds what a GPU would not call an error but would pay for: within a step,
nothing may wait for the device.

For MPS it is the other way around: under `mps_rules` the CPU computes real values, is taken for
MPS by `shopsight.devices`, and what MPS lacks is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shopsight import devices
from shopsight.inference.torch_engine import TorchEngine
from shopsight.training.module import ClassifierTraining

CUDA = torch.device("cuda", 0)
_aten = torch.ops.aten


class WaitsForDeviceError(AssertionError):
    """Something in a step would make the CPU wait for the GPU."""


class CudaRules(TorchDispatchMode):
    """Refuses what waits for the device while `in_step`; gives 1 for every number read elsewhere.

    Attributes:
        in_step: whether a step is under way.
        copies: copies to the device within steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_step = False
        self.copies = 0
        self._pinned: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Check one operation, and have it done."""
        kwargs = kwargs or {}
        if func is _aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            if self.in_step and args[0].device == CUDA:
                raise WaitsForDeviceError(f"a number is read from {args[0].device}")
            return {torch.bool: True, torch.int64: 1}.get(args[0].dtype, 1.0)
        if func is _aten._fused_sgd_.default:
            # torch has no rule for shapes of this one.
            assert {tensor.device for tensor in args[0] + args[1] + args[2]} == {CUDA}
            return None
        if self.in_step:
            if func is _aten._to_copy.default:
                source, target = args[0], kwargs.get("device") or args[0].device
                self._check_copy(source, target, bool(kwargs.get("non_blocking")))
            elif func is _aten.copy_.default:
                self._check_copy(args[1], args[0].device, len(args) > 2 and bool(args[2]))
        return func(*args, **kwargs)

    def _check_copy(self, source: Tensor, target: torch.device, non_blocking: bool) -> None:
        if source.device.type == target.type:
            return
        self.copies += 1
        if not (non_blocking and self.is_pinned(source)):
            raise WaitsForDeviceError(f"a copy from {source.device} to {target}")

    @contextmanager
    def step(self) -> Iterator[None]:
        """A part of a step."""
        self.in_step = True
        try:
            yield
        finally:
            self.in_step = False

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether `pin_memory` was called on the tensor, or on another one of its storage."""
        return tensor.untyped_storage()._cdata in self._pinned

    def pin(self, tensor: Tensor) -> Tensor:
        """Note the tensor's storage as page-locked."""
        self._pinned.add(tensor.untyped_storage()._cdata)
        return tensor


def _backward(loss: Tensor, *_: Any, **__: Any) -> None:
    """In place of `Tensor.backward`, whose engine starts a thread that needs a real GPU.

    Each leaf of the graph gets a gradient of its shape, on its device.
    """
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaf.grad = torch.zeros_like(leaf)
        waiting += [before for before, _ in node.next_functions]


class _Steps(Callback):
    """Tells the rules when a step begins and ends."""

    def __init__(self, rules: CudaRules) -> None:
        self.rules = rules
        self.count = 0

    def on_train_batch_start(self, *_: Any) -> None:
        self.rules.in_step = True

    def on_train_batch_end(self, *_: Any) -> None:
        self.rules.in_step = False
        self.count += 1

    on_validation_batch_start = on_train_batch_start
    on_validation_batch_end = on_train_batch_end


class _FakeCudaAccelerator(CUDAAccelerator):
    def setup_device(self, device: torch.device) -> None:
        pass

    def setup(self, trainer: Trainer) -> None:
        pass

    def teardown(self) -> None:
        pass

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def parse_devices(_devices: Any) -> list[int]:
        return [0]


class _FakeCudaStrategy(SingleDeviceStrategy):
    def teardown(self) -> None:
        """Leave the network where it is: fake tensors that are in use cannot be moved back."""


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaRules]:
    """Within the block tensors can be on CUDA: they have shapes and devices, and no values.

    Real tensors on the CPU may go in: parameters of a network, batches of the loader.
    """
    rules = CudaRules()

    # Functions become methods of a class; methods of another object do not.
    def pin_memory(tensor: Tensor) -> Tensor:
        return rules.pin(tensor)

    def is_pinned(tensor: Tensor) -> bool:
        return rules.is_pinned(tensor)

    with monkeypatch.context() as patched:
        patched.setattr(Tensor, "pin_memory", pin_memory)
        patched.setattr(Tensor, "is_pinned", is_pinned)
        patched.setattr(Tensor, "backward", _backward)
        # Else autocast is off, as it is where there is no GPU.
        patched.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patched.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
        patched.setattr(torch.cuda, "synchronize", lambda _device=None: None)
        patched.setattr(torch.cuda, "get_rng_state", lambda _device=None: torch.get_rng_state())
        with FakeTensorMode(allow_non_fake_inputs=True), rules:
            yield rules


def fit_on_fake_cuda(
    module: LightningModule,
    rules: CudaRules,
    monkeypatch: pytest.MonkeyPatch,
    *,
    epochs: int = 1,
    **settings: Any,
) -> int:
    """Lightning's loops over `module` on the device of `fake_cuda`; gives the number of steps."""
    steps = _Steps(rules)
    transfer = module.transfer_batch_to_device

    def transferred(*args: Any) -> Any:
        with rules.step():
            return transfer(*args)

    # Lightning moves a batch before it says that the step begins.
    monkeypatch.setattr(module, "transfer_batch_to_device", transferred)
    trainer = Trainer(
        accelerator=_FakeCudaAccelerator(),
        strategy=_FakeCudaStrategy(device=CUDA),
        devices=1,
        max_epochs=epochs,
        callbacks=[steps],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **settings,
    )
    trainer.fit(module)
    return steps.count


class BreaksMpsError(AssertionError):
    """Something that MPS does not have, or gets wrong."""


class MpsRules(TorchDispatchMode):
    """Refuses float64, channels last, and copies that are not waited for.

    Attributes:
        operations: how many were checked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Do one operation, and check it."""
        kwargs = kwargs or {}
        self.operations += 1
        if kwargs.get("non_blocking") or (func is _aten.copy_.default and True in args[2:]):
            raise BreaksMpsError(f"{func} does not wait for its copy")
        result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                _check_for_mps(func, tensor)
        return result


def _check_for_mps(func: Any, tensor: Tensor) -> None:
    if tensor.dtype == torch.float64:
        raise BreaksMpsError(f"{func} gives float64")
    if tensor.ndim == 4 and tensor.is_floating_point():
        last = tensor.is_contiguous(memory_format=torch.channels_last)
        if last and not tensor.is_contiguous():
            raise BreaksMpsError(f"{func} gives channels last: {tuple(tensor.shape)}")


# What runs on the device: everything else is free to compute in float64 on the host.
_ON_DEVICE = (
    (ClassifierTraining, "on_fit_start"),
    (ClassifierTraining, "configure_optimizers"),
    (ClassifierTraining, "transfer_batch_to_device"),
    (ClassifierTraining, "on_train_epoch_start"),
    (ClassifierTraining, "training_step"),
    (ClassifierTraining, "optimizer_step"),
    (ClassifierTraining, "on_validation_epoch_start"),
    (ClassifierTraining, "validation_step"),
    (ClassifierTraining, "on_validation_epoch_end"),
    (ClassifierTraining, "on_train_epoch_end"),
    (TorchEngine, "run"),
    (TorchEngine, "classify"),
)


@contextmanager
def mps_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[MpsRules]:
    """Within the block the CPU is taken for MPS, and what MPS lacks is refused."""
    rules = MpsRules()

    def ruled(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            with rules:
                return method(*args, **kwargs)

        return checked

    with monkeypatch.context() as patched:
        patched.setattr(devices, "is_mps", lambda _device: True)
        for owner, name in _ON_DEVICE:
            patched.setattr(owner, name, ruled(getattr(owner, name)))
        yield rules
