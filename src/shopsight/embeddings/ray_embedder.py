"""An embedder whose images are read and embedded by the workers of a Ray cluster.

It is an `Embedder` like others: whoever embeds a catalog by it stores the vectors and lists what
failed in the same way, and hands it only what is not stored yet. Ray's own checkpoints would read
all of the input again, and keep the ids in a file that can be wrong where the shards are right.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import numpy as np
import polars as pl
from jaxtyping import Float32

from shopsight import progress
from shopsight.bundle.embedding_space import EmbeddingSpace, EmbedsInto
from shopsight.catalog.catalog import Catalog
from shopsight.embeddings.ray_cluster import Cluster, ray_cluster
from shopsight.embeddings.ray_plan import WorkerPlan, plan_workers
from shopsight.embeddings.ray_worker import ImageWorker, Work, as_arrow, names_of
from shopsight.errors import EmbeddingError
from shopsight.extras import require
from shopsight.inference.embedder import ClassDirections, Embedder
from shopsight.inference.engine import EnginePrecision, PrecisionChoice
from shopsight.inference.image_runner import OnError
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.predictor import Embedding
from shopsight.io.logins import kept_logins, with_login
from shopsight.paths import is_url
from shopsight.preprocess import Preprocess, Resize
from shopsight.read_options import ReadOptions
from shopsight.text import counted

TRIES = 5
"""Times that a block is tried anew when its worker dies; an image that kills each of them ends the
job and not the cluster."""


class RayEmbedder:
    """See the module. The cluster is joined or started with the first catalog.

    Args:
        local: the same model in this process, for its space and for texts.
        address: of the cluster; see `ray_cluster`.
        workers: how many; see `plan_workers`.
        device: of the workers.
        precision: of the workers.
        resize: of a backbone, the framing that `local` was opened with.
    """

    def __init__(
        self,
        local: Embedder,
        *,
        address: str | None,
        workers: int | None,
        device: str,
        precision: PrecisionChoice,
        resize: Resize | None,
    ) -> None:
        self._local = local
        self._address = address
        self._workers = workers
        self._device = device
        self._precision = precision
        self._resize = resize
        self._open = ExitStack()
        self._cluster: Cluster | None = None

    @property
    def name(self) -> str:
        """What opens it again."""
        return self._local.name

    @property
    def space(self) -> EmbeddingSpace:
        """The space of its vectors."""
        return self._local.space

    @property
    def embeds_into(self) -> tuple[EmbedsInto, ...]:
        """Other spaces that its vectors may be compared with."""
        return self._local.embeds_into

    @property
    def logit_scale(self) -> float | None:
        """What makes cosines of images and texts logits."""
        return self._local.logit_scale

    @property
    def preprocess(self) -> Preprocess:
        """How an image becomes the network's input."""
        return self._local.preprocess

    @property
    def precision(self) -> EnginePrecision:
        """Number format of the workers' multiplications."""
        return self._local.precision if self._precision == "auto" else self._precision

    @property
    def engine_name(self) -> str:
        """For example "Ray workers, 32"."""
        return f"Ray workers, {self.precision}"

    def embed(
        self,
        images: ImageInputs,
        *,
        read: ReadOptions | None = None,
        batch_size: int | None = None,
        on_error: OnError = "report",
        threads: int | None = None,
    ) -> Iterator[Embedding]:
        """Unit vectors of images, one `Embedding` each, in order.

        A catalog goes to the workers; anything else is embedded here.

        Raises:
            EmbeddingError: the cluster or a worker cannot do it.
        """
        if isinstance(images, Catalog) and on_error == "report":
            return self._embed(images, batch_size, threads)
        return self._local.embed(
            images, read=read, batch_size=batch_size, on_error=on_error, threads=threads
        )

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """Unit vectors of texts, in this process."""
        return self._local.embed_texts(texts)

    def class_directions(self) -> ClassDirections | None:
        """What its classifier knows."""
        return self._local.class_directions()

    def close(self) -> None:
        """Leave the cluster; one that was started for this ends."""
        self._cluster = None
        self._open.close()

    def _embed(
        self, catalog: Catalog, batch_size: int | None, threads: int | None
    ) -> Iterator[Embedding]:
        names = names_of(catalog)
        _refuse_logins(names["image"])
        if self._cluster is None:
            self._cluster = self._open.enter_context(
                ray_cluster(self._address, cores=self._workers)
            )
        cluster = self._cluster
        plan = plan_workers(cluster.machines, device=self._device, workers=self._workers)
        progress.notify(_said(cluster, plan, self.name, catalog.root))
        work = Work(
            model=self.name,
            space=self.space,
            resize=self._resize,
            device="cuda" if plan.gpus else self._device,
            precision=self.precision if self.precision in ("32", "tf32", "bf16") else "32",
            access=catalog.access,
            threads=threads or plan.cores,
            batch_size=batch_size,
        )
        refs = names["image"].to_list()
        # Importing it sets the level of its logger.
        require("ray.data")
        with _worker_errors(self.name), _silent("ray.data"):
            for number, vector, error in _in_order(_answers(names, plan, work)):
                known = None if vector is None else np.frombuffer(vector, np.float32)
                yield Embedding(refs[number], known, error=error)


