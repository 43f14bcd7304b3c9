"""Images through an engine: decoded by threads while the batch before them computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice
from typing import Literal

import numpy as np

from shopsight.inference.batches import batch_size_of, run_batches
from shopsight.inference.engine import Engine, Images, Outputs
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.inputs import Prepared, prepare_inputs
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from shopsight.runtime import retain_freed_memory

OnError = Literal["report", "raise"]
BATCH_IMAGES = 32


class ImageRunner:
    """An engine and the preprocessing of its images.

    Args:
        engine: computes embeddings and logits.
        preprocess: how an image becomes its input.
    """

    def __init__(self, engine: Engine, preprocess: Preprocess) -> None:
        self._engine = engine
        self._preprocess = preprocess

    def batches(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[tuple[list[Prepared], Outputs]]:
        """Batches of images, with the outputs of those that could be read.

        The arguments are those of `shopsight.inference.predictor.Predictor.predict`.
        """
        size = batch_size_of(self._engine, batch_size, default=BATCH_IMAGES)
        # While one batch computes, the next one decodes.
        prepared = prepare_inputs(
            images, self._preprocess, window=2 * size, read=read, threads=threads
        )
        checked = _raise_or_pass(prepared, on_error)
        batches = iter(lambda: tuple(islice(checked, size)), ())
        first = next(batches, ())
        # Not for an image or two: returning the memory would take longer than it saves.
        with retain_freed_memory() if len(first) == size else nullcontext():
            yield from self._run(chain([first], batches))

    def _run(
        self, batches: Iterable[tuple[Prepared, ...]]
    ) -> Iterator[tuple[list[Prepared], Outputs]]:
        begun: deque[list[Prepared]] = deque()

        def pixels() -> Iterator[Images]:
            size = self._preprocess.size_px
            for batch in batches:
                readable = [one.pixels for one in batch if one.pixels is not None]
                # Not their pixels, which nobody needs any more.
                begun.append([replace(one, pixels=None) for one in batch])
                yield np.stack(readable) if readable else np.empty((0, size, size, 3), np.uint8)

        for outputs in run_batches(self._engine, pixels()):
            yield begun.popleft(), outputs


def _raise_or_pass(prepared: Iterator[Prepared], on_error: OnError) -> Iterator[Prepared]:
    for one in prepared:
        if one.error is not None and on_error == "raise":
            raise one.error
        yield one
