"""Batches through an engine: their order, how many are begun, and what happens without memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from shopsight.bundle.read import read_bundle
from shopsight.errors import ShopsightError
from shopsight.inference.batches import batch_size_of, run_batches
from shopsight.inference.engine import AsyncEngine, Engine, Images, Outputs
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.build import build_model
from shopsight.progress import use_listener
from tests.helpers import Recorder


def images(*values: int) -> Images:
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


class Small:
    """Gives each image its value, and has memory for a few of them only."""

    name, precision = "small", "32"

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    def run(self, images: Images) -> Outputs:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.sizes.append(len(images))
        values = images[:, 0, 0, :1].astype(np.float32)
        return values, 10 * values


class Begun(Small):
    """Computes when the result is asked for, and notes the order of events."""

    batch_size, most_begun, reads_pinned = 100, 2, False

    def __init__(self, most: int = 100) -> None:
        super().__init__(most)
        self.events: list[str] = []

    def begin(self, images: Images) -> Callable[[], Outputs]:
        self.events.append(f"begun {images[0, 0, 0, 0]}")
        outputs = self.run(images)

        def result() -> Outputs:
            self.events.append(f"result {images[0, 0, 0, 0]}")
            return outputs

        return result


def test_one_batch_is_begun_while_another_computes() -> None:
    engine = Begun()
    assert isinstance(engine, AsyncEngine)

    def batches() -> Iterator[Images]:
        for value in (1, 2, 3):
            engine.events.append(f"taken {value}")
            yield images(value)

    found = [float(logits[0, 0]) for _, logits in run_batches(engine, batches())]
    assert found == [10.0, 20.0, 30.0]
    assert engine.events == [
        "taken 1", "begun 1", "taken 2", "begun 2", "result 1",
        "taken 3", "begun 3", "result 2", "result 3",
    ]  # fmt: skip


def test_a_plain_engine_gives_each_result_before_the_next_batch_is_taken() -> None:
    taken: list[int] = []

    def batches() -> Iterator[Images]:
        for value in (1, 2):
            taken.append(value)
            yield images(value)

    results = run_batches(Small(4), batches())
    next(results)
    assert taken == [1]


def test_an_empty_batch_gives_empty_outputs() -> None:
    engine = Small(4)
    found = list(run_batches(engine, [images(1), np.empty((0, 2, 2, 3), np.uint8), images(2, 3)]))
    assert [len(logits) for _, logits in found] == [1, 0, 2]
    assert engine.sizes == [1, 2]


@pytest.mark.parametrize("engine", [Small(3), Begun(3)], ids=["plain", "begun ahead"])
def test_a_batch_that_does_not_fit_is_halved_and_so_are_the_next_ones(engine: Small) -> None:
    recorder = Recorder()
    with use_listener(recorder):
        found = list(run_batches(engine, [images(*range(10)), images(*range(10, 20))]))
    values = [float(value) for embeddings, _ in found for value in embeddings[:, 0]]
    assert values == list(range(20))
    assert [len(logits) for _, logits in found] == [10, 10]
    assert engine.sizes == [2] * 10
    assert [note.split(": ", 1)[1] for note in recorder.lines] == [
        "out of memory with 10 images at once: continuing with 5 (the results may differ by "
        "rounding)",
        "out of memory with 5 images at once: continuing with 2 (the results may differ by "
        "rounding)",
    ]


def test_not_even_one_image_fits() -> None:
    with pytest.raises(ShopsightError, match="not even one image fits in memory") as caught:
        list(run_batches(Small(0), [images(1, 2, 3)]))
    assert caught.value.where == "small"
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    class Broken(Small):
        def run(self, images: Images) -> Outputs:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        list(run_batches(Broken(1), [images(1)]))


def test_whose_batch_size() -> None:
    assert batch_size_of(Small(3), None, default=32) == 32
    assert batch_size_of(Begun(3), None, default=32) == 100
    assert batch_size_of(Begun(3), 7, default=32) == 7


class Tight:
    """The bundle's own engine with memory for a few images."""

    name, precision = "tight", "32"

    def __init__(self, engine: Engine, most: int) -> None:
        self.engine, self.most = engine, most

    def run(self, images: Images) -> Outputs:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.engine.run(images)


def test_predictions_in_little_memory_are_the_same(bundle_folder: Path, files: list[str]) -> None:
    bundle = read_bundle(bundle_folder)
    engine = TorchEngine(build_model(bundle), device="cpu", precision="32")
    few = files[:20]
    expected = list(Predictor(engine, bundle.info).predict(few))
    found = list(Predictor(Tight(engine, 3), bundle.info).predict(few))
    assert [one.source for one in found] == few
    for one, other in zip(found, expected, strict=True):
        assert one.labels == other.labels
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