def _answers(names: pl.DataFrame, plan: WorkerPlan, work: Work) -> Iterator[pl.DataFrame]:
    """Blocks of answers, as they come."""
    data = require("ray.data")
    rows = plan.block_size(names.height)
    blocks = [as_arrow(names.slice(start, rows)) for start in range(0, names.height, rows)]
    images = data.from_arrow(blocks)
    context = images.context
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # So that few answers wait here for one before them; their numbers put them in order.
    context.execution_options.preserve_order = True
    with warnings.catch_warnings():
        # There is no other way yet to say how often a block is tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        answers = images.map_batches(
            ImageWorker,
            fn_constructor_args=(work,),
            batch_size=None,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(size=plan.workers),
            num_cpus=plan.cores,
            num_gpus=plan.gpus,
            max_task_retries=TRIES,
        )
    for block in answers.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield pl.DataFrame(pl.from_arrow(block))


def _in_order(
    blocks: Iterator[pl.DataFrame],
) -> Iterator[tuple[int, bytes | None, str | None]]:
    waiting: dict[int, tuple[bytes | None, str | None]] = {}
    wanted = 0
    for block in blocks:
        for number, vector, error in block.iter_rows():
            waiting[number] = (vector, error)
        while wanted in waiting:
            yield (wanted, *waiting.pop(wanted))
            wanted += 1


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a logger from writing pages about what is raised here as well."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _worker_errors(model: str) -> Iterator[None]:
    """Say in our words what Ray says in a page of its own stack."""
    exceptions = require("ray.exceptions")
    try:
        yield
    except exceptions.RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        said = [line for line in lines if "Error:" in line or "Error(" in line] or lines[-1:]
        raise EmbeddingError(
            "a Ray worker cannot embed: what it said is below",
            where=model,
            details=[said[-1].strip()],
            fix="see that each machine of the cluster has shopsight, the model and the images, by "
            "the same paths\nrun the same command again: what is stored stays",
        ) from error


def _refuse_logins(images: pl.Series) -> None:
    """Names and passwords of addresses stay in this process."""
    if not kept_logins():
        return
    for address in images:
        if is_url(address) and with_login(urlsplit(address)) != urlsplit(address):
            raise EmbeddingError(
                "read with a password, which is not sent to the workers of a Ray cluster",
                where=address,
                fix="leave out --runner\ncopy the images to a folder that all workers see",
            )


def _said(cluster: Cluster, plan: WorkerPlan, model: str, root: str) -> str:
    gpu = " and a GPU" if plan.gpus else ""
    workers = f"{counted(plan.workers, 'worker')}, {counted(plan.cores, 'core')}{gpu} each"
    if cluster.address is None:
        return f"Ray on this machine: {workers}"
    files = f"{root or 'the images'} and {model}"
    return f"Ray at {cluster.address}: {workers}; each must find {files} by these names"
