"""The whole job as commands, under the rules of tests/windows.py, or on Windows itself.

Labels and folders are beyond cp1252. Each command is a process of its own, as users start it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.runs.history import read_history
from tests.helpers import ProductPhotos, make_products

ROOT = Path(__file__).parents[1]
NAMES = {"dress": "裙子", "shoe": "Schuhe für Größe 38", "hat": "hat"}
SMALL = (*("--recipe", "fashion-mnist-cnn", "--set", "training.batch_size=16"),)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> ProductPhotos:
    products = make_products(tmp_path_factory.mktemp("Größen") / "写真", per_class=20)
    table = products.table.read_text(encoding="utf-8")
    for name, other in NAMES.items():
        (products.folder / name).rename(products.folder / other)
        table = table.replace(f"{name}/", f"{other}/").replace(f",{name},", f",{other},")
    products.table.write_text(table, encoding="utf-8")
    return replace(products, labels=tuple(sorted(NAMES.values())))


def command(*words: object) -> list[str]:
    rules = [] if sys.platform == "win32" else [str(ROOT / "tests" / "windows.py")]
    return [sys.executable, *rules, "-m", "shopsight", *map(str, words)]


def environment() -> dict[str, str]:
    # Under sys.path the children find the shopsight that is tested.
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def shopsight(*words: object) -> str:
    """Run a command to its end; gives what it wrote to stdout, which is UTF-8."""
    done = subprocess.run(command(*words), capture_output=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8")


def result(*words: object) -> dict[str, Any]:
    return dict(json.loads(shopsight(*words, "--json")))


def test_audit_and_split(photos: ProductPhotos, tmp_path: Path) -> None:
    shopsight("audit", photos.folder, "--out", tmp_path / "audit")
    assert NAMES["dress"] in (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    catalog = tmp_path / "分割.parquet"
    assert result("split", photos.table, "--group", "product", "--out", catalog)
    assert set(Catalog.read(catalog).labels) == set(photos.labels)


def test_train_evaluate_and_predict(photos: ProductPhotos, tmp_path: Path) -> None:
    """A probe, then fine-tuning, as the default recipe does."""
    run = tmp_path / "run"
    size = ("--set", "preprocess.size_px=64", "--set", "training.progressive_sizes_px=[]")
    shopsight("train", photos.folder, "--out", run, "--recipe", "balanced", *size, "--epochs", 1)
    assert (run / "report.html").is_file()
    assert result("evaluate", run)
    shown = shopsight("predict", run, photos.folder / NAMES["dress"])
    assert NAMES["dress"] in shown
    files = ("--out", tmp_path / "answers.csv", "--sort-into", tmp_path / "sorted")
    shopsight("predict", run, photos.folder, *files)
    answers = (tmp_path / "answers.csv").read_text(encoding="utf-8")
    assert len(answers.splitlines()) == photos.count + 1
    assert any((tmp_path / "sorted").iterdir())


def test_train_folds(photos: ProductPhotos, tmp_path: Path) -> None:
    folds = ("--folds", 2, "--epochs", 1, "--out", tmp_path / "run")
    assert result("train", photos.folder, *SMALL, *folds)["evaluations"]


def test_a_process_that_is_ended_is_resumed(photos: ProductPhotos, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("train", photos.folder, *SMALL, "--epochs", 200, "--out", run)
    with subprocess.Popen(
        command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    ) as process:
        deadline = time.monotonic() + 120
        while len(read_history(run / "metrics.csv")) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    done = len(read_history(run / "metrics.csv"))
    assert done < 200
    recipe = run / "recipe.toml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("epochs = 200", f"epochs = {done + 3}", 1), encoding="utf-8")
    assert result("train", "--resume", run)
    assert len(read_history(run / "metrics.csv")) == done + 3
