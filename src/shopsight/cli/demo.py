"""`shopsight demo`: the whole job on real product photos, in minutes."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shopsight.cli.options import parsed_seconds
from shopsight.cli.output import Column, count, percent, print_line, print_note, print_table
from shopsight.cli.progress import shown_progress
from shopsight.errors import ShopsightError, SourceError

if TYPE_CHECKING:
    from shopsight import api
    from shopsight.catalog.catalog import Catalog
    from shopsight.inference.predictor import Prediction

DATA = "fashion-mnist"
RECIPE = "fashion-mnist-fast"
STAND_IN = "synthetic"
# Leaves room for the evaluation and the report within five minutes on two cores.
TIME_LIMIT = "255s"
INTERRUPTED = 130


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the demo's files go.")
    ] = Path("demo"),
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="FOLDER", help="Local copy of Fashion-MNIST."),
    ] = None,
    time_limit: Annotated[
        str, typer.Option("--time-limit", metavar="TIME", help="Of audit, split and training.")
    ] = TIME_LIMIT,
) -> None:
    """Audit, split, train, evaluate, bundle and predict on real product photos (Fashion-MNIST).

    Takes under five minutes on two cores. An interrupted demo goes on where it was; a finished one
    is made anew.
    """
    from shopsight import api

    started = time.monotonic()
    limit_s = parsed_seconds(time_limit)
    run = out / "run"
    _refuse_strangers(run)
    try:
        with shown_progress():
            catalog = _catalog(root)
            result = _trained(catalog, run, limit_s)
            truth = _write_samples(run, out / "images")
            predictions = list(api.predict(run, sorted(truth)))
    except KeyboardInterrupt:
        print_note(f"interrupted; go on with: shopsight demo --out {shlex.quote(str(out))}")
        raise typer.Exit(INTERRUPTED) from None
    _show(result, catalog, took_s=time.monotonic() - started)
    _show_predictions(predictions, truth)
    _show_next(result, synthetic=catalog.synthetic)


def _refuse_strangers(run: Path) -> None:
    """The demo replaces its own run, and nothing else."""
    inside = {path.name for path in run.iterdir()} if run.is_dir() else set()
    if inside and not inside & {"audit", "run.json"}:
        raise ShopsightError(
            "is in the demo's way and holds no run of it",
            where=str(run),
            fix="shopsight demo --out ANOTHER_FOLDER",
        )


def _catalog(root: str | None) -> Catalog:
    from shopsight import api

    try:
        return api.open_catalog(DATA, root=root)
    except SourceError as error:
        if root is not None:
            raise
        print_note(f"no real photos within reach: {error}")
        print_note("going on with product images that shopsight draws itself")
        return api.open_catalog(STAND_IN)


def _trained(catalog: Catalog, run: Path, time_limit_s: float) -> api.TrainResult:
    """Go on with an unfinished run on the same images, replace a finished one."""
    from shopsight import api
    from shopsight.runs.run_folder import RunFolder

    folder = RunFolder(run)
    if folder.state_file.is_file():
        state = folder.state()
        unfinished = "stage" in state and not (run / "report.html").is_file()
        if unfinished and state.get("data") == catalog.name:
            print_note(f"going on with the demo in {run}")
            return api.resume(run)
    # Also what was stopped before its state was first written.
    shutil.rmtree(run, ignore_errors=True)
    return api.train(catalog, out=run, recipe=RECIPE, time_limit_s=time_limit_s)


def _write_samples(run: Path, folder: Path) -> dict[str, str]:
    """One test image of each class as a file of its own: path -> true label."""
    from PIL import Image

    from shopsight.files import atomic_folder
    from shopsight.images.decode import decode, read_bytes
    from shopsight.inference.writers import folder_name
    from shopsight.runs.run_folder import RunFolder

    catalog = RunFolder(run).catalog()
    test = catalog.take(catalog.rows_of("test"))
    table = test.table.with_row_index("row").unique("label", keep="first").sort("label")
    refs = test.refs()
    truth = {}
    with atomic_folder(folder) as part:
        for row, label in table.select("row", "label").iter_rows():
            name = f"{folder_name(label)}.png"
            Image.fromarray(decode(read_bytes(refs[row]))).save(part / name)
            truth[str(folder / name)] = label
    return truth


def _show(result: api.TrainResult, catalog: Catalog, *, took_s: float) -> None:
    from shopsight.files import read_json

    audit: dict[str, Any] = read_json(result.run / "audit" / "audit.json")
    parts = {part: found.counts["images"] for part, found in result.evaluations.items()}
    found = ", ".join(f"{count(number)} {kind}" for kind, number in audit["counts"].items())
    kind = "images DRAWN by shopsight, no photos" if catalog.synthetic else "real product photos"
    rows = [
        ["data", f"{catalog.name}: {count(len(catalog))} {kind}"],
        ["audit", found or "nothing found"],
        ["evaluated on", ", ".join(f"{count(number)} {part}" for part, number in parts.items())],
    ]
    for part, evaluation in result.evaluations.items():
        score = evaluation.score
        interval = f"{percent(score.low)} to {percent(score.high)}"
        name = f"{part} {evaluation.headline.replace('_', ' ')}"
        rows.append([name, f"{percent(score.value, 2)}   (95 % interval {interval})"])
    rows.append(["time", f"{took_s:.0f} s in all"])
    print_table([Column("", fold=False), Column("")], rows, title="shopsight demo")


def _show_predictions(predictions: list[Prediction], truth: dict[str, str]) -> None:
    rows = []
    for prediction in predictions:
        label, share = prediction.labels[0], prediction.probabilities[0]
        mark = "" if label == truth[prediction.source] else "wrong"
        rows.append([prediction.source, truth[prediction.source], label, percent(share), mark])
    columns = [Column("test image", fold=False), Column("is"), Column("predicted"), Column("")]
    print_table([*columns, Column("")], rows)


def _show_next(result: api.TrainResult, *, synthetic: bool) -> None:
    run = shlex.quote(str(result.run))
    print_line(f"report: {result.report}" + "   (of synthetic images)" * synthetic)
    print_line(f"model:  {result.run / 'model'}")
    print_line()
    print_line("The same on your own photos, one folder per class (or a table: see docs/data.md):")
    print_line("  shopsight audit   my-photos --out my-audit")
    print_line("  shopsight train   my-photos --out my-run")
    print_line("  shopsight predict my-run new-photos --out predictions.csv")
    print_line("Predict with the demo's model:")
    print_line(f"  shopsight predict {run} IMAGE_OR_FOLDER")
