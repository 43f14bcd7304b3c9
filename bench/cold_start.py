"""From nothing to the first answer, and how large the installation is: serving only or everything.

    python -m venv SERVING && SERVING/bin/pip install ".[serve]"
    python bench/cold_start.py MODEL PHOTO NAME=PYTHON ... [--rounds 5]

MODEL is an exported run or bundle; each PYTHON has shopsight. Every round starts a new process of
each in turn, which imports shopsight, loads the model with its golden outputs checked, and labels
one photo; the parts are its own clock's, the whole is the clock's of whoever started it. The median
counts. Files are in the system's cache from a first round that does not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

ANSWER = """
import json, sys, time
began = time.perf_counter()
import shopsight
imported = time.perf_counter()
model = shopsight.load(sys.argv[1])
loaded = time.perf_counter()
(found,) = model.predict([sys.argv[2]])
done = time.perf_counter()
import resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"import_s": imported - began, "load_s": loaded - imported,
    "answer_s": done - loaded, "peak_mb": peak, "engine": model.engine.name,
    "label": found.labels[0]}))
"""
PLACE = "import sysconfig, sys; print(sysconfig.get_path('purelib'))"


def installed_mb(python: str) -> float:
    """All files of its libraries; a link to another installation counts where it leads."""
    done = subprocess.run([python, "-c", PLACE], capture_output=True, encoding="utf-8", check=True)
    folder = Path(done.stdout.strip())
    files = (Path(top) / name for top, _, names in os.walk(folder) for name in names)
    return sum(one.stat().st_size for one in files) / 1e6


def first_answer(python: str, model: str, photo: str) -> dict[str, float | str]:
    """One process."""
    began = time.perf_counter()
    command = [python, "-c", ANSWER, model, photo]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    whole = time.perf_counter() - began
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"whole_s": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", help="an exported run or bundle")
    parser.add_argument("photo")
    parser.add_argument("pythons", nargs="+", metavar="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    pythons = dict(one.split("=", 1) for one in given.pythons)
    rounds: dict[str, list[dict[str, float | str]]] = {name: [] for name in pythons}
    for number in range(given.rounds + 1):
        for name, python in pythons.items():
            found = first_answer(python, given.model, given.photo)
            if number:
                rounds[name].append(found)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {given.rounds} rounds")
    for name, found in rounds.items():
        middle = {
            key: round(statistics.median(float(one[key]) for one in found), 2)
            for key in ("import_s", "load_s", "answer_s", "whole_s", "peak_mb")
        }
        said = {key: found[0][key] for key in ("engine", "label")}
        size = {"installed_mb": round(installed_mb(pythons[name]))}
        print(f"{name}:", json.dumps(size | middle | said), flush=True)


if __name__ == "__main__":
    main()
