"""Batches through an engine: one is begun while another computes, and halved if memory ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jaxtyping import UInt8

from shopsight import progress
from shopsight.errors import ShopsightError
from shopsight.inference.engine import AsyncEngine, Engine, Images, Outputs
from shopsight.runtime import is_out_of_memory


def batch_size_of(engine: Engine, wanted: int | None, *, default: int) -> int:
    """Images that an engine computes at once.

    Args:
        engine: May suggest a number.
        wanted: The caller's number, which decides; or None.
        default: Where nobody names one.
    """
    if wanted is not None:
        return wanted
    suggested = engine.batch_size if isinstance(engine, AsyncEngine) else None
    return suggested or default


def reads_pinned(engine: Engine) -> bool:
    """Whether images should lie in page-locked memory."""
    return isinstance(engine, AsyncEngine) and engine.reads_pinned


def run_batches(
    engine: Engine, batches: Iterable[UInt8[np.ndarray, "_ s s 3"]]
) -> Iterator[Outputs]:
    """Compute embeddings and logits of batches, in their order.

    On a GPU, a batch is copied and begun while the one before it computes, so that the only wait
    is for results. A batch that does not fit in memory is halved until it does, and so are those
    that come after it; a network may round differently in batches of another size.

    Args:
        engine: Computes.
        batches: May be endless, and differ in length. An empty one gives empty outputs.

    Yields:
        Outputs of each batch.

    Raises:
        ShopsightError: Not even one image fits.
    """
    most_begun = engine.most_begun if isinstance(engine, AsyncEngine) else 1
    fitting = _Fitting(engine)
    begun: deque[Callable[[], Outputs]] = deque()
    for images in batches:
        begun.append(fitting.begin(images))
        if len(begun) >= most_begun:
            yield begun.popleft()()
    while begun:
        yield begun.popleft()()


class _Fitting:
    """Begins batches in pieces that fit in memory, as far as that is known by now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._most: int | None = None

    def begin(self, images: Images) -> Callable[[], Outputs]:
        if not len(images):
            empty = np.empty((0, 0), np.float32)
            return lambda: (empty, empty)
        while True:
            try:
                return self._begin_pieces(images)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(min(self._most or len(images), len(images)), error)
            # Only here, after the error and its frames are gone, is the memory free again.

    def _begin_pieces(self, images: Images) -> Callable[[], Outputs]:
        size = self._most or len(images)
        if size >= len(images):
            return _begin(self._engine, images)
        pieces = [
            _begin(self._engine, images[first : first + size])
            for first in range(0, len(images), size)
        ]
        return lambda: _joined([piece() for piece in pieces])

    def _halve(self, size: int, why: BaseException) -> None:
        if size == 1:
            raise ShopsightError(
                "not even one image fits in memory",
                where=self._engine.name,
                fix="--device cpu",
            ) from why
        self._most = size // 2
        progress.notify(
            f"{self._engine.name}: out of memory with {size} images at once: continuing with "
            f"{self._most} (the results may differ by rounding)"
        )


def _begin(engine: Engine, images: Images) -> Callable[[], Outputs]:
    if isinstance(engine, AsyncEngine):
        return engine.begin(images)
    outputs = engine.run(images)
    return lambda: outputs


def _joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> Outputs:
    embeddings, logits = zip(*parts, strict=True)
    return np.concatenate(embeddings), np.concatenate(logits)
