"""The commands that are killed and whose disk is filled, and what each of them must leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import safe_open

from shopsight.config.defaults import PROBE_RECIPE
from shopsight.files import sha256_file
from shopsight.safe_names import ASIDE_SUFFIX, KEPT_SUFFIX, PART_PREFIX, PART_SUFFIX
from tests.kill.sources import Sources

LONGEST_S = 120.0
TINY = ("--recipe", "fashion-mnist-cnn", "--epochs", "3")
TINY += ("--set", "training.batch_size=8")
PROBE = ("--recipe", PROBE_RECIPE, "--set", "preprocess.size_px=32")
OFFLINE = ("--set", 'data.offline_kinds=["hflip"]', "--set", "data.offline_fraction=0.5")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; negative, the signal.
        seconds: that it took.
        changes: to files and folders, as far as they were counted.
        printed: stdout and stderr.
    """

    code: int
    seconds: float
    changes: int
    printed: str


class Server:
    """Runs commands in forks of one process, see `tests.kill.server`; on Windows each by itself.

    Args:
        faults: The library of faults, if it could be built.
        sources: What commands find in place of hosts; by themselves they do not.
    """

    def __init__(self, faults: Path | None, sources: Sources) -> None:
        self.faults = faults
        self._sources = sources
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if faults is not None:
            environment["LD_PRELOAD"] = str(faults)
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        if hasattr(os, "fork"):
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("server.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                text=True,
                encoding="utf-8",
            )
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "ready\n"

    @property
    def has_sources(self) -> bool:
        """Whether commands find the stand-ins for hosts."""
        return self._process is not None

    def temp(self, folder: Path) -> Path:
        """The system's folder for temporary files, as commands that change `folder` find it."""
        return folder.parent / f"temp-{folder.name}"

    def run(self, words: list[str], folder: Path, **fault: float) -> Ended:
        """Run a command whose changes below `folder` count.

        Args:
            words: of the command line.
            folder: holds the cache too.
            fault: `kill_after_s`, or one of `tests.kill.server.MODES`.
        """
        if self._process is None:
            return self._run_alone(words, folder, fault.get("kill_after_s", LONGEST_S))
        log = folder.parent / "printed.txt"
        job = {"words": words, "root": str(folder), "log": str(log), "limit_s": LONGEST_S}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job |= {"cache": str(folder / "cache"), "temp": str(self.temp(folder)), **fault}
        job |= {"constants": self._sources.constants, "programs": str(self._sources.programs)}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        done = json.loads(self._process.stdout.readline())
        return Ended(**done, printed=log.read_text(encoding="utf-8"))

    def _run_alone(self, words: list[str], folder: Path, limit_s: float) -> Ended:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "shopsight", *words],
            env=self._environment | {"SHOPSIGHT_CACHE": str(folder / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            printed, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            printed, _ = process.communicate()
        seconds = time.monotonic() - started
        return Ended(process.returncode, seconds, 0, printed.decode("utf-8", "replace"))

    def close(self) -> None:
        """End the process that forks."""
        if self._process is not None:
            self._process.communicate()


@dataclass(frozen=True)
class Command:
    """A command, what continues it, and what it must leave.

    Attributes:
        words: PHOTOS, OTHER_PHOTOS, RUN and OTHER_RUN stand for what is there, OUT for the folder
            of results.
        result: gives what is compared of the folder of results.
        copies_run: whether RUN is copied to OUT/run first.
        copies_index: whether the index of the photos is copied to OUT/index first.
        fetches: whether a data set is fetched, from its stand-in.
    """

    words: tuple[str, ...]
    result: Callable[[Path], Any]
    copies_run: bool = False
    copies_index: bool = False
    fetches: bool = False

    def line(self, places: dict[str, str]) -> list[str]:
        """The words of the command."""
        return _filled(self.words, places)

    def next_line(self, places: dict[str, str]) -> list[str]:
        """The words of the command that continues after an interruption."""
        out = Path(places["OUT"])
        if self.words[0] == "train" and (out / "run" / "run.json").exists():
            return ["train", "--resume", str(out / "run")]
        if self.words[:2] == ("index", "build") and (out / "index" / "current.json").exists():
            # Killed after it was built.
            return ["index", "update", str(out / "index"), places["PHOTOS"]]
        return self.line(places)


def _filled(words: tuple[str, ...], places: dict[str, str]) -> list[str]:
    for name, place in places.items():
        words = tuple(
            word.replace(name, place, 1) if word.startswith(name) else word for word in words
        )
    return list(words)


def tree(folder: Path) -> dict[str, str]:
    """Hash of each file below a folder, without locks."""
    paths = [path for path in sorted(folder.rglob("*")) if not path.name.startswith(PART_PREFIX)]
    files = [path for path in paths if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def trained(out: Path) -> dict[str, Any]:
    """Weights, histories, predictions and scores of a run and of its folds; no times."""
    found: dict[str, Any] = {}
    for path in sorted((out / "run").rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.name.startswith(("last", PART_PREFIX)) or "features" in path.parts:
            continue
        if path.suffix == ".safetensors":
            found[name] = sha256_file(path)
        elif path.name == "metrics.csv":
            # As text: without validation images there are NaN, which equal nothing.
            found[name] = str(pl.read_csv(path).drop("seconds").to_dicts())
        elif path.name == "metrics.json":
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        elif path.parent.name == "predictions":
            found[name] = pl.read_parquet(path).to_dicts()
        elif path.name in ("report.html", "run.json", "recipe.toml", "model.json"):
            found[name] = "there"
    return found


def audited(out: Path) -> dict[str, str]:
    """The files of an audit that hold no time."""
    found = tree(out / "audit")
    assert "audit.html" in found
    return {name: found[name] for name in ("findings.csv", "audit.json")}


def split_rows(out: Path) -> list[dict[str, Any]]:
    """The rows of a split; the record beside it names folders."""
    assert (out / "split.about.json").is_file()
    return pl.read_csv(out / "split.csv").to_dicts()


def fetched(out: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows of a split, and all that the cache has of data sets."""
    kept = out.parent / "cache" / "datasets"
    assert not [path for path in kept.rglob("*") if path.name.startswith(PART_PREFIX)]
    return split_rows(out), tree(kept)


class Indexed:
    """What an index holds; two are equal within the arithmetic of other batches."""

    def __init__(self, folder: Path) -> None:
        from shopsight.search.index import open_index

        with open_index(folder) as index:
            self.items = index.items().to_dicts()
            self.vectors = index.vectors()
            # The engine has what the files have: of each item, the nearest is as itself.
            found = index.query(self.vectors, limit=1)
            assert min(hits[0].score for hits in found) > 0.999
            assert index.generation.engine.count() == len(self.items)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Indexed)
            and self.items == other.items
            and bool(np.allclose(self.vectors, other.vectors, atol=2e-3))
        )

    __hash__ = None  # type: ignore[assignment]


def indexed(out: Path) -> Indexed:
    """The items and vectors of an index."""
    return Indexed(out / "index")


COMMANDS = {
    "audit": Command(("audit", "PHOTOS", "--out", "OUT/audit"), audited),
    "split": Command(("split", "PHOTOS", "--out", "OUT/split.csv"), split_rows),
    "zip": Command(("split", "clothing-small", "--out", "OUT/split.csv"), fetched, fetches=True),
    "deb": Command(("split", "fashion-mnist", "--out", "OUT/split.csv"), fetched, fetches=True),
    "train": Command(("train", "PHOTOS", "--out", "OUT/run", *TINY), trained),
    "probe": Command(("train", "PHOTOS", "--out", "OUT/run", *PROBE), trained),
    "offline": Command(("train", "PHOTOS", "--out", "OUT/run", *TINY, *OFFLINE), trained),
    "folds": Command(("train", "PHOTOS", "--out", "OUT/run", *TINY, "--folds", "2"), trained),
    "evaluate": Command(("evaluate", "OUT/run"), trained, copies_run=True),
    "evaluate-data": Command(
        ("evaluate", "RUN", "PHOTOS", "--out", "OUT/report.html"), lambda out: sorted(tree(out))
    ),
    "csv": Command(("predict", "RUN", "PHOTOS", "--out", "OUT/p.csv"), tree),
    "jsonl": Command(("predict", "RUN", "PHOTOS", "--out", "OUT/p.jsonl"), tree),
    "parquet": Command(("predict", "RUN", "PHOTOS", "--out", "OUT/p.parquet"), tree),
    "sort": Command(("predict", "RUN", "PHOTOS", "--sort-into", "OUT/sorted"), tree),
    "both": Command(
        ("predict", "RUN", "PHOTOS", "--out", "OUT/p.csv", "--sort-into", "OUT/sorted"), tree
    ),
    "compare": Command(
        ("compare", "RUN", "OTHER_RUN", "--out", "OUT/compare", "--no-measure"),
        lambda out: sorted(tree(out)),
    ),
}
INDEX_COMMANDS = {
    "index-build": Command(("index", "build", "RUN", "PHOTOS", "--out", "OUT/index"), indexed),
    "index-add": Command(("index", "add", "OUT/index", "OTHER_PHOTOS"), indexed, copies_index=True),
    "index-update": Command(
        ("index", "update", "OUT/index", "OTHER_PHOTOS"), indexed, copies_index=True
    ),
    "index-compact": Command(("index", "compact", "OUT/index"), indexed, copies_index=True),
}
"""They need an extra, and are killed alone: what its engine says of a full disk is its own."""
ALL = COMMANDS | INDEX_COMMANDS


def check_whole(folder: Path) -> None:
    """Read each file below a folder that has its final name, as what its name says."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(PART_PREFIX) for part in path.parts)
        if hidden or not path.is_file() or "cache" in path.relative_to(folder).parts[:1]:
            continue
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".parquet":
            pl.read_parquet(path)
        elif path.suffix == ".csv":
            pl.read_csv(path, infer_schema=False)
        elif path.suffix == ".safetensors":
            with safe_open(path, "pt") as tensors:
                assert [tensors.get_tensor(name) for name in tensors.keys()]  # noqa: SIM118
        elif path.suffix == ".html":
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), path


def leftovers(folder: Path) -> list[str]:
    """What must not be there after a command that succeeded; a lock that nobody has may stay."""
    suffixes = (PART_SUFFIX, ASIDE_SUFFIX, KEPT_SUFFIX, ".rows", ".done")
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob(f"{PART_PREFIX}*")
        if path.suffix in suffixes
    ]
