"""How often a 95 % interval holds the true value, by the functions that shopsight prints with.

    python bench/coverage.py
    python bench/coverage.py --quick --only accuracy

Each cell is a world of families of images whose true score is known (`coverage_worlds.py`). It is
sampled `--repeats` times; covered is the share of the intervals given that hold the true score, and
given the share of samples that have an interval at all. Of 2,000 repeats covered is exact to .005
(one standard error at .95). Cells are seeded one by one and run on `--jobs` processes. Writes
--results as JSON lines and prints the table of docs/statistics.md.
"""

from __future__ import annotations

import argparse
import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from coverage_worlds import WORLDS, Cell

ACCURACIES = (0.6, 0.9, 0.99)
FAMILIES = ((100, 5), (500, 5), (500, 10), (500, 20), (500, 100), (5_000, 20), (5_000, 500))
"""Images, and the families they are in."""


def cells() -> Iterator[Cell]:
    """All worlds of the table."""
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        for images in (30, 100, 500, 5_000):
            yield from (Cell(metric, images, a) for a in ACCURACIES)
        for images in (100, 500):
            yield from (Cell(metric, images, a, sizes="sixes") for a in ACCURACIES)
        for images, families in FAMILIES:
            correlations = (0.05, 0.3, 0.7) if metric == "accuracy" else (0.3,)
            for c in correlations:
                yield from (Cell(metric, images, a, families, "equal", c) for a in ACCURACIES)
        for sizes in ("big", "geometric"):
            for images, families in ((500, 5), (500, 20), (500, 100), (5_000, 20), (5_000, 500)):
                yield from (Cell(metric, images, a, families, sizes) for a in ACCURACIES)
    for metric in ("balanced_accuracy", "macro_f1"):
        for classes in ("zipf", "lone"):
            for images in (100, 500, 5_000):
                yield from (Cell(metric, images, a, classes=classes) for a in ACCURACIES)
    for positives in (0.03, 0.1):
        for images in (100, 200, 500, 2_000):
            yield from (
                Cell("mean_average_precision", images, a, positives=positives) for a in ACCURACIES
            )
    for images, families in ((500, 20), (500, 100), (2_000, 20), (2_000, 200)):
        yield from (
            Cell("mean_average_precision", images, a, families, positives=0.1) for a in ACCURACIES
        )
    for images, families in ((3, 0), (10, 0), (30, 0), (12, 4), (20, 5), (60, 10), (200, 20)):
        yield from (Cell("class_recall", images, a, families) for a in ACCURACIES)
    for metric in ("difference", "equal_models"):
        for images, families in ((30, 0), (100, 0), (500, 0), (5_000, 0), *FAMILIES):
            yield from (Cell(metric, images, a, families) for a in ACCURACIES)
    for metric in ("pooled_folds", "pooled_retrained", "mean_of_folds"):
        for images, families in ((500, 0), (5_000, 0), (500, 100)):
            yield from (Cell(metric, images, a, families) for a in ACCURACIES)


def simulate(cell: Cell, repeats: int) -> dict[str, Any]:
    """Coverage, share of samples with an interval, and mean width of one cell."""
    rng = np.random.default_rng(zlib.crc32(repr(cell).encode()))
    world, widths, missed = WORLDS[cell.metric], [], [0, 0]
    for _ in range(repeats):
        found, truth = world(cell, rng)
        if found.is_known:
            widths.append(found.high - found.low)
            missed[0] += truth < found.low - 1e-12
            missed[1] += truth > found.high + 1e-12
    given = len(widths)
    return cell.words | {
        "repeats": repeats,
        "given": round(given / repeats, 4),
        "covered": round(1 - sum(missed) / given, 4) if given else None,
        "too_high": round(missed[0] / given, 4) if given else None,
        "too_low": round(missed[1] / given, 4) if given else None,
        "width": round(float(np.mean(widths)), 5) if given else None,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Coverage by metric and world, a column per accuracy."""
    lines = ["| interval | images | families | | .6 | .9 | .99 |", "|---|---|---|---|---|---|---|"]
    seen: dict[tuple[Any, ...], dict[float, str]] = {}
    for row in rows:
        more = [row["sizes"] if row["sizes"] != "equal" else ""]
        more += [f"correlation {row['correlation']:g}" if row["families"] else ""]
        more += [row["classes"] if row["classes"] != "equal" else ""]
        if row["metric"] == "mean_average_precision":
            more.append(f"positives {row['positives']:g}")
        key = (row["metric"], row["images"], row["families"], ", ".join(filter(None, more)))
        text = "none" if row["covered"] is None else f"{row['covered']:.3f}"[1:]
        if row["covered"] == 1:
            text = "1.00"
        if row["covered"] is not None and row["given"] < 0.995:
            text += f" (of {row['given']:.0%})"
        seen.setdefault(key, {})[row["accuracy"]] = text
    for (metric, images, families, more), found in seen.items():
        of = f"{families:,}" if families else "lone"
        cut = [found.get(a, "") for a in ACCURACIES]
        lines.append(
            f"| {metric.replace('_', ' ')} | {images:,} | {of} | {more} | {' | '.join(cut)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="200 repeats")
    parser.add_argument("--only", choices=list(WORLDS), action="append")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument(
        "--results", type=Path, default=Path(__file__).parent / "results" / "coverage.jsonl"
    )
    options = parser.parse_args()
    repeats = 200 if options.quick else options.repeats
    wanted = [one for one in cells() if not options.only or one.metric in options.only]
    with ProcessPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(simulate, wanted, [repeats] * len(wanted)))
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
