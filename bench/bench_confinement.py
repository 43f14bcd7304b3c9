"""What it costs to judge where a file leads before it is read.

    python bench/bench_confinement.py

Prints microseconds a file: opened and closed as it is, and confined to the folder of the data.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from shopsight.io.confinement import real_root
from shopsight.io.local_files import open_file

FOLDERS, FILES, ROUNDS = 100, 100, 5


def _microseconds(paths: Sequence[str], roots: tuple[str, ...] | None) -> float:
    """The best of several rounds, a file."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for path in paths:
            open_file(path, roots).close()
        times.append(time.perf_counter() - start)
    return min(times) / len(paths) * 1e6


def main() -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "a" / "deep" / "place" / "for" / "photos"
        for number in range(FOLDERS):
            (root / f"{number:03d}").mkdir(parents=True)
            for other in range(FILES):
                (root / f"{number:03d}" / f"{other:03d}.jpg").write_bytes(b"x")
        paths = [str(path) for path in sorted(root.rglob("*.jpg"))]
        plain = _microseconds(paths, None)
        confined = _microseconds(paths, (real_root(str(root)),))
    print(f"{len(paths):,} files in {FOLDERS} folders: {plain:.1f} us a file, ", end="")
    print(f"{confined:.1f} us confined (+{confined - plain:.1f})")


if __name__ == "__main__":
    main()
