"""An owner of an index that changes it until it is killed: `killed_owner.py FOLDER SEED COMPACT`.

Before each change it prints what it begins, and after it that it is done: what was acknowledged.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from shopsight.errors import SearchError
from shopsight.search.index import Index, open_index
from shopsight.search.maintain import compact
from tests.search.vectors import random_items

NUMBERS = 60


def say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def change(index: Index, rng: np.random.Generator, version: int) -> None:
    numbers = sorted(rng.choice(NUMBERS, size=rng.integers(1, 6), replace=False).tolist())
    with index.writing:
        if rng.random() < 0.3:
            held = set(index.items([])["id"])
            ids = [one for one in (f"item-{n:05d}" for n in numbers) if one in held]
            say(begin="delete", numbers=[int(one[-5:]) for one in ids])
            index.generation.delete(ids)
        else:
            say(begin="write", numbers=numbers, version=version)
            index.generation.write(random_items(numbers, version=version))
        say(done=True)


def compact_for_ever(index: Index) -> None:
    while True:
        try:
            compact(index)
            say(compacted=index.number)
        except SearchError as error:
            # Its builder was killed.
            say(failed=str(error))


def main() -> None:
    folder, seed, compacting = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "compact"
    rng = np.random.default_rng(seed)
    with open_index(folder) as index:
        len(index)
        say(opened=index.number)
        if compacting:
            threading.Thread(target=compact_for_ever, args=(index,), daemon=True).start()
        version = seed * 100_000
        while True:
            version += 1
            change(index, rng, version)


if __name__ == "__main__":
    main()
