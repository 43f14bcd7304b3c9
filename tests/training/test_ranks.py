"""Several training processes on this machine, over gloo: a hang is a failure.

Faults are injected by a `sitecustomize` that only the training processes act on.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import shopsight
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.runs.history import read_history
from shopsight.runs.run_folder import RunFolder
from tests.helpers import SCRATCH_RECIPE, ProductPhotos, make_products
from tests.training.test_resume import EVERYTHING, assert_same_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.posix("signals to groups of processes, and /proc"),
]

LIMIT_S = 200.0
ROOT = Path(__file__).parents[2]

FAULTS = '''
"""In a training process: fail, wait or die where the variable FAULT says."""
import json, os, sys

if "shopsight.training.worker" in sys.orig_argv and "FAULT" in os.environ:
    import pathlib, time
    import torch
    from shopsight.errors import ImageError
    from shopsight.training.module import ClassifierTraining

    fault = json.loads(os.environ["FAULT"])
    once = pathlib.Path(fault["once"])
    where = fault["where"]
    inner = getattr(ClassifierTraining, where)

    def act(self):
        what = fault["what"]
        if what == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if what == "image":
            raise ImageError("damaged", "cannot be decoded", where="a.jpg")
        if what == "die":
            os.kill(os.getpid(), 9)
        if what == "wait":
            time.sleep(600)

    def faulty(self, *args, **kwargs):
        epoch = self.current_epoch if self._trainer is not None else -1
        mine = os.environ["RANK"] in fault["ranks"] and epoch == fault["epoch"]
        mark = once.with_name(f"{once.name}-{os.environ['RANK']}")
        if mine and not mark.exists():
            mark.touch()
            act(self)
        return inner(self, *args, **kwargs)

    setattr(ClassifierTraining, where, faulty)
'''


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> ProductPhotos:
    return make_products(tmp_path_factory.mktemp("ranks") / "photos", per_class=20)


@pytest.fixture
def place(tmp_path: Path, photos: ProductPhotos) -> Place:
    return Place(tmp_path, photos)


class Place:
    """A folder with a recipe, and commands that train in it by several processes."""

    def __init__(self, folder: Path, photos: ProductPhotos) -> None:
        self.folder = folder
        self.photos = photos
        (folder / "faults").mkdir()
        (folder / "faults" / "sitecustomize.py").write_text(FAULTS, encoding="utf-8")

    def recipe(self, **sections: Any) -> Path:
        file = self.folder / "recipe.toml"
        made = parse_recipe(SCRATCH_RECIPE).replace(hardware={"devices": 2, "accelerator": "cpu"})
        file.write_text(made.replace(**sections).to_toml(), encoding="utf-8")
        return file

    def words(self, *more: str, run: str = "run", **sections: Any) -> list[str]:
        out = str(self.folder / run)
        recipe = str(self.recipe(**sections))
        return ["train", str(self.photos.folder), "--recipe", recipe, "--out", out, *more]

    def fault(self, what: str, **where: Any) -> dict[str, str]:
        described = {"epoch": 1, "ranks": ["1"], "where": "training_step"} | where
        described |= {"what": what, "once": str(self.folder / "fault")}
        return {"FAULT": json.dumps(described)}

    def environ(self, **more: str) -> dict[str, str]:
        paths = os.pathsep.join([str(self.folder / "faults"), str(ROOT / "src")])
        own = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        return os.environ | own | {"SHOPSIGHT_CACHE": str(self.folder / "cache")} | more

    def start(
        self, words: Sequence[str], *, by: Sequence[str] = ("-m", "shopsight"), **more: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *by, *words],
            env=self.environ(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def done(
        self, words: Sequence[str], *, by: Sequence[str] = ("-m", "shopsight"), **more: str
    ) -> subprocess.CompletedProcess[str]:
        return ended(self.start(words, by=by, **more))


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"hangs: {process.communicate()[1][-2000:]}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def torchrun(processes: int, *more: str) -> tuple[str, ...]:
    return (
        *("-m", "torch.distributed.run", "--nproc-per-node", str(processes), *more),
        *("-m", "shopsight"),
    )


def some_port() -> int:
    """Below those that the system gives away, and hardly in use."""
    return random.randrange(20_000, 32_000)


def workers_of(run: Path) -> list[int]:
    """Training processes that still run, by their working on this run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/environ"):
        try:
            own = status.read_bytes()
            line = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if b"shopsight.training.worker" in line and str(run.parent).encode() in own:
            found.append(int(status.parent.name))
    return found


