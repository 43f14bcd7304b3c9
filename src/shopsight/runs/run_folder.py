"""The run folder: where each thing of a run lies, and how far the run has come."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from shopsight.bundle.format import library_versions
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.errors import TrainingError
from shopsight.files import read_json, write_json, write_text

RunStage = Literal["prepared", "probed", "finetuned", "bundled"]


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run, and its `run.json`.

    `run.json` holds the stage reached, seconds spent in each stage (wall and CPU), the command
    that repeats the run, and versions. It is written whole after each stage, so that a run that
    was stopped at any moment goes on from the last finished one.
    """

    path: Path

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def catalog_file(self) -> Path:
        return self.path / "catalog.parquet"

    @property
    def audit(self) -> Path:
        return self.path / "audit"

    @property
    def thumbs_file(self) -> Path:
        return self.audit / "thumbs.parquet"

    @property
    def split_file(self) -> Path:
        return self.path / "split.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def probe_file(self) -> Path:
        return self.checkpoints / "probe.safetensors"

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.json"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def state_file(self) -> Path:
        return self.path / "run.json"

    def recipe(self) -> Recipe:
        return parse_recipe(
            self.recipe_file.read_text(encoding="utf-8"), where=str(self.recipe_file)
        )

    def write_recipe(self, recipe: Recipe) -> None:
        write_text(self.recipe_file, recipe.to_toml())

    def catalog(self) -> Catalog:
        return Catalog.read(self.catalog_file)

    def state(self) -> dict[str, Any]:
        """What `run.json` holds.

        Raises:
            TrainingError: the folder holds no run.
        """
        if not self.state_file.is_file():
            raise TrainingError(
                "is not a run folder: it has no run.json",
                where=str(self.path),
                fix="shopsight train DATA --out RUN starts one",
            )
        state: dict[str, Any] = read_json(self.state_file)
        return state

    def update_state(self, **changes: Any) -> None:
        """Set top-level keys of `run.json`, atomically."""
        state = self.state() if self.state_file.is_file() else {"versions": versions()}
        write_json(self.state_file, state | changes)

    def reached(self, stage: RunStage) -> bool:
        order: tuple[RunStage, ...] = ("prepared", "probed", "finetuned", "bundled")
        at = self.state().get("stage")
        return at in order and order.index(at) >= order.index(stage)

    def add_seconds(self, stage: str, clock: Clock) -> None:
        """Add the time since `clock` to what `stage` has taken, over all resumed parts."""
        spent: dict[str, dict[str, float]] = self.state().get("seconds", {})
        before = spent.get(stage, {"wall": 0.0, "cpu": 0.0})
        wall, cpu = clock.elapsed()
        spent[stage] = {
            "wall": round(before["wall"] + wall, 2),
            "cpu": round(before["cpu"] + cpu, 2),
        }
        self.update_state(seconds=spent)


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def elapsed(self) -> tuple[float, float]:
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def versions() -> dict[str, str]:
    """Versions of what a result depends on, and the machine's kind."""
    training = {name: version(name) for name in ("torchvision", "lightning", "polars")}
    machine = {"machine": platform.machine(), "cores": str(os.cpu_count())}
    return library_versions() | training | machine
