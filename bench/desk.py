"""The review desk in numbers: how fast it is worked with, how large it may be, what it brings.

    python bench/desk.py --clothing FOLDER --model RUN --work FOLDER

RUN is any probe of the embedded Lite0 backbone; its classes need not be those of the photos.

- browser: a scripted reviewer in Chromium labels 500 photos with the suggestions of --classifier,
  by screens and one photo at a time: what is selected wrongly is clicked, then Enter, until every
  photo has a label or was said to be of none of five. Seconds are those of the machine alone: what
  a person takes to look is not in them, so the actions (clicks and keys) are counted too.
- size: 100,000 images: memory, time until the first screen is there, and of each decision.
- labels: clothing photos without labels. A fifth of the contributors is put aside. Screens of
  photos that look alike get the label that most of a screen have, those that have another are
  clicked away; after 10, 30 and 100 screens a probe is trained on what has a label, and scored on
  the contributors that were put aside.

Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from catalogs import and_those_later, clothing

import shopsight
from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.desk.desk import Desk
from shopsight.desk.suggestions import Suggestions, suggest

AFTER = (10, 30, 100)
PHOTOS = 500
LARGE = 100_000


def accept_screen(desk: Desk, truth: list[str]) -> int:
    """What a reviewer does with a screen of photos that look alike; the number of actions."""
    screen = desk.screen("alike")
    ids = desk.suggestions.ids
    label = Counter(truth[row] for row in screen.rows).most_common(1)[0][0]
    right = [ids[row] for row in screen.rows if truth[row] == label]
    desk.decide(label, accepted=right)
    # A click for each that is something else, the label unless it is suggested, and Enter.
    return len(screen.rows) - len(right) + (screen.label != label) + 1


def labels(catalog: Catalog, model: str, work: Path) -> Iterator[dict[str, Any]]:
    own, later = and_those_later(catalog)
    truth = own.table["label"].to_list()
    bare = own.with_table(own.table.drop("label", "split", strict=False))
    table = work / "bare.parquet"
    bare.write(table)
    found = suggest(table, shopsight.load(model, device="cpu", engine="torch"))
    desk = Desk(found, work / "desk")
    actions = done = 0
    for screens in AFTER:
        while done < screens:
            actions += accept_screen(desk, truth)
            done += 1
        now = work / f"after{screens}.parquet"
        desk.write_catalog(now)
        labeled = Catalog.read(now)
        out = work / f"run{screens}"
        shutil.rmtree(out, ignore_errors=True)
        api.train(
            labeled,
            out=out,
            recipe="fast",
            settings=["framing.search=false", "data.test=0.0"],
            accept=("group-leak", "imbalance", "rare-class", "lost-class", "unmeasured-class"),
            exclude=api.FIXABLE_KINDS,
        )
        predictor = shopsight.load(out, device="cpu")
        predictions = list(predictor.predict(later.refs()))
        given = later.table["label"].to_list()
        right = [one.labels[0] == label for one, label in zip(predictions, given, strict=True)]
        yield {
            "what": "labels",
            "screens": screens,
            "actions": actions,
            "labeled": len(labeled),
            "classes": len(labeled.labels),
            "accuracy": float(np.mean(right)),
            "images": len(right),
        }


def size(catalog: Catalog, work: Path) -> dict[str, Any]:
    """A desk of 100,000 rows on real files; what a model says of them is made up."""
    rng = np.random.default_rng(0)
    rows = np.arange(LARGE) % len(catalog)
    large = catalog.take(rows)
    count, classes = len(large), catalog.labels
    vectors = rng.normal(size=(count, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before = _memory_mb()
    began = time.perf_counter()
    suggested = [tuple(row) for row in rng.integers(0, len(classes), (count, 5)).tolist()]
    desk = Desk(
        Suggestions(
            catalog=large,
            ids=tuple(map(str, range(count))),
            given=(None,) * count,
            labels=tuple(classes),
            suggested=tuple(suggested),
            confidence=rng.uniform(size=count),
            kinds=tuple("unlabeled" for _ in range(count)),
            suspicion=np.zeros(count),
            unknown=np.zeros(count, bool),
            copies=np.arange(count),
            vectors=vectors,
        ),
        work / "large",
    )
    screen = desk.screen("unlabeled")
    desk.shown(screen)
    first = time.perf_counter() - began
    times: dict[str, list[float]] = {"unlabeled": [], "alike": []}
    for queue, spent in times.items():
        for _ in range(10):
            began = time.perf_counter()
            screen = desk.screen(queue)  # type: ignore[arg-type]
            desk.shown(screen)
            desk.decide("hat", accepted=[str(row) for row in screen.rows])
            desk.counts()
            spent.append(time.perf_counter() - began)
    return {
        "what": "size",
        "images": count,
        "first_screen_s": first,
        "screen_s": {queue: float(np.median(spent)) for queue, spent in times.items()},
        "memory_mb": _memory_mb() - before,
    }


def browser(catalog: Catalog, model: str, work: Path, chromium: str) -> Iterator[dict[str, Any]]:
    """Both ways of labeling the same photos, through the page."""
    from playwright.sync_api import sync_playwright

    rows = np.random.default_rng(0).permutation(len(catalog))[:PHOTOS]
    some = catalog.take(np.sort(rows))
    table = work / "photos.parquet"
    some.with_table(some.table.drop("label", "split", strict=False)).write(table)
    truth = dict(zip(map(str, some.table["image"]), some.table["label"], strict=True))
    for way, most in (("screens", 24), ("one by one", 1)):
        folder = work / f"desk-{most}"
        shutil.rmtree(folder, ignore_errors=True)
        with serving(model, table, folder) as address, sync_playwright() as started:
            page = started.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"]
            ).new_page()
            page.set_default_timeout(120_000)
            if most == 1:
                page.route(
                    "**/v1/review/screen*",
                    lambda route: route.continue_(url=f"{route.request.url}&most=1"),
                )
            page.goto(address)
            page.get_by_text("Are these all").wait_for()
            began, decided, actions = time.perf_counter(), 0, 0
            while page.get_by_text("Are these all").count():
                spent, right = _work_screen(page, truth)
                decided += right
                actions += spent
            seconds = time.perf_counter() - began
            yield {
                "what": "browser",
                "way": way,
                "photos": PHOTOS,
                "decided": decided,
                "seconds": seconds,
                "actions": actions,
                "a_minute": 60 * decided / seconds,
            }


@contextmanager
def serving(model: str, table: Path, folder: Path) -> Iterator[str]:
    """The address of a desk, in a process of its own."""
    words = [sys.executable, "-m", "shopsight", "serve", model, "--port", "0"]
    words += ["--review", str(table), "--review-folder", str(folder)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "review desk: " in line:
                break
        # What it says further must not fill the pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield line.partition("review desk: ")[2].strip()
    finally:
        process.terminate()
        process.wait(30)


def _work_screen(page: Any, truth: dict[str, str]) -> tuple[int, int]:
    """One screen: what is selected wrongly, or not and should be, is clicked; then Enter."""
    label = page.locator("#question").inner_text().partition("“")[2].partition("”")[0]
    states = page.eval_on_selector_all(
        "#grid button", "found => found.map(one => [one.dataset.id, one.dataset.state])"
    )
    clicks = [
        at for at, (name, state) in enumerate(states) if (truth[name] == label) != (state == "yes")
    ]
    for at in clicks:
        page.locator("#grid button").nth(at).click()
    # The next screen may show some of these again: it is there when the grid was made anew.
    page.evaluate("document.querySelector('#grid button').isOld = true")
    page.locator("#screen").press("Enter")
    page.wait_for_function("() => !document.querySelector('#grid button')?.isOld")
    return len(clicks) + 1, sum(truth[name] == label for name, _ in states)


def _memory_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--classifier", help="of the photos' classes; None: that of 100 screens")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", choices=("size", "labels", "browser"))
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    parser.add_argument("--results", type=Path, default=Path("bench/results/desk.jsonl"))
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp())
    work.mkdir(parents=True, exist_ok=True)
    catalog = clothing(options.clothing)
    parts: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        "size": lambda: iter([size(catalog, work)]),
        "labels": lambda: labels(catalog, options.model, work),
        "browser": lambda: browser(
            catalog, options.classifier or str(work / "run100"), work, options.chromium
        ),
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        if options.only in (None, name):
            for row in part():
                print(json.dumps(row), flush=True)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
