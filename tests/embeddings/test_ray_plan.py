from __future__ import annotations

import pytest

from shopsight.embeddings.ray_plan import Machine, WorkerPlan, plan_workers
from shopsight.errors import ConfigError

SMALL, LARGE, GPUS = Machine(2, 0), Machine(16, 0), Machine(32, 4)


@pytest.mark.parametrize(
    ("machines", "device", "workers", "plan"),
    [
        ([SMALL], "auto", None, WorkerPlan(1, 2, 0)),
        ([SMALL], "auto", 2, WorkerPlan(2, 1, 0)),
        ([LARGE, LARGE], "cpu", None, WorkerPlan(8, 4, 0)),
        ([LARGE], "auto", 2, WorkerPlan(2, 8, 0)),
        # Not 9 cores each, of which the small machine could have none.
        ([LARGE, SMALL], "auto", 2, WorkerPlan(2, 8, 0)),
        ([LARGE, SMALL], "auto", 9, WorkerPlan(9, 2, 0)),
        ([LARGE, SMALL], "auto", None, WorkerPlan(9, 2, 0)),
        ([GPUS, LARGE], "auto", None, WorkerPlan(4, 8, 1)),
        ([GPUS, GPUS], "cuda", 3, WorkerPlan(3, 8, 1)),
        ([GPUS], "cpu", None, WorkerPlan(8, 4, 0)),
    ],
)
def test_workers_fit_the_machines(
    machines: list[Machine], device: str, workers: int | None, plan: WorkerPlan
) -> None:
    assert plan_workers(machines, device=device, workers=workers) == plan


@pytest.mark.parametrize(
    ("machines", "device", "workers", "said"),
    [
        ([LARGE], "auto", 17, "17 workers, and the Ray cluster has 16 cores"),
        ([GPUS], "auto", 5, "5 workers, and the Ray cluster has 4 GPUs"),
        ([LARGE], "cuda", None, "has a GPU"),
    ],
)
def test_what_does_not_fit_is_refused(
    machines: list[Machine], device: str, workers: int | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_workers(machines, device=device, workers=workers)


def test_every_worker_has_several_blocks_and_a_killed_one_loses_little() -> None:
    plan = WorkerPlan(2, 1, 0)
    assert plan.block_size(1_000_000) == 256
    assert plan.block_size(800) == 100
    assert plan.block_size(10) == 16