@contextmanager
def no_worker_left(run: Path) -> Iterator[None]:
    yield
    until = time.monotonic() + 10
    while workers_of(run) and time.monotonic() < until:
        time.sleep(0.1)
    assert workers_of(run) == []


def wait_for(path: Path) -> None:
    until = time.monotonic() + LIMIT_S
    while not path.exists():
        assert time.monotonic() < until, f"{path} never came"
        time.sleep(0.1)


def recipe_of(run: Path) -> Recipe:
    return RunFolder(run).recipe()


def test_started_by_one_command_or_by_torchrun_with_fewer_val_images_than_ranks(
    place: Place,
) -> None:
    """Three processes, of which one has no validation image; both ways give the same bits."""
    three = {"hardware": {"devices": 3}, "data": {"val": 0.05, "test": 0.2}}
    one = place.done(place.words("--json", run="a", **three))
    assert one.returncode == 0, one.stderr
    assert one.stderr.count("epoch 3:") == 1, "one process reports"
    run = RunFolder(place.folder / "a")
    scored = json.loads(one.stdout)["evaluations"]["val"]["counts"]["images"]
    assert scored == len(run.catalog().rows_of("val"))
    assert len(read_history(run.metrics_file)) == 3
    assert shopsight.load(run.path).verify().ok
    by_torchrun = place.done(place.words("--json", run="b", **three), by=torchrun(3))
    assert by_torchrun.returncode == 0, by_torchrun.stderr
    assert len(json.loads(by_torchrun.stdout)["evaluations"]) == 2, "one process prints"
    assert_same_run(place.folder / "a", place.folder / "b")


def test_one_rank_out_of_memory_makes_all_continue_with_half_the_batch(place: Place) -> None:
    done = place.done(place.words(), **place.fault("memory"))
    assert done.returncode == 0, done.stderr
    assert "out of memory at batch 12: continuing with 6" in done.stderr
    assert "resuming from" in done.stderr
    settings = recipe_of(place.folder / "run").training
    assert (settings.batch_size, settings.grad_accumulation) == (6, 2)
    assert len(read_history(place.folder / "run" / "metrics.csv")) == 3
    assert workers_of(place.folder / "run") == []


def test_one_rank_of_torchrun_out_of_memory_while_planning(place: Place) -> None:
    """All plan again with half the batch, and all train as many epochs as rank 0 planned."""
    fault = place.fault("memory", where="train_batches", epoch=-1)
    words = place.words("--time-limit", "100s", training={"epochs": 2})
    done = place.done(words, by=torchrun(2), **fault)
    assert done.returncode == 0, done.stderr
    assert "out of memory at batch 12: continuing with 6" in done.stderr
    assert done.stderr.count("of at most 2 epochs fit") == 1
    run = place.folder / "run"
    assert len(read_history(run / "metrics.csv")) == recipe_of(run).training.epochs


PACKS = {
    "training": {
        "loss": "arcface",
        "sampling": "pxk",
        "images_per_class": 2,
        "batch_size": 6,
        "ema": 0.5,
    },
    "model": {"head": {"kind": "cosine", "scale": 12.0, "subcenters": 2}},
    "metric": {"margin": 0.1, "margin_step": 0.1},
    "augment": {"mixup": 0.0},
}
"""P x K sampling with a margin that grows."""


@pytest.mark.parametrize("sections", [EVERYTHING, PACKS], ids=["everything", "pxk"])
def test_two_processes_resumed_equal_two_uninterrupted(
    place: Place, sections: dict[str, Any]
) -> None:
    """Killed in the third epoch, with averaging, accumulation, clipping and sizes that grow."""
    whole = place.done(place.words(run="whole", **sections))
    assert whole.returncode == 0, whole.stderr
    cut = place.done(place.words(run="cut", **sections), **place.fault("die", epoch=2))
    assert cut.returncode == 2
    assert "rank 1: its process was ended by SIGKILL" in cut.stderr
    assert len(read_history(place.folder / "cut" / "metrics.csv")) == 2
    resumed = place.done(["train", "--resume", str(place.folder / "cut")])
    assert resumed.returncode == 0, resumed.stderr
    assert_same_run(place.folder / "whole", place.folder / "cut")


