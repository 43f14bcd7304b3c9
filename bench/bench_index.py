"""Vector engines of an index on real embeddings: build, add, delete, search, filters, memory, disk.

    python bench/index_vectors.py --images FOLDER --cache CACHE
    python bench/bench_index.py --cache CACHE [--peers ours-int8 hnswlib] [--out FILE.jsonl]
    python bench/index_vectors.py --images FOLDER --cache CACHE --mixture 1000000
    python bench/bench_index.py --cache CACHE --vectors mixture --peers ours-int8 hnswlib

Each peer runs in a process of its own, with two threads for building and one for searching, one
query at a time. A peer that is not installed is left out with a line. Every engine's `ef` is the
smallest at which 1,000 queries find 95 % (and 99 %) of their ten nearest (recall@10, against exact
search), so that times are compared at equal recall and not at equal settings; for each filter anew.

Memory is what the process holds after its searches more than before the build (of ours: a process
that has opened the index and searched in it), disk what the saved files take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from index_peers import PEERS, Ours, Peer, blocks_on_disk, open_peer
from jaxtyping import Float32, Int64

LIMIT = 10
SEARCHES: dict[str, tuple[int | None, float]] = {
    "all": (None, 0.95),
    "all, .99": (None, 0.99),
    "10 %": (100, 0.95),
    "1 %": (10, 0.95),
    ".1 %": (1, 0.95),
}
"""Buckets that a filter lets pass, of 1,000, and the recall that is wanted."""
SMALLEST_EF, LARGEST_EF = LIMIT, 1024
CHANGED = 1_000
LONGEST_S = 10
"""Of one pass over the queries: a filter in Python may take 100 ms for each."""

Vectors = Float32[np.ndarray, "n d"]
Rows = Int64[np.ndarray, "q k"]


def nearest(vectors: Vectors, queries: Vectors, usable: Int64[np.ndarray, "u"]) -> Rows:
    """The rows of the nearest of some vectors, by exact search in fp32."""
    best = np.empty((len(queries), LIMIT), np.int64)
    for start in range(0, len(queries), 100):
        scores = np.concatenate(
            [
                queries[start : start + 100] @ vectors[usable[block : block + 100_000]].T
                for block in range(0, len(usable), 100_000)
            ],
            axis=1,
        )
        top = np.argpartition(-scores, LIMIT - 1, axis=1)[:, :LIMIT]
        best[start : start + 100] = usable[top]
    return best


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def searched(
    peer: Peer, queries: Vectors, truth: Rows, *, ef: int, below: int | None
) -> dict[str, float]:
    """Recall@10, and milliseconds of the middle and of the slowest hundredth of the queries."""
    seconds, found = [], 0
    for query, expected in zip(queries, truth, strict=True):
        start = time.perf_counter()
        rows = peer.query(query, limit=LIMIT, ef=ef, below=below)
        seconds.append(time.perf_counter() - start)
        found += len(set(rows) & set(expected.tolist()))
        if sum(seconds) > LONGEST_S:
            break
    middle, slow = np.percentile(seconds, [50, 99]) * 1000
    return {
        "ef": ef,
        "recall": found / (len(seconds) * LIMIT),
        "p50_ms": round(float(middle), 4),
        "p99_ms": round(float(slow), 4),
    }


def at_recall(
    peer: Peer, queries: Vectors, truth: Rows, *, below: int | None, recall: float
) -> dict[str, float]:
    """The search with the smallest `ef` that reaches the recall, by bisection."""
    low, high = SMALLEST_EF, LARGEST_EF
    best = None
    for ef in (SMALLEST_EF, 64, 256, LARGEST_EF):
        best = searched(peer, queries, truth, ef=ef, below=below)
        if best["recall"] >= recall:
            high = ef
            break
        low = ef
    assert best is not None
    if best["recall"] < recall:
        return best
    while high - low > max(1, low // 10):
        ef = (low + high) // 2
        tried = searched(peer, queries, truth, ef=ef, below=below)
        if tried["recall"] >= recall:
            best, high = tried, ef
        else:
            low = ef
    return best


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One peer, from an empty folder to its figures."""
    name, cache, kind = options.one, options.cache, options.vectors
    vectors = np.load(cache / f"{kind}.npy")
    queries = np.load(cache / f"{kind}-queries.npy")
    buckets = np.random.default_rng(0).integers(0, 1000, len(vectors))
    before = len(vectors) - CHANGED
    peer = open_peer(name, folder)
    held = resident_mb()
    figures: dict[str, Any] = {"peer": peer.name, "vectors": f"{kind}, {len(vectors):,}"}
    figures["build_s"] = timed(lambda: peer.build(vectors[:before], buckets[:before]))
    rows = range(before, len(vectors))
    figures["add_1000_s"] = timed(lambda: peer.add(rows, vectors[before:], buckets[before:]))
    figures["search"] = {}
    for said, (below, recall) in SEARCHES.items():
        usable = np.arange(len(vectors)) if below is None else np.flatnonzero(buckets < below)
        truth = nearest(vectors, queries, usable)
        try:
            # Once for the caches of the processor and the pages of the files.
            searched(peer, queries, truth, ef=64, below=below)
            figures["search"][said] = at_recall(peer, queries, truth, below=below, recall=recall)
        except NotImplementedError:
            figures["search"][said] = None
    figures["resident_mb"] = resident_mb() - held
    gone = list(range(CHANGED))
    figures["delete_1000_s"] = timed(lambda: peer.delete(gone))
    left = [
        row for query in queries[:200] for row in peer.query(query, limit=LIMIT, ef=64, below=None)
    ]
    figures["deleted_found"] = len(set(left) & set(gone))
    peer.save(folder)
    figures["disk_mb"] = blocks_on_disk(folder) / 2**20
    if isinstance(peer, Ours):
        # It is built in a process of its own: what counts is what one that searches holds.
        figures["resident_mb"] = float(_output(["--opened", str(folder)], options, timeout_s=300))
    return figures


