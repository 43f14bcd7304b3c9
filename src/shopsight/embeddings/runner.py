"""Who embeds: this process, or the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shopsight.errors import ConfigError
from shopsight.extras import require_installed
from shopsight.inference.embedder import Embedder
from shopsight.inference.engine import PrecisionChoice
from shopsight.inference.open_embedder import open_embedder
from shopsight.preprocess import Resize

RunnerName = Literal["local", "ray"]


@dataclass(frozen=True)
class Runner:
    """Who embeds images.

    Attributes:
        name: "local" is this process, "ray" the workers of a Ray cluster.
        address: of a cluster that is there already, as host:port; None is what RAY_ADDRESS says,
            and without that a cluster on this machine, which ends with the command.
        workers: how many of them; None is one for each GPU, else one for every four cores.
    """

    name: RunnerName = "local"
    address: str | None = None
    workers: int | None = None


LOCAL = Runner()


@contextmanager
def opened_by(
    runner: Runner,
    model: str | Path | Embedder,
    *,
    device: str,
    precision: PrecisionChoice = "auto",
    resize: Resize | None = None,
    boxes: bool = False,
) -> Iterator[Embedder]:
    """Open an embedder for as long as the block lasts; see `open_embedder`.

    With Ray, this process opens the model too, for texts and to know its space. All workers compute
    in one precision: "auto" is the one that this process would take.

    Raises:
        ConfigError: an option would change nothing.
        ExtraMissingError: the extra `ray` is not installed.
    """
    if runner.name == "local":
        if runner.address is not None or runner.workers is not None:
            flag = "--runner-address" if runner.address is not None else "--runner-workers"
            raise ConfigError(f"{flag} would change nothing here", fix="--runner ray")
        yield open_embedder(model, device=device, precision=precision, resize=resize, boxes=boxes)
        return
    from shopsight.embeddings.ray_embedder import RayEmbedder

    require_installed("ray")
    # The workers' device and precision may be none of this machine.
    here: PrecisionChoice = "auto" if precision == "auto" else "32"
    local = open_embedder(model, device="auto", precision=here, resize=resize, boxes=boxes)
    embedder = RayEmbedder(
        local,
        address=runner.address,
        workers=runner.workers,
        device=device,
        precision=precision,
        resize=resize,
    )
    with closing(embedder):
        yield embedder
