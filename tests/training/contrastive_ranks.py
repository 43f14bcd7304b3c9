"""Two processes in Lightning's DDP, whose gradient is compared with one process's over both parts.

python -m tests.training.contrastive_ranks FOLDER
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, distributed

from shopsight.training.cached_gradients import Vectors, cached_backward, gathered
from shopsight.training.contrastive_loss import Kind, Meaning, contrastive_gradients
from tests.training.test_cached_gradients import (
    Tower,
    parameters,
    relative_error,
)

WORLD, COUNT, PART = 2, 24, 5
KINDS: list[Kind] = ["softmax", "sigmoid"]


def data() -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(2)
    inputs = [torch.randn(WORLD * COUNT, 5, 16, generator=generator) for _ in range(2)]
    return inputs, torch.randint(0, 20, (WORLD * COUNT,), generator=generator)


def of_rank(tensor: Tensor, rank: int) -> Tensor:
    return tensor[rank * COUNT : (rank + 1) * COUNT]


class OneStep(lightning.LightningModule):
    """A manual step whose gradient is kept."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.kind = kind
        self.towers = torch.nn.ModuleList([Tower(0), Tower(1)])
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def train_dataloader(self) -> list[int]:
        return [0]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def training_step(self, _batch: int, _index: int) -> None:
        inputs, labels = data()
        mine = [of_rank(one, self.global_rank) for one in inputs]
        torch.manual_seed(100 + self.global_rank)

        def encode(number: int) -> Vectors:
            rows = slice(number * PART, (number + 1) * PART)
            return tuple(tower(one[rows]) for tower, one in zip(self.towers, mine, strict=True))

        numbers = (labels, torch.arange(WORLD * COUNT))
        meaning = Meaning(*(gathered(of_rank(one, self.global_rank), WORLD) for one in numbers))

        def gradients_of(vectors: Vectors) -> tuple[Vectors, Tensor]:
            found = contrastive_gradients(*vectors, meaning, self.scale, torch.zeros(()),
                                          kind=self.kind)  # fmt: skip
            return (found.images, found.texts), found.log_scale * self.scale

        def backward(loss: Tensor, last: bool) -> None:
            if last:
                self.manual_backward(loss)
            else:
                with self.trainer.strategy.block_backward_sync():
                    self.manual_backward(loss)

        cached_backward(encode, -(-COUNT // PART), gradients_of, backward,
                        device=torch.device("cpu"), world=WORLD)  # fmt: skip
        self.found = [one.grad.clone() for one in self.parameters() if one.grad is not None]


def reference(kind: Kind) -> list[Tensor]:
    """One graph over both ranks' parts, with each rank's dropout."""
    towers, scale = [Tower(0).train(), Tower(1).train()], torch.tensor(2.0, requires_grad=True)
    inputs, labels = data()
    vectors: list[list[Tensor]] = [[], []]
    for rank in range(WORLD):
        torch.manual_seed(100 + rank)
        mine = [of_rank(one, rank) for one in inputs]
        for start in range(0, COUNT, PART):
            for number, tower in enumerate(towers):
                vectors[number].append(tower(mine[number][start : start + PART]))
    x, t = (torch.cat(one) for one in vectors)
    logits = scale.exp() * x @ t.T
    belongs = labels[:, None] == labels[None]
    if kind == "sigmoid":
        loss = -torch.nn.functional.logsigmoid((belongs * 2.0 - 1) * logits).sum() / len(x)
    else:
        target = belongs / belongs.sum(1, keepdim=True)
        loss = (torch.nn.functional.cross_entropy(logits, target)
                + torch.nn.functional.cross_entropy(logits.T, target)) / 2  # fmt: skip
    # Parameters of a module come before those of its children.
    return list(torch.autograd.grad(loss, [scale, *parameters(towers)]))


def rank_main(kind: Kind, out: Path) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu", devices=WORLD, strategy="ddp", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    module = OneStep(kind)
    trainer.fit(module)
    if distributed.get_rank() == 0:
        out.write_text(json.dumps({kind: relative_error(module.found, reference(kind))}), "utf-8")


def main() -> None:
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        kind: Any = sys.argv[2]
        rank_main(kind, folder / f"{kind}.json")
        return
    errors: dict[str, float] = {}
    for kind in KINDS:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(WORLD),
                  "NODE_RANK": "0", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}  # fmt: skip
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", __spec__.name, str(folder), kind],
                env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(WORLD)
        ]
        try:
            codes = [rank.wait(timeout=120) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        assert codes == [0] * WORLD, codes
        errors |= json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    sys.stdout.write(f"{json.dumps(errors)}\n")


if __name__ == "__main__":
    main()