@pytest.mark.parametrize("whom", ["group", "first", "terminated"])
def test_an_interruption_ends_all_and_can_be_resumed(place: Place, whom: str) -> None:
    run = place.folder / "run"
    with no_worker_left(run):
        process = place.start(place.words(), **place.fault("wait"))
        wait_for(place.folder / "fault-1")
        match whom:
            case "group":
                os.killpg(process.pid, signal.SIGINT)
            case "first":
                process.send_signal(signal.SIGINT)
            case "terminated":
                process.terminate()
        done = ended(process)
    assert done.returncode == 130, done.stderr
    assert done.stderr.count("interrupted; resume with:") == 1
    assert "Traceback" not in done.stderr
    if whom == "group":
        resumed = place.done(["train", "--resume", str(run)])
        assert resumed.returncode == 0, resumed.stderr
        assert len(read_history(run / "metrics.csv")) == 3


def test_workers_end_with_a_process_that_is_killed(place: Place) -> None:
    with no_worker_left(place.folder / "run"):
        process = place.start(place.words(), **place.fault("wait"))
        wait_for(place.folder / "fault-1")
        process.kill()
        ended(process)


def test_an_error_of_one_rank_ends_all_by_name(place: Place) -> None:
    """Two tasks of srun, with its variables."""
    port = str(some_port())
    slurm = {"SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "2"}
    fault = place.fault("image", epoch=0)
    tasks = []
    for rank in ("0", "1"):
        own = {"SLURM_PROCID": rank, "SLURM_LOCALID": rank, "MASTER_PORT": port}
        tasks.append(place.start(place.words(), **slurm, **own, **fault))
    for task in tasks:
        done = ended(task)
        assert done.returncode == 2, done.stderr
        assert "a.jpg: cannot be decoded" in done.stderr
        assert "rank 1" in done.stderr


def test_a_failure_of_rank_0_before_training_ends_the_others(place: Place) -> None:
    place.photos = ProductPhotos(place.folder / "nothing", place.folder, (), 0)
    done = place.done(place.words(), by=torchrun(2))
    assert done.returncode != 0
    assert "no such folder" in done.stderr


@pytest.mark.timeout(600)
def test_folds_of_two_nodes(place: Place) -> None:
    """Two nodes of one device each, by their numbers; folds, a refit, and one bundle."""
    port = str(some_port())
    words = place.words(
        "--folds", "2", hardware={"devices": 1, "num_nodes": 2}, training={"epochs": 1}
    )
    nodes = [
        place.start(words, NODE_RANK=node, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        for node in ("0", "1")
    ]
    first, second = (ended(node) for node in nodes)
    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    assert "fold 2 of 2" in first.stderr
    assert second.stdout == second.stderr == ""
    run = RunFolder(place.folder / "run")
    assert shopsight.load(run.path).verify().ok
    for training in (*run.folds(), run.refit):
        assert len(read_history(training.metrics_file)) == 1


def test_a_folder_that_not_all_see_is_refused(place: Place) -> None:
    port = str(some_port())
    nodes = []
    for node in ("0", "1"):
        words = place.words(run=f"run{node}", hardware={"devices": 1, "num_nodes": 2})
        nodes.append(place.start(words, NODE_RANK=node, MASTER_ADDR="127.0.0.1", MASTER_PORT=port))
    for node in nodes:
        done = ended(node)
        assert done.returncode == 2
        assert "is not on a file system that all processes share" in done.stderr
    assert not (place.folder / "run0").exists()


def test_what_was_started_is_compared_before_any_work(place: Place) -> None:
    words = place.words(hardware={"devices": 1})
    task = place.done(words, SLURM_PROCID="1", SLURM_NTASKS="2")
    assert task.returncode == 2
    assert "rank 1: SLURM_NTASKS = 2, but hardware.devices x hardware.num_nodes" in task.stderr
    assert not (place.folder / "run").exists()
