"""What all routes share: the model that answers now, the queue, the limits and the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from shopsight.errors import ShopsightError
from shopsight.inference.predictor import Prediction
from shopsight.progress import notify
from shopsight.serve.heat_maps import heat_map
from shopsight.serve.host_check import HostCheck
from shopsight.serve.image_bodies import BodyReader, ImageBody, image_body
from shopsight.serve.keys import Keys
from shopsight.serve.limits import Limits
from shopsight.serve.metrics import ServiceMetrics
from shopsight.serve.refusals import ClientLeftError, RefusedError
from shopsight.serve.served_index import ServedIndex
from shopsight.serve.served_model import ServedModel
from shopsight.serve.work_queue import Computed, Ticket, WorkQueue
from shopsight.serve.worker_pool import WorkerPool

if TYPE_CHECKING:
    from shopsight.desk.desk import Desk
    from shopsight.desk.retraining import Retraining

Answer = TypeVar("Answer")


def _searching() -> WorkerPool:
    return WorkerPool("search", threads=2, most_waiting=64)


def _changing() -> WorkerPool:
    return WorkerPool("index", threads=1, most_waiting=16)


def _reviewing() -> WorkerPool:
    # One thread: decisions are written one after another.
    return WorkerPool("desk", threads=1, most_waiting=64)


@dataclass(eq=False)
class Service:
    """The state of a service; changed in the event loop alone.

    Attributes:
        model: answers now; a reload puts another one here.
        load: loads it anew.
        queue: computes.
        index: is searched; None where there is none.
        searching: threads that search and read thumbnails.
        changing: the thread that changes the index.
        desk: where labels are reviewed; None where there is none.
        retraining: trains with what is decided there; None likewise.
        reviewing: the thread of the desk.
        bodies: reads what clients send.
        limits: of all of it.
        keys: of clients.
        hosts: by which names it may be asked.
        metrics: what is counted.
        draining: it is about to stop.
        tasks: of no request; held here, so that they are not collected before they end.
    """

    model: ServedModel
    load: Callable[[], ServedModel]
    queue: WorkQueue
    bodies: BodyReader
    limits: Limits
    keys: Keys
    hosts: HostCheck
    metrics: ServiceMetrics
    index: ServedIndex | None
    searching: WorkerPool = field(default_factory=_searching)
    changing: WorkerPool = field(default_factory=_changing)
    desk: Desk | None = None
    retraining: Retraining | None = None
    reviewing: WorkerPool = field(default_factory=_reviewing)
    draining: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _reloading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def compute(self, request: Request, *, most: int | None = None) -> Computed:
        """Read the images of a request, at most so many, and run them through the model.

        Raises:
            RefusedError: The body is not as it should be, or too much waits.
            ClientLeftError: The client did not wait.
        """
        body = await self.read(request)
        if not body.images:
            raise RefusedError(400, "no image in the form", fix="send it in a field named file")
        if most is not None and len(body.images) > most:
            raise RefusedError(
                413, f"maps of more than {most} files in one request", fix="send fewer"
            )
        return await self.compute_images(request, body.images)

    async def maps(
        self, computed: Computed, predictions: Sequence[Prediction]
    ) -> dict[int, dict[str, Any]]:
        """Maps of where the network looked for each image's best label, by the image's place."""
        predictor = computed.model.predictor
        found = {}
        for index, (data, one) in enumerate(zip(computed.files, predictions, strict=True)):
            if one.labels:
                call = partial(heat_map, predictor, data, one.labels[0])
                found[index] = await self.searching.run(call)
        return found

    async def read(self, request: Request) -> ImageBody:
        """Read a request's body, unless too much waits already."""
        return image_body(*await self.body(request), self.limits)

    async def body(self, request: Request) -> tuple[bytes, str]:
        """A request's body and its content type, unless too much waits already."""
        self.queue.check_room()
        return await self.bodies.read(request), request.headers.get("content-type", "")

    def searched(self) -> ServedIndex:
        """The index.

        Raises:
            RefusedError: There is none.
        """
        if self.index is None:
            raise RefusedError(404, "this service has no index", fix="start it with --index INDEX")
        return self.index

    def close(self) -> None:
        """End all threads; what changes the index is finished."""
        self.queue.close()
        self.searching.close()
        self.changing.close()
        self.reviewing.close()
        if self.retraining is not None:
            self.retraining.close()

    async def compute_images(self, request: Request, images: tuple[bytes, ...]) -> Computed:
        """Run images through the model, for as long as the client waits."""
        ticket = Ticket()
        return await while_there(request, ticket, self.queue.run(self.model, images, ticket))

    async def reload(self) -> ServedModel:
        """Load the model's folder anew, check it, and let it answer from now on.

        Requests that are under way end with the model that they began with.

        Raises:
            RefusedError: Another reload is under way, or the folder holds no model that works; the
                old one goes on.
        """
        if self._reloading.locked():
            raise RefusedError(409, "a reload is under way", fix="wait for it")
        async with self._reloading:
            try:
                model = await asyncio.to_thread(self.load)
                if self.index is not None:
                    self.index.use(model)
            except ShopsightError as error:
                notify(f"reload: the model that was there goes on: {error.what}")
                raise RefusedError(409, error.what, fix=error.fix) from None
            self.model = model
            self.metrics.serve(model)
            notify(f"reload: {model.name} answers, {model.predictor.info.weights_sha256[:12]}")
            return model


async def while_there(request: Request, ticket: Ticket, work: Awaitable[Answer]) -> Answer:
    """Wait for an answer, or until the client leaves.

    Raises:
        ClientLeftError: It left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        ticket.left = True
        raise ClientLeftError
    finally:
        leaving.cancel()
        working.cancel()


async def _left(request: Request) -> None:
    """Return when the connection is closed; the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
