"""The engine and the probe on a CUDA device that is only imitated: see `fake_devices`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import Tensor

from shopsight.backbones.create import create_backbone
from shopsight.config.model_settings import ProbeSettings
from shopsight.head_settings import HeadSettings
from shopsight.inference import torch_engine
from shopsight.inference.batches import run_batches
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.ensemble import EnsembleBackbone, EnsembleHead
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel
from shopsight.training import probe, standard_rows
from shopsight.training.probe import fit_probe
from tests.fake_devices import CUDA, CudaRules, fake_cuda

SIZE_PX, CLASSES = 28, 3


def network(*, kind: str = "linear", flip: bool = False, members: int = 1) -> ProductModel:
    parts = [
        create_backbone("shopsight:fashion_cnn", weights="random", size_px=SIZE_PX)
        for _ in range(members)
    ]
    width = parts[0].embedding_dim
    heads = [
        create_head(HeadSettings(kind=kind), embedding_dim=width, num_classes=CLASSES)  # type: ignore[arg-type]
        for _ in parts
    ]
    if members == 1:
        return ProductModel(parts[0].module, heads[0], parts[0].preprocess, tta_hflip=flip)
    return ProductModel(
        EnsembleBackbone([part.module for part in parts]),
        EnsembleHead(heads, multilabel=False),
        parts[0].preprocess,
        tta_hflip=flip,
    )


class Stream:
    """A stream that notes what waits for it."""

    waited_for: list[Stream]

    def __init__(self, *_: object) -> None:
        self.waited_for = []

    def wait_stream(self, other: Stream) -> None:
        self.waited_for.append(other)


class Event:
    """An event that counts how often somebody waited."""

    waits = 0

    def __init__(self, **_: object) -> None:
        pass

    def record(self, _stream: Stream) -> None:
        pass

    def synchronize(self) -> None:
        Event.waits += 1


@contextmanager
def imitated(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaRules]:
    """A CUDA device with streams and events."""
    Event.waits = 0
    computing = Stream()

    def copied_to_host(tensor: Tensor) -> Tensor:
        assert tensor.device == CUDA
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    def numbers(tensor: Tensor) -> np.ndarray:
        assert tensor.device.type == "cpu"
        return np.zeros(tuple(tensor.shape), np.float32)

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: computing)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    monkeypatch.setattr(Tensor, "record_stream", lambda _tensor, _stream: None)
    monkeypatch.setattr(torch_engine, "_begin_copy_to_host", copied_to_host)
    # An imitated tensor has no values to give to NumPy.
    monkeypatch.setattr(Tensor, "numpy", numbers)
    with fake_cuda(monkeypatch) as rules:
        yield rules


def moved(engine: TorchEngine, precision: str) -> TorchEngine:
    """The engine of a CPU, where folding was compared, on the imitated device."""
    engine.device = CUDA
    engine.precision = precision  # type: ignore[assignment]
    engine.model.to(CUDA)
    return engine


@pytest.mark.parametrize("precision", ["32", "tf32", "bf16"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"flip": True}, {"kind": "mlp"}, {"kind": "cosine"}, {"members": 2, "flip": True}],
    ids=["linear", "mirrored", "mlp", "cosine", "ensemble"],
)
def test_no_batch_waits_for_the_device_before_its_results_are_wanted(
    settings: dict[str, Any], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu = TorchEngine(network(**settings), device="cpu", precision="32")
    images = np.zeros((4, SIZE_PX, SIZE_PX, 3), np.uint8)
    with imitated(monkeypatch) as cuda:
        engine = moved(on_cpu, precision)
        assert (engine.batch_size, engine.most_begun, engine.reads_pinned) == (256, 2, True)
        cuda.in_step = True
        result = engine.begin(images)
        assert cuda.copies == 1
        assert Event.waits == 0
        cuda.in_step = False
        embedding, logits = result()
        assert Event.waits == 1
        assert (len(embedding), logits.shape) == (4, (4, CLASSES))
        assert engine.classify(np.zeros(embedding.shape, np.float32)).shape == (4, CLASSES)


def test_the_stream_that_computes_waits_for_the_copy_of_each_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_cpu = TorchEngine(network(), device="cpu", precision="32")
    images = [np.zeros((4, SIZE_PX, SIZE_PX, 3), np.uint8)] * 3
    with imitated(monkeypatch):
        engine = moved(on_cpu, "bf16")
        assert len(list(run_batches(engine, images))) == 3
        computing = torch.cuda.current_stream(CUDA)
        assert computing.waited_for == [engine._copying] * 3  # type: ignore[attr-defined]
    assert Event.waits == 3


def test_the_probe_touches_one_device_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard_rows, "ROWS_AT_ONCE", 8)
    one_label = np.arange(20, dtype=np.int64) % CLASSES
    several_labels = csr_array(np.eye(CLASSES, dtype=np.uint8)[one_label])
    for free in (1 << 30, 0):
        monkeypatch.setattr(probe, "_free_bytes", lambda _device, free=free: free)
        for target in (one_label, several_labels):
            with fake_cuda(monkeypatch):
                found = fit_probe(
                    torch.zeros(20, 6),
                    target,
                    torch.zeros(10, 6),
                    target[:10],
                    num_classes=CLASSES,
                    settings=ProbeSettings(penalties=(0.1, 0.01)),
                    weights=torch.ones(CLASSES),
                    device=CUDA,
                )
            assert (found.weight.device.type, found.bias.device.type) == ("cpu", "cpu")
            assert found.weight.shape == (CLASSES, 6)
