"""All benchmarks one after another; those whose data are not there are skipped with a line.

    python bench/run_all.py [NAME ...] [--clothing FOLDER] [--groceries FOLDER]
        [--index-cache CACHE]

`make bench` is this without names; `make bench BENCH="--groceries FOLDER"` gives it folders.
--index-cache is the folder that `bench/index_vectors.py` wrote its vectors into. A NAME is that of
a file, without `bench_` and `.py`. A benchmark that fails does not end the others; the exit code is
then 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shopsight.memory import memory_limit_bytes

HERE = Path(__file__).parent
LARGEST = "vpr-vit-h14-arcface"
"""A recipe whose steps take 16.5 GB, see docs/benchmarks.md."""
LARGEST_BYTES = 20 << 30


@dataclass(frozen=True)
class Inputs:
    """What was given.

    Attributes:
        clothing: folder of the clothing data set.
        groceries: folder of GroceryStore.
        index_cache: folder with the vectors of `index_vectors.py`.
        memory_bytes: of the machine.
    """

    clothing: str | None = None
    groceries: str | None = None
    index_cache: str | None = None
    memory_bytes: int = 0


Plan = list[str] | str
"""The arguments of a benchmark, or why it is skipped."""


def _words(given: Inputs) -> Plan:
    if given.clothing is None or given.groceries is None:
        return "needs --clothing FOLDER and --groceries FOLDER"
    return ["--clothing", given.clothing, "--groceries", given.groceries]


def _index(given: Inputs) -> Plan:
    if given.index_cache is None:
        return "needs --index-cache CACHE, filled by bench/index_vectors.py"
    return ["--cache", given.index_cache]


def _probe(given: Inputs) -> Plan:
    if given.clothing is None:
        return "needs --clothing FOLDER"
    return ["clothing", "--root", given.clothing, "--drop", "Skip", "--drop", "Not sure"]


def _duplicates(given: Inputs) -> Plan:
    folders = {"--groceries": given.groceries, "--clothing": given.clothing}
    flags = [word for flag, folder in folders.items() if folder for word in (flag, folder)]
    return flags or "needs --clothing FOLDER or --groceries FOLDER"


def _training_memory(given: Inputs) -> Plan:
    if given.memory_bytes < LARGEST_BYTES:
        return f"needs {LARGEST_BYTES >> 30} GB of memory"
    return ["--recipe", LARGEST]


PLANS: Mapping[str, Callable[[Inputs], Plan]] = {
    "words": _words,
    "index": _index,
    "probe": _probe,
    "duplicates": _duplicates,
    "training_memory": _training_memory,
}
"""Benchmarks that need something; the others run by themselves."""


def plan_of(name: str, given: Inputs) -> Plan:
    """The arguments of a benchmark, or why it is skipped."""
    return PLANS[name](given) if name in PLANS else []


def names() -> list[str]:
    """All benchmarks, without `bench_` and `.py`."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def run(chosen: Sequence[str], given: Inputs) -> list[str]:
    """Run benchmarks, and give the names of those that failed."""
    failed = []
    for name in chosen:
        plan = plan_of(name, given)
        if isinstance(plan, str):
            print(f"-- {name}: skipped, {plan}", flush=True)
            continue
        print(f"-- {name}", flush=True)
        began = time.monotonic()
        done = subprocess.run([sys.executable, str(HERE / f"bench_{name}.py"), *plan], check=False)
        if done.returncode:
            failed.append(name)
        ended = "failed" if done.returncode else "done"
        print(f"-- {name}: {ended} in {time.monotonic() - began:.0f} s", flush=True)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--clothing", metavar="FOLDER")
    parser.add_argument("--groceries", metavar="FOLDER")
    parser.add_argument("--index-cache", metavar="CACHE")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(names()))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names())}")
    given = Inputs(
        options.clothing, options.groceries, options.index_cache, memory_limit_bytes() or 0
    )
    failed = run(options.names or names(), given)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
