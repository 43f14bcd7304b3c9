"""Time and memory of what shopsight does with a catalog, from ten thousand rows to a million.

    python bench/bench_scale.py [--only NAME] [--sizes 10k 100k 1m 10m] [--limit-s 600] [--plot]

A million rows have 10,000 classes of 100 images, smaller catalogs fewer (`scaling.classes_of`).
Each function runs in a process of its own on an input that is drawn, not photographed: what is
measured is the work with rows, not the decoding. Seconds are processor time, of all threads
together; the records have the other, too. `e` is the exponent: the slope of the time at the last
three sizes, 1 for work in proportion to the rows. "16 GB" says whether a million rows fit.

Results are added to bench/results/scale.jsonl; what is there under the same `--state` is not
measured again (`--again` does). Another state of the source is measured with
PYTHONPATH=OTHER/src and `--state before`, and is shown beside.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scale_plot import write_plots
from scaling import (
    AREAS,
    BUDGET_GB,
    N_LOG_N,
    Function,
    Record,
    exponent,
    functions,
    measure,
    measure_here,
    newest,
    read_records,
)

RESULTS = Path(__file__).parent / "results" / "scale.jsonl"
PLOTS = Path(__file__).parents[1] / "docs" / "images"
SIZES = (10_000, 100_000, 1_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="areas or functions")
    parser.add_argument("--sizes", nargs="+", type=rows, help="10k 100k 1m and more")
    parser.add_argument("--limit-s", type=float, default=600.0, help="of one function at one size")
    parser.add_argument("--memory-gb", type=float, default=BUDGET_GB, help="likewise")
    parser.add_argument("--state", default="now", help="name of what is measured")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results")
    parser.add_argument("--again", action="store_true", help="measure also what is known")
    parser.add_argument("--plot", action="store_true", help="draw docs/images/scale-AREA.svg")
    parser.add_argument(
        "--list", action="store_true", help="show what is known and measure nothing"
    )
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        area, name, size, limit_s, memory_gb = given.measure
        limits = {"limit_s": float(limit_s), "memory_gb": float(memory_gb)}
        print(json.dumps(measure_here(area, name, int(size), **limits)))
        return
    chosen = [
        (area, function)
        for area in AREAS
        for function in functions(area).values()
        if not given.only or area in given.only or function.name in given.only
    ]
    if not given.list:
        for area, function in chosen:
            measure_sizes(area, function, given)
    known = newest(read_records(given.results))
    for state in dict.fromkeys(key[0] for key in known):
        print_table(state, chosen, known.values())
    if given.plot:
        mine = [one for one in known.values() if one["state"] == given.state]
        write_plots(PLOTS, [one for one in mine if one["area"] in AREAS])


def rows(text: str) -> int:
    """`100k` -> 100,000."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


def measure_sizes(area: str, function: Function, given: argparse.Namespace) -> None:
    """Measure what is not known, up to the first size that does not end well."""
    sizes = given.sizes or [size for size in SIZES if size <= function.largest]
    known = newest(read_records(given.results))
    for size in sorted(sizes):
        record = known.get((given.state, area, function.name, size))
        if record is None or given.again:
            found = measure(area, function, size, limit_s=given.limit_s, memory_gb=given.memory_gb)
            record = {
                "state": given.state,
                **found,
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": platform.processor() or platform.machine(),
            }
            with given.results.open("a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")
            print(f"{area} {function.name} {size:,}: {cell(record)}", flush=True)
        if record["status"] != "ok":
            break


def print_table(
    state: str, chosen: Sequence[tuple[str, Function]], records: Sequence[Record]
) -> None:
    """One line for each function: seconds and MB of each size, exponent, budget."""
    records = [record for record in records if record["state"] == state]
    sizes = sorted({record["rows"] for record in records})
    print(f"\n{state}: seconds of processor time, MB of growth")
    print(
        f"| {'function':<34} |" + "".join(f" {size:>17,} |" for size in sizes) + "    e | 16 GB |"
    )
    print(f"|{'-' * 36}|" + "".join(f"{'-' * 18}:|" for _ in sizes) + "-----:|-------|")
    for area, function in chosen:
        mine = {r["rows"]: r for r in records if (r["area"], r["name"]) == (area, function.name)}
        if not mine:
            continue
        cells = "".join(f" {cell(mine.get(size)):>17} |" for size in sizes)
        print(
            f"| {function.name:<34} |{cells} {slope(mine.values(), function)} | {fits(mine):<5} |"
        )


def cell(record: Record | None) -> str:
    if record is None:
        return ""
    if record["status"] != "ok":
        return str(record["reason"])[:60]
    return f"{record['cpu_seconds']:.2f} s {record['growth_mb']:,.0f} MB"


def slope(records: Sequence[Record], function: Function) -> str:
    done = sorted((r for r in records if r["status"] == "ok"), key=lambda r: r["rows"])
    found = exponent([r["rows"] for r in done], [r["cpu_seconds"] for r in done])
    if found is None:
        return "   -"
    mark = "" if found <= N_LOG_N else "*" if function.why else "!"
    return f"{found:.2f}{mark}".rjust(4)


def fits(by_rows: dict[int, Record]) -> str:
    """Whether a million rows stay within the budget; ~ where that is an estimate."""
    million = by_rows.get(1_000_000)
    if million is not None and million["status"] == "ok":
        return "yes" if million["peak_mb"] <= BUDGET_GB * 1000 else "NO"
    if million is not None and million["status"] == "memory":
        return "NO"
    done = [record for record in by_rows.values() if record["status"] == "ok"]
    if not done:
        return "-"
    last = max(done, key=lambda record: record["rows"])
    estimate = last["peak_mb"] + last["growth_mb"] * (1_000_000 / last["rows"] - 1)
    return "~yes" if estimate <= BUDGET_GB * 1000 else "~NO"


if __name__ == "__main__":
    main()
