"""Images through the model: decoded by a pool, computed by streams, bounded in seconds of work.

Who asks is let in while all that waits takes less than `Limits.queue_seconds`, and else asked to
come again. A stream takes what is there, up to a batch, and never waits for more. What belongs to a
client that left is dropped, before it is decoded and before it is computed.

The event loop's thread counts; the pool and the streams only work.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Condition, Thread

import numpy as np

from shopsight.inference.engine import Outputs
from shopsight.inference.inputs import Prepared
from shopsight.prefetch import core_count
from shopsight.serve.limits import Limits
from shopsight.serve.metrics import ServiceMetrics
from shopsight.serve.prepare_upload import prepare_upload
from shopsight.serve.refusals import come_again
from shopsight.serve.served_model import ServedModel

_SMOOTHING = 0.02
"""Weight of one image in the mean time that images take."""


@dataclass(eq=False)
class Ticket:
    """A client that waits.

    Attributes:
        left: it does not wait any more.
    """

    left: bool = False


@dataclass(frozen=True, eq=False)
class Computed:
    """Images of a request with the model's outputs.

    Attributes:
        model: that computed them.
        files: the images' bytes.
        images: without pixels, in the request's order.
        outputs: of those that could be read.
    """

    model: ServedModel
    files: Sequence[bytes]
    images: list[Prepared]
    outputs: Outputs


@dataclass(frozen=True, eq=False)
class _Item:
    model: ServedModel
    ticket: Ticket
    prepared: Prepared
    done: asyncio.Future[_Result]


_Result = tuple[Prepared, tuple[np.ndarray, np.ndarray] | None]


class WorkQueue:
    """Decodes and computes images of requests; made and asked in the event loop.

    Args:
        model: the first one that answers; a reload gives later requests another one.
        limits: how much may wait.
        metrics: what is counted.
    """

    def __init__(self, model: ServedModel, limits: Limits, metrics: ServiceMetrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(core_count(), thread_name_prefix="shopsight-decode")
        self._items: deque[_Item] = deque()
        self._changed = Condition()
        self._closed = False
        self._streams = [
            Thread(target=self._stream, name=f"shopsight-stream-{number}", daemon=True)
            for number in range(model.plan.streams)
        ]
        self.waiting = 0
        # The network alone is measured; decoding takes about as long, and is learned.
        self._image_seconds = 2 / model.plan.images_per_second
        self._last_done = time.perf_counter()
        for stream in self._streams:
            stream.start()

    @property
    def waiting_seconds(self) -> float:
        """How long what waits will take."""
        return self.waiting * self._image_seconds

    def check_room(self) -> None:
        """Refuse a request before its body is read, where too much waits.

        Raises:
            RefusedError: with 429 and `Retry-After`.
        """
        if self.waiting and self.waiting_seconds > self._limits.queue_seconds:
            self._metrics.refused.inc()
            raise come_again(429, "too many images wait", self.waiting_seconds / 2)

    async def run(self, model: ServedModel, images: Sequence[bytes], ticket: Ticket) -> Computed:
        """Decode and compute images.

        Raises:
            RefusedError: Too much waits.
        """
        self.check_room()
        if not self.waiting:
            self._last_done = time.perf_counter()
        results = [self._begin(model, data, ticket) for data in images]
        done = await asyncio.gather(*results)
        rows = [outputs for _, outputs in done if outputs is not None]
        prepared = [one for one, _ in done]
        if rows:
            embeddings, logits = (np.stack(column) for column in zip(*rows, strict=True))
        else:
            embeddings = logits = np.empty((0, 0), np.float32)
        return Computed(model, images, prepared, (embeddings, logits))

    def close(self) -> None:
        """Let the streams end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, model: ServedModel, data: bytes, ticket: Ticket) -> asyncio.Future[_Result]:
        done: asyncio.Future[_Result] = self._loop.create_future()
        self.waiting += 1
        self._show()
        done.add_done_callback(self._count)
        self._pool.submit(self._decode, model, data, ticket, done)
        return done

    def _count(self, done: asyncio.Future[_Result]) -> None:
        now = time.perf_counter()
        self._image_seconds += _SMOOTHING * (now - self._last_done - self._image_seconds)
        self._last_done = now
        self.waiting -= 1
        self._show()
        if not done.cancelled() and done.exception() is None:
            error = done.result()[0].error
            if error is not None:
                self._metrics.failed(error.reason)

    def _show(self) -> None:
        self._metrics.waiting.set(self.waiting)
        self._metrics.waiting_seconds.set(self.waiting_seconds)

    def _decode(
        self, model: ServedModel, data: bytes, ticket: Ticket, done: asyncio.Future[_Result]
    ) -> None:
        """In the pool."""
        if ticket.left:
            self._give([(done, None)])
            return
        try:
            prepared = prepare_upload(data, model.predictor.preprocess, self._limits)
        except Exception as error:
            self._give([(done, error)])
            return
        if prepared.error is not None:
            self._give([(done, (prepared, None))])
            return
        with self._changed:
            self._items.append(_Item(model, ticket, prepared, done))
            self._changed.notify()

    def _stream(self) -> None:
        """In a thread of its own."""
        while (batch := self._take()) is not None:
            kept = [item for item in batch if not item.ticket.left]
            gone = [(item.done, None) for item in batch if item.ticket.left]
            if gone:
                self._give(gone)
            if kept:
                self._compute(kept)

    def _take(self) -> list[_Item] | None:
        """What is there, of one model and at most a batch; None when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if not self._items:
                return None
            batch = [self._items.popleft()]
            model = batch[0].model
            while (
                len(batch) < model.plan.batch_size and self._items and self._items[0].model is model
            ):
                batch.append(self._items.popleft())
            return batch

    def _compute(self, batch: list[_Item]) -> None:
        pixels = np.stack(
            [item.prepared.pixels for item in batch if item.prepared.pixels is not None]
        )
        self._metrics.batch_images.observe(len(batch))
        try:
            embeddings, logits = batch[0].model.predictor.predict_batch(pixels)
        except Exception as error:
            self._give([(item.done, error) for item in batch])
            return
        self._give(
            [
                (item.done, (replace(item.prepared, pixels=None), (vector, row)))
                for item, vector, row in zip(batch, embeddings, logits, strict=True)
            ]
        )

    def _give(
        self, results: Sequence[tuple[asyncio.Future[_Result], _Result | Exception | None]]
    ) -> None:
        """Hand results to the event loop; None: nobody waits for it."""

        def settle() -> None:
            for done, result in results:
                if done.done():
                    continue
                if result is None:
                    done.cancel()
                elif isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)

        # After a stop that does not wait, the loop is closed and nobody listens.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)
