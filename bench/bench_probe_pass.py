"""Seconds and memory of one pass of the probe over drawn features.

    python bench/bench_probe_pass.py [--rows 100000] [--width 1280] [--classes 10000] [--several 0]

A pass is the loss of all rows and its gradient. Seconds are processor time, of all threads
together, and those of the clock; memory is what the peak of the process grew by.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from scaling import peak_memory
from scipy.sparse import csr_array

from shopsight.targets import Targets
from shopsight.training.probe import _loss_with_gradient
from shopsight.training.standard_rows import StandardRows, rows_at_once


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--several", type=int, default=0, help="labels of an image; 0: one class")
    given = parser.parse_args()
    features = np.random.default_rng(0).standard_normal((given.rows, given.width), np.float32)
    weight = torch.full((given.rows,), 1 / given.rows)
    rows = StandardRows(features, targets_of(given), weight, num_classes=given.classes)
    solution = torch.zeros(given.width + 1, given.classes, requires_grad=True)
    with peak_memory() as peak:
        began, cpu_began = time.perf_counter(), time.process_time()
        _loss_with_gradient(solution, rows, 1e-3, None)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    products = 2.0 * given.rows * given.width * given.classes
    cells = min(given.rows, rows_at_once(given.classes)) * given.classes
    before, most = peak
    print(
        f"{given.rows:,} rows, {given.width:,} features, {given.classes:,} classes, "
        f"{torch.get_num_threads()} threads: {seconds:.1f} s, {cpu_seconds:.1f} s of processor "
        f"time, {products / cpu_seconds:.2e} products per processor second; "
        f"{(most - before) / 1e6:,.0f} MB, {(most - before) / cells:.1f} bytes for each logit"
    )


def targets_of(given: argparse.Namespace) -> Targets:
    rng = np.random.default_rng(1)
    if not given.several:
        return rng.integers(0, given.classes, given.rows)
    labels = rng.integers(0, given.classes, given.rows * given.several)
    row = np.repeat(np.arange(given.rows), given.several)
    cells = (np.ones(len(row), np.uint8), (row, labels))
    return csr_array(cells, shape=(given.rows, given.classes))


if __name__ == "__main__":
    main()
