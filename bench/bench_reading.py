"""Reading a million rows and a million paths, before an image is opened.

    python bench/bench_reading.py

The table is read strictly (encoding, rows of the right number of cells, duplicate names) against
polars' own CSV reader, which checks none of it; the ratio is the price. Folders are read from paths
that are listed already. Processor time, and the peak resident memory of the whole process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl

from shopsight.folders.folders import folder_catalog
from shopsight.image_files.scan import Scan
from shopsight.progress import use_listener
from shopsight.tables.table_files import read_table

ROWS = 1_000_000


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def table(folder: Path) -> Path:
    path = folder / "products.csv"
    lines = (
        f'images/{row % 977}/{row:07}.jpg,"shirt, kind {row % 500}",{row // 3},Produit numéro {row}'
        for row in range(ROWS)
    )
    path.write_text("\n".join(["file,category,sku,title", *lines]), encoding="utf-8")
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as name, use_listener(None):
        path = table(Path(name))
        peer = seconds(lambda: pl.read_csv(path, infer_schema=False))
        ours = seconds(lambda: read_table(str(path)))
        print(
            f"table of {ROWS:,} rows: {ours:.2f} s, polars alone {peer:.2f} s: {ours / peer:.1f}x"
        )
    for folders in (100, 5_000, 250_000):
        paths = sorted(f"{row % folders:06}/{row:07}.jpg" for row in range(ROWS))
        scan = Scan(paths, Counter(), [], [])
        taken = seconds(lambda scan=scan: folder_catalog(scan, name="shop", root="shop"))  # type: ignore[misc]
        print(f"{ROWS:,} paths in {folders:,} folders: {taken:.2f} s")
    if sys.platform != "win32":
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"peak memory: {kib / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
