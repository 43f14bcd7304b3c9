"""What `bench_scale.py` measures with: a function in a process of its own, its seconds and memory.

A module in `bench/scale/` holds the functions of one area, as a tuple `FUNCTIONS`. An input is
seeded and drawn, so that no photo is decoded where the cost to be known is another.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import psutil

AREAS = sorted(path.stem for path in (Path(__file__).parent / "scale").glob("[!_]*.py"))
BUDGET_GB = 16.0
"""What a million images and 10,000 classes may take."""
N_LOG_N = 1.2
"""Exponents up to here are those of n log n, which is 1.08 from 100 k to 1 M, and of noise."""
SHORTEST_FITTED_S = 0.05
WARM_ROWS = 200

Record = dict[str, Any]


@dataclass(frozen=True)
class Function:
    """A function to be measured.

    Attributes:
        name: of the line in the table.
        build: makes the input of a number of rows; neither its time nor its memory count.
        work: what is measured; it takes what `build` made.
        largest: most rows that are tried unless `--sizes` names more.
        why: what explains an exponent above that of n log n.
    """

    name: str
    build: Callable[[int], Any]
    work: Callable[[Any], object]
    largest: int = 1_000_000
    why: str = ""


def functions(area: str) -> Mapping[str, Function]:
    """The functions of an area by name; names are different."""
    found: Sequence[Function] = import_module(f"scale.{area}").FUNCTIONS
    by_name = {function.name: function for function in found}
    assert len(by_name) == len(found), f"a name is twice in {area}"
    return by_name


def classes_of(rows: int) -> int:
    """Classes of a catalog of so many rows: 10,000 of a million, with 100 images each."""
    return min(max(rows // 100, 2), 10_000)


def measure(
    area: str, function: Function, rows: int, *, limit_s: float, memory_gb: float
) -> Record:
    """Run a function once in a process of its own.

    Returns:
        `status` is "ok"; "slow": it took longer than `limit_s`; "memory": it needs more than
        `memory_gb`; "failed": it raised, or what it calls is not there; `reason` says why.
    """
    script = Path(__file__).with_name("bench_scale.py")
    order = ["--measure", area, function.name, str(rows), str(limit_s), str(memory_gb)]
    done = subprocess.run(
        [sys.executable, str(script), *order],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    record = {"area": area, "name": function.name, "rows": rows}
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return {**record, **json.loads(lines[-1])}
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    status = "failed"
    if "Timeout (" in done.stderr:
        status, reason = "slow", f"more than {limit_s:g} s"
    # A kernel that is out of memory says nothing: it kills.
    elif done.returncode == -9 or any(
        word in done.stderr for word in ("MemoryError", "out of memory", "allocation", "bad_alloc")
    ):
        status, reason = "memory", f"more than {memory_gb:g} GB"
    return {**record, "status": status, "reason": reason[:300]}


def measure_here(area: str, name: str, rows: int, *, limit_s: float, memory_gb: float) -> Record:
    """Run a function in this process, which is used for nothing else."""
    _limit_memory(memory_gb)
    function = functions(area)[name]
    # What is imported at the first call does not count.
    function.work(function.build(WARM_ROWS))
    given = function.build(rows)
    gc.collect()
    _give_memory_back()
    with peak_memory() as peak:
        # A thread of C that needs no lock of the interpreter: it ends also what never gives it up.
        faulthandler.dump_traceback_later(limit_s, exit=True)
        start, cpu_start = time.perf_counter(), time.process_time()
        function.work(given)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        faulthandler.cancel_dump_traceback_later()
    before, most = peak
    return {
        "status": "ok",
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "growth_mb": round(max(most - before, 0) / 1e6, 1),
        "peak_mb": round(most / 1e6, 1),
    }


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float | None:
    """Slope of log(value) over log(size) at the last three sizes.

    None without two sizes at which the time is more than start-up and noise.
    """
    known = [(n, v) for n, v in zip(sizes, values, strict=True) if v >= SHORTEST_FITTED_S][-3:]
    if len(known) < 2:
        return None
    x, y = np.log(np.array(known)).T
    return float(np.polyfit(x, y, 1)[0])


def read_records(path: Path) -> Iterator[Record]:
    """The records of a results file; a line that a killed run left half-written is none."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def newest(records: Iterable[Record]) -> dict[tuple[str, str, str, int], Record]:
    """Of each state, function and size the newest record."""
    return {(r["state"], r["area"], r["name"], r["rows"]): r for r in records}


def _limit_memory(memory_gb: float) -> None:
    """Refuse memory beyond the limit, so that other work on the machine goes on."""
    if sys.platform == "win32":
        return
    import resource

    # What is mapped and never touched (the libraries of torch) does not count as data.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory_gb * 1e9), int(memory_gb * 1e9)))


def _give_memory_back() -> None:
    """Give the memory that building freed back to the system: the growth of the work counts."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Fill a list with the resident memory before the block and the most within it, in bytes."""
    found: list[float] = []
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5", encoding="utf-8")  # The kernel forgets the peak so far.
        before = _status_bytes(status, "VmRSS")
        yield found
        found += [before, _status_bytes(status, "VmHWM")]
        return
    process, ended = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss]

    def watch() -> None:
        while not ended.wait(0.01):
            seen.append(max(seen[-1], process.memory_info().rss))

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield found
    ended.set()
    watcher.join()
    found += [seen[0], max(seen)]


def _status_bytes(status: Path, name: str) -> float:
    lines = status.read_text(encoding="utf-8").splitlines()
    return float(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) * 1024
