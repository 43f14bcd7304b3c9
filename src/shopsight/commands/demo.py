"""Demo: the whole job on real product photos, in minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from shopsight import progress
from shopsight.audit.audit import SUMMARY_FILE
from shopsight.catalog.catalog import Catalog
from shopsight.commands.index import build_index
from shopsight.commands.predict import predict
from shopsight.commands.search import search
from shopsight.commands.search_service import SearchResult
from shopsight.commands.train import TrainResult, resume, train
from shopsight.datasets.open import open_catalog
from shopsight.errors import ShopsightError, SourceError
from shopsight.files import atomic_folder, discard_folder
from shopsight.images.decode import decode, read_bytes
from shopsight.inference.predictor import Prediction
from shopsight.io.json_files import read_json
from shopsight.output_locks import only_writer_of_folder
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder
from shopsight.safe_names import PART_PREFIX, unique_names
from shopsight.words.word_table import has_words

DATA = "fashion-mnist"
RECIPE = "fashion-mnist-fast"
STAND_IN = "synthetic"
NUM_QUERIES = 4
WORDS = ("a warm jacket", "something to carry books in", "beach footwear")
"""What the demo searches for by words; none of them is a label of its images."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo did.

    Attributes:
        data: the name of the data set.
        num_images: how many images it has.
        synthetic: the images were rendered by shopsight, because the photos were not available.
        findings: how many of each kind the audit found.
        trained: the run, its scores and its report.
        predictions: of one test image per class.
        truth: the image of each prediction -> its true label.
        found: what a search in an index of the test images found, by image and by words; None
            where the extras `search` and `words` are not installed.
        took_s: seconds in all.
    """

    data: str
    num_images: int
    synthetic: bool
    findings: dict[str, int]
    trained: TrainResult
    predictions: tuple[Prediction, ...]
    truth: dict[str, str]
    found: SearchResult | None
    took_s: float


def demo(
    *, out: str | Path = "demo", root: str | Path | None = None, time_limit_s: float = 255.0
) -> DemoResult:
    """Audit, split, train, evaluate, predict and search on real product photos (Fashion-MNIST).

    An interrupted demo continues where it stopped; a finished one is replaced.

    Args:
        out: the folder for the demo's files; its run is `out / "run"`.
        root: a local copy of Fashion-MNIST; None looks for one, then downloads it, and takes
            synthetic images where that fails.
        time_limit_s: of audit, split and training; the default leaves room for the evaluation and
            the report within five minutes on two cores.

    Raises:
        ShopsightError: `out / "run"` holds something else, or `root` has no Fashion-MNIST.
    """
    started = time.monotonic()
    run = RunFolder(Path(out) / "run")
    run.check_path_length()
    _refuse_strangers(run)
    catalog = _catalog(root)
    with only_writer_of_folder(out):
        trained = _trained(catalog, run, time_limit_s)
        truth = _write_samples(run, Path(out) / "images")
        found = _searched(run, Path(out), sorted(truth)) if can_search() else None
    audit: dict[str, Any] = read_json(run.audit / SUMMARY_FILE)
    return DemoResult(
        data=catalog.name,
        num_images=len(catalog),
        synthetic=catalog.synthetic,
        findings=audit["counts"],
        trained=trained,
        predictions=tuple(predict(run.path, sorted(truth))),
        truth=truth,
        found=found,
        took_s=time.monotonic() - started,
    )


def _refuse_strangers(run: RunFolder) -> None:
    """The demo replaces its own run, and nothing else."""
    names = [path.name for path in run.path.iterdir()] if run.path.is_dir() else []
    # A killed process leaves its lock.
    inside = [name for name in names if not name.startswith(PART_PREFIX)]
    if inside and not run.is_begun():
        raise ShopsightError(
            "exists and is not a demo run",
            where=str(run.path),
            fix="shopsight demo --out ANOTHER_FOLDER",
        )


def _catalog(root: str | Path | None) -> Catalog:
    try:
        return open_catalog(DATA, ReadOptions(root=root))
    except SourceError as error:
        if root is not None:
            raise
        progress.notify(f"no real photos available: {error}")
        progress.notify("using synthetic product images instead")
        return open_catalog(STAND_IN)


def _trained(catalog: Catalog, run: RunFolder, time_limit_s: float) -> TrainResult:
    """Resume an unfinished run on the same images, replace a finished one."""
    if run.is_current():
        state = run.state()
        unfinished = "stage" in state and not run.report_file.is_file()
        if unfinished and state.get("data") == catalog.name:
            progress.notify(f"resuming the demo in {run.path}")
            return resume(run.path)
    # Also what was stopped before its state was first written.
    discard_folder(run.path)
    return train(catalog, out=run.path, recipe=RECIPE, time_limit_s=time_limit_s)


def can_search() -> bool:
    """Whether the extras of search and of words are installed."""
    return has_words() and find_spec("qdrant_edge") is not None


def _searched(run: RunFolder, out: Path, images: Sequence[str]) -> SearchResult:
    """Index the test images by the model that was trained, and search them."""
    catalog = run.catalog()
    discard_folder(out / "index")
    build_index(run.path, catalog.take(catalog.rows_of("test")), out=out / "index")
    texts = [] if catalog.synthetic else list(WORDS)
    return search(out / "index", images[:NUM_QUERIES], texts=texts, top=7, html=out / "search.html")


def _write_samples(run: RunFolder, folder: Path) -> dict[str, str]:
    """Write one test image of each class as a file of its own; path -> true label."""
    catalog = run.catalog()
    test = catalog.take(catalog.rows_of("test"))
    table = test.table.with_row_index("row").unique("label", keep="first").sort("label")
    refs = test.refs()
    truth = {}
    names = unique_names(catalog.labels)
    with atomic_folder(folder) as part:
        for row, label in table.select("row", "label").iter_rows():
            name = f"{names[label]}.png"
            Image.fromarray(decode(read_bytes(refs[row], test.access))).save(part / name)
            truth[str(folder / name)] = label
    return truth
