"""Which of the training processes this one is, for torch and Lightning."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from torch import distributed

from shopsight.errors import TrainingError
from shopsight.training.peers import POLL_S, open_store


@dataclass(frozen=True)
class WorkerRank:
    """One of the training processes, each of which has one device; by default the only one.

    Attributes:
        rank: Its number among all of them.
        size: Their number.
        local_rank: Its number among those of its node.
        node: Number of its node.
        address: Where the board of `shopsight.training.peers` is.
        port: Its port.
        prefix: Of this training's notes on the board.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    node: int = 0
    address: str = "127.0.0.1"
    port: int = 0
    prefix: str = ""

    def connect(self, device: torch.device) -> None:
        """Make torch's process group, over which gradients go: NCCL on CUDA, gloo elsewhere.

        Waits as long as others are busy with their images: only then the group's own time limits
        begin, by which torch notices that a network hangs.

        Args:
            device: Of this process.
        """
        board = open_store(self.address, self.port, host=False)
        store = distributed.PrefixStore(self.prefix, board)
        store.set(f"ready/{self.rank}", "")
        # The parent ends this process when another one fails.
        while not store.check([f"ready/{rank}" for rank in range(self.size)]):
            time.sleep(POLL_S)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(
            backend,
            store=distributed.PrefixStore("group", store),
            rank=self.rank,
            world_size=self.size,
            device_id=device if device.type == "cuda" else None,
        )

    def largest(self, values: Sequence[float], device: torch.device) -> list[float]:
        """For each position, the largest of the numbers that the processes have there."""
        if self.size == 1:
            return list(values)
        # Not float64, which not every device has; 2^-24 of a measured time is nothing.
        numbers = torch.tensor(values, dtype=torch.float32, device=device)
        distributed.all_reduce(numbers, op=distributed.ReduceOp.MAX)
        return [float(number) for number in numbers]

    def of_first(self, number: int, device: torch.device) -> int:
        """The number that the first process has."""
        if self.size == 1:
            return number
        shared = torch.tensor([number], dtype=torch.int64, device=device)
        distributed.broadcast(shared, src=0)
        return int(shared)

    def check_same(self, number: int, device: torch.device, *, what: str) -> None:
        """Check that all processes have the same number.

        Raises:
            TrainingError: This one's differs from the first one's.
        """
        if self.of_first(number, device) != number:
            raise TrainingError(
                f"rank {self.rank} reads another {what} than rank 0",
                fix="keep the run folder on a file system that all nodes share",
            )


class RankEnvironment(ClusterEnvironment):
    """Tells Lightning the ranks, instead of the variables of whatever launcher it would find.

    Lightning starts no process by it: all are there.
    """

    def __init__(self, own: WorkerRank) -> None:
        super().__init__()
        self._own = own

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none."""
        return True

    @property
    def main_address(self) -> str:
        """Unused: torch's process group is there already."""
        return self._own.address

    @property
    def main_port(self) -> int:
        """Unused, as the address is."""
        return self._own.port

    @staticmethod
    def detect() -> bool:
        """Never found by itself."""
        return False

    def world_size(self) -> int:
        return self._own.size

    def set_world_size(self, size: int) -> None:
        """Nothing: the number is known."""

    def global_rank(self) -> int:
        return self._own.rank

    def set_global_rank(self, rank: int) -> None:
        """Nothing: the rank is known."""

    def local_rank(self) -> int:
        return self._own.local_rank

    def node_rank(self) -> int:
        return self._own.node


def worker_variables(own: WorkerRank) -> dict[str, str]:
    """The environment of a training process, with the variables that libraries look at."""
    ranks = {"RANK": own.rank, "WORLD_SIZE": own.size, "LOCAL_RANK": own.local_rank}
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("TORCHELASTIC")
    }
    return kept | {name: str(value) for name, value in ranks.items()}
