"""Recipes, and the files of a run and its bundle, broken in many ways."""

from __future__ import annotations

import functools
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from shopsight.audit.audit import FINDINGS_FILE
from shopsight.bundle.format import BundleInfo, Golden
from shopsight.bundle.read import read_bundle, read_tensors
from shopsight.bundle.write import write_bundle
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import RECIPES_FOLDER, Recipe, load_recipe, recipe_names
from shopsight.errors import ShopsightError
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.run_info import read_run
from shopsight.files import write_json
from shopsight.images.thumbnails import THUMB_BYTES, read_thumbs, write_thumbs
from shopsight.io.json_files import read_json_table
from shopsight.memory import use_memory_budget
from shopsight.preprocess import Preprocess
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.history import EpochRow, write_history
from shopsight.runs.run_folder import RunFolder
from shopsight.spreadsheets import for_reading
from tests.fuzz.file_bytes import photo
from tests.fuzz.limits import named

BUDGET_GB = 1.0
LABELS = ("dress", "hat", "shoe")
COUNT = 30


def read_as_recipe(path: Path) -> str:
    """Read a recipe: what is taken can be written and read again."""
    try:
        recipe = load_recipe(path)
    except ShopsightError as error:
        return named(error)
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert load_recipe(path) == recipe
    return "recipe"


def read_in_run(path: Path) -> str:
    """Put the file into a run, where its name says, and read all that the run holds."""
    run = _run()
    within = run / path.name.rpartition("!")[2].replace("+", "/")
    kept = within.read_bytes()
    within.write_bytes(path.read_bytes())
    failed = []
    try:
        with use_memory_budget(BUDGET_GB):
            for read in _READERS:
                try:
                    read(RunFolder(run))
                except ShopsightError as error:
                    failed.append(named(error))
    finally:
        within.write_bytes(kept)
    return " ".join(sorted(set(failed))) or "run"


def _read_predictions(run: RunFolder) -> None:
    found = Predictions.read(run.predictions_file("test"))
    assert len(Predictions.read(run.predictions_file("test"), ["row"])) == len(found)


def _read_thumbs(run: RunFolder) -> None:
    found = read_thumbs(run.thumbs_file, pl.Series(_hashes()))
    assert found.shape[1] == THUMB_BYTES


_READERS: tuple[Callable[[RunFolder], object], ...] = (
    read_run,
    _read_predictions,
    _read_thumbs,
    lambda run: read_bundle(run.model),
    lambda run: read_tensors(run.model),
    lambda run: read_json_table(run.scores_file),
    lambda run: (run.spent_s(), run.reached("bundled")),
)


def _hashes() -> list[str]:
    return [f"{number:064x}" for number in range(COUNT)]


@functools.cache
def run_files() -> dict[str, bytes]:
    """The files of a whole run, by their names with + for the slashes."""
    run = _run()
    return {
        f"!{path.relative_to(run).as_posix().replace('/', '+')}": path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


@functools.cache
def _run() -> Path:
    """A run as training leaves it, written without a network; it goes with the process."""
    run = RunFolder(Path(_temporary().name) / "run")
    run.path.mkdir()
    columns = {
        "image": [f"{number}.jpg" for number in range(COUNT)],
        "label": [LABELS[number % 3] for number in range(COUNT)],
        "split": [("train", "val", "test")[number // 3 % 3] for number in range(COUNT)],
    }
    table = pl.DataFrame(columns)
    hashes = pl.Series("sha256", _hashes())
    catalog = Catalog(table, "photos", "")
    AuditedCatalog(catalog, hashes, np.arange(COUNT)).write(run.catalog_file)
    run.write_recipe(Recipe())
    row = EpochRow("finetune", 1, 28, 1e-3, 1.0, 0.5, 1.0, 0.5, 2.0)
    write_history(run.metrics_file, [row] * 3)
    thumbs = np.ones((COUNT, THUMB_BYTES), np.uint8)
    write_thumbs(run.thumbs_file, hashes, thumbs)
    for_reading(pl.DataFrame({"image": ["x.jpg"], "reason": ["empty"]})).write_csv(
        run.left_out_file
    )
    findings = {"kind": ["empty file"], "severity": ["error"], "image": ["x.jpg"]}
    pl.DataFrame(findings).write_csv(run.audit / FINDINGS_FILE)
    write_json(run.scores_file, {"test": {"accuracy": 0.5, "images": 10}})
    predicted = table.with_row_index("row").with_columns(
        predicted="label",
        confidence=0.5,
        correct=True,
        rank=pl.lit(1, pl.Int32),
        loss=0.5,
        top_labels=pl.concat_list("label", "label"),
        top_probabilities=pl.concat_list(pl.lit(0.5), pl.lit(0.5)),
    )
    Predictions(predicted, LABELS, False, "test", "photos").write(run.predictions_file("test"))
    _write_bundle(run.model)
    run.update_state(stage="bundled", seconds={"probe": {"wall": 1.0, "cpu": 2.0}})
    return run.path


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


def _write_bundle(folder: Path) -> None:
    tensors = {"backbone.a": np.ones((4, 3), np.float32), "head.b": np.ones((3, 4), np.float16)}
    info = BundleInfo(
        backbone="shopsight:fashion_cnn", weights="random", labels=LABELS,
        preprocess=Preprocess(size_px=28), embedding_dim=4, recipe="Small", catalog="photos",
    )  # fmt: skip
    golden = Golden((photo(1), photo(2)), np.ones((2, 3), "f4"), np.ones((2, 4), "f4"))
    write_bundle(folder, tensors=tensors, info=info, golden=golden, metrics={"accuracy": 0.5})


@functools.cache
def recipes() -> dict[str, bytes]:
    """The shipped recipes."""
    found = {
        f"{name}.toml": (RECIPES_FOLDER / f"{name}.toml").read_bytes() for name in recipe_names()
    }
    return found | {"all.toml": Recipe().to_toml().encode()}


def edit_line(data: bytes, rng: random.Random) -> bytes:
    """Exchange a value in a recipe, or add a line to it."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    key = lines[at].partition(b"=")[0] if b"=" in lines[at] else b"key "
    lines[at] = key + b"= " + rng.choice(VALUES)
    if rng.random() < 0.2:
        lines.insert(at, rng.choice(LINES))
    return b"\n".join(lines)


VALUES = (
    b"0", b"-1", b"1e999", b"nan", b"-inf", b"9" * 20, b"9" * 5000, b"0x" + b"f" * 5000,
    b"1979-05-27", b"07:32:00", b"1979-02-30T00:00:00Z", b'""', b'"\\ud800"', b'"\\u0000"',
    b'"' + b"x" * 100_000 + b'"', b"true", b"[]", b"{}", b"[" * 10_000, b"{a=" * 5000,
    b"[[[[[[1]]]]]]",
    b"[" + b"1," * 100_000 + b"]", b'"../../etc"', b"{ shoe = 1e308, hat = -0.0 }",
    b"'''x", b"[1, 'a']",
)  # fmt: skip
LINES = (
    b"[data]", b"[[data]]", b"[a.b.c.d.e.f.g.h.i.j.k.l.m.n]", b"a" + b".a" * 5000 + b" = 1",
    b"[" + b"a." * 3000 + b"a]", b"no_such_key = 1", b"\xff", b"\xef\xbb\xbf", b"\r",
    b"#" * 100_000,
)  # fmt: skip
IN_RECIPES = (edit_line, edit_line, edit_line)