def opened_mb(queries: Vectors, folder: Path) -> float:
    """What a process holds that opens an engine of ours and has searched in it."""
    held = resident_mb()
    engine = Ours.opened(folder)
    for query in queries:
        engine.query(query[None], limit=LIMIT)
    return resident_mb() - held


def _output(more: list[str], options: argparse.Namespace, *, timeout_s: float) -> str:
    """The last line that another process of this script writes.

    Raises:
        TimeoutExpired: it takes too long.
        CalledProcessError: it failed.
    """
    command = [sys.executable, __file__, "--cache", str(options.cache)]
    done = subprocess.run(
        [*command, "--vectors", options.vectors, *more],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        check=True,
    )
    return done.stdout.splitlines()[-1]


def run_apart(name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Measure a peer in a process of its own; None, with a line, where that fails."""
    try:
        return dict(json.loads(_output(["--one", name], options, timeout_s=options.limit_s)))
    except subprocess.TimeoutExpired:
        print(f"{name}: not done in {options.limit_s} s", flush=True)
    except subprocess.CalledProcessError as error:
        print(f"{name}: left out, {error.stderr.strip().splitlines()[-1]}", flush=True)
    return None


def row_of(figures: dict[str, Any]) -> str:
    cells = [figures["peer"], f"{figures['build_s']:.0f}", f"{figures['add_1000_s']:.2f}"]
    cells.append(f"{figures['delete_1000_s']:.3f}")
    for found in figures["search"].values():
        cells.append(
            "no filters"
            if found is None
            else f"{found['p50_ms']:.2f} / {found['p99_ms']:.2f} ({found['recall']:.3f})"
        )
    return (
        "| "
        + " | ".join([*cells, f"{figures['resident_mb']:.0f}", f"{figures['disk_mb']:.0f}"])
        + " |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--vectors", choices=("real", "mixture"), default="real")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--limit-s", type=float, default=3600)
    parser.add_argument("--out", type=Path, help="JSON lines, appended")
    parser.add_argument("--one", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--opened", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.opened:
        queries = np.load(options.cache / f"{options.vectors}-queries.npy")
        print(opened_mb(queries, options.opened))
        return
    if options.one:
        with tempfile.TemporaryDirectory(dir=options.cache, ignore_cleanup_errors=True) as folder:
            print(json.dumps(measure(options, Path(folder))))
        return
    print(
        "| engine | build s | add 1,000 s | delete 1,000 s | search p50 / p99 ms (recall@10) "
        "| to .99 "
        "| 10 % | 1 % | .1 % | memory MB | disk MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in options.peers:
        figures = run_apart(name, options)
        if figures is None:
            continue
        print(row_of(figures), flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
