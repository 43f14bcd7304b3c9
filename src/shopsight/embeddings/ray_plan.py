"""How many workers a Ray cluster gets, and how much of a machine each of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shopsight.errors import ConfigError
from shopsight.prefetch import MAX_THREADS
from shopsight.text import counted

CORES_AT_MOST = 4
"""Of a worker without a GPU, unless the caller names fewer workers: a batch of a small network
keeps few cores busy, so several workers on a machine embed more than one."""
IMAGES_AT_MOST, IMAGES_AT_LEAST = 256, 16
"""Of a block, which is what a worker takes at a time and what a killed one loses."""
BLOCKS_OF_WORKER = 4
"""At least, so that no worker idles while another has a long block left."""


@dataclass(frozen=True)
class Machine:
    """What a machine of a cluster has for workers.

    Attributes:
        cores: that Ray may use.
        gpus: that Ray may use.
    """

    cores: int
    gpus: int


@dataclass(frozen=True)
class WorkerPlan:
    """Workers, all alike.

    Attributes:
        workers: how many.
        cores: of each.
        gpus: of each, 0 or 1.
    """

    workers: int
    cores: int
    gpus: int

    def block_size(self, num_images: int) -> int:
        """Images that a worker takes at a time."""
        even = -(-num_images // (BLOCKS_OF_WORKER * self.workers))
        return max(IMAGES_AT_LEAST, min(IMAGES_AT_MOST, even))


def plan_workers(machines: Sequence[Machine], *, device: str, workers: int | None) -> WorkerPlan:
    """Divide a cluster.

    Args:
        machines: of the cluster.
        device: "auto" takes the GPUs where there are any.
        workers: how many are wanted; None is one for each GPU, else one for every
            `CORES_AT_MOST` cores.

    Raises:
        ConfigError: so many workers do not fit, or there is no GPU.
    """
    with_gpu = [one for one in machines if one.gpus]
    if device.startswith("cuda") or (device in {"auto", "gpu"} and with_gpu):
        return _on_gpus(with_gpu, workers)
    have = [one.cores for one in machines if one.cores]
    if workers is None:
        cores = min(CORES_AT_MOST, *have) if have else 1
        return WorkerPlan(max(1, _fitting(have, cores)), cores, 0)
    for cores in range(max(have, default=0), 0, -1):
        if _fitting(have, cores) >= workers:
            return WorkerPlan(workers, cores, 0)
    raise _too_many(workers, f"{counted(sum(have), 'core')} for them")


def _on_gpus(machines: Sequence[Machine], workers: int | None) -> WorkerPlan:
    gpus = sum(one.gpus for one in machines)
    if not gpus:
        raise ConfigError(
            "no machine of the Ray cluster has a GPU", where="--device", fix="--device cpu"
        )
    if workers is not None and workers > gpus:
        raise _too_many(workers, f"{counted(gpus, 'GPU')} for them")
    # The threads that decode for a GPU.
    cores = min(one.cores // one.gpus for one in machines)
    return WorkerPlan(workers or gpus, max(1, min(MAX_THREADS, cores)), 1)


def _fitting(cores_of: Sequence[int], cores: int) -> int:
    return sum(have // cores for have in cores_of)


def _too_many(workers: int, have: str) -> ConfigError:
    return ConfigError(
        f"{counted(workers, 'worker')}, and the Ray cluster has {have}",
        where="--runner-workers",
        fix="leave out --runner-workers",
    )
