"""`shopsight demo`: the whole job on real product photos, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shopsight import api
from shopsight.cli.options import parsed_seconds
from shopsight.cli.output import (
    INTERRUPTED,
    Column,
    print_line,
    print_note,
    print_table,
)
from shopsight.cli.progress import shown_progress


def demo(
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Write the demo's files there: demo, or demo-shop."
        ),
    ] = None,
    shop: Annotated[
        bool,
        typer.Option(
            "--shop",
            help="Correct the export of a generated shop instead: fetch, train, review, write.",
        ),
    ] = False,
    root: Annotated[
        str | None,
        typer.Option("--root", metavar="FOLDER", help="Read this local copy of Fashion-MNIST."),
    ] = None,
    time_limit: Annotated[
        str,
        typer.Option(
            "--time-limit", metavar="TIME", help="Limit the time of audit, split and training."
        ),
    ] = "255s",
) -> None:
    """Audit, split, train, evaluate, predict and search on real product photos (Fashion-MNIST).

    Takes under five minutes on two cores.
    An interrupted demo continues where it stopped; a finished one is replaced. With --shop, a
    generated shop's export is read and corrected, whose true categories are known.
    """
    if shop:
        _shop(out or Path("demo-shop"))
        return
    out = out or Path("demo")
    limit_s = parsed_seconds(time_limit)
    try:
        with shown_progress():
            done = api.demo(out=out, root=root, time_limit_s=limit_s)
    except KeyboardInterrupt:
        again = api.command_line(["shopsight", "demo", "--out", out])
        print_note(f"interrupted; resume with: {again}")
        raise typer.Exit(INTERRUPTED) from None
    _show_scores(done)
    _show_predictions(done)
    _show_search(done)
    _show_next(done)


def _shop(out: Path) -> None:
    """The shop's demo, and what came of it."""
    with shown_progress():
        done = api.demo_shop(out=out)
    shop, reviewed = done.shop, done.reviewed
    fetched = f"{api.count_text(done.fetched.num_table_rows)} fetched"
    fetched += f", {api.count_text(len(done.fetched.failed))} failed"
    right = f"{api.count_text(done.num_right)} of {api.count_text(done.num_filled)} are right"
    rows = [
        ["products", f"{api.count_text(len(shop.truth))}, {len(shop.missing)} without a category"],
        ["photos", fetched],
        *(["review", line] for line in reviewed.lines()),
        ["the truth", f"of the categories that were filled in, {right}"],
        ["", f"of {len(shop.wrong)} wrong categories, {done.num_wrong_found} are doubted"],
        ["time", f"{done.took_s:.0f} s in all"],
    ]
    title = "shopsight demo --shop: a GENERATED shop, no real products"
    print_table([Column("", fold=False), Column("")], rows, title=title)
    print_line(f"review: {reviewed.page}")
    for one in reviewed.imports:
        print_line(f"import: {one.path}")
    print_line()
    print_line("The same with your own export:")
    print_line("  shopsight fetch   products_export.csv --out photos")
    print_line("  shopsight train   photos/catalog.parquet --out run")
    print_line(
        "  shopsight review  run products_export.csv --photos photos/catalog.parquet --out review"
    )


def _show_scores(done: api.DemoResult) -> None:
    evaluations = done.trained.evaluations
    found = ", ".join(f"{api.count_text(number)} {kind}" for kind, number in done.findings.items())
    kind = "SYNTHETIC images, no photos" if done.synthetic else "real product photos"
    images = [f"{api.count_text(one.counts['images'])} {part}" for part, one in evaluations.items()]
    rows = [
        ["data", f"{done.data}: {api.count_text(done.num_images)} {kind}"],
        ["audit", found or "nothing found"],
        ["evaluated on", ", ".join(images)],
    ]
    for part, evaluation in evaluations.items():
        score = evaluation.score
        ends = f"95 % interval {api.percent_text(score.low)} to {api.percent_text(score.high)}"
        interval = ends if score.is_known else f"no interval: {score.reason}"
        name = f"{part} {evaluation.headline.replace('_', ' ')}"
        rows.append([name, f"{api.percent_text(score.value, 2)}   ({interval})"])
    rows.append(["time", f"{done.took_s:.0f} s in all"])
    print_table([Column("", fold=False), Column("")], rows, title="shopsight demo")


def _show_predictions(done: api.DemoResult) -> None:
    rows = []
    for prediction in done.predictions:
        label, probability = prediction.labels[0], prediction.probabilities[0]
        true = done.truth[prediction.source]
        mark = "" if label == true else "wrong"
        rows.append([prediction.source, true, label, api.percent_text(probability), mark])
    columns = [Column("test image", fold=False), Column("is"), Column("predicted"), Column("")]
    print_table([*columns, Column("")], rows)


def _show_search(done: api.DemoResult) -> None:
    if done.found is None:
        print_note('search is left out: pip install "shopsight[search,words]"')
        return
    rows = []
    for answer in done.found.answers:
        labels = [str(one.best.columns.get("label")) for one in answer.results]
        is_true = done.truth.get(answer.query, "")
        rows.append([answer.query, is_true, ", ".join(dict.fromkeys(labels))])
    columns = [Column("searched for", fold=False), Column("is"), Column("labels of the nearest")]
    print_table(columns, rows)
    for note in done.found.notes:
        print_note(note)


def _show_next(done: api.DemoResult) -> None:
    print_line(f"report: {done.trained.report}" + "   (of synthetic images)" * done.synthetic)
    print_line(f"model:  {done.trained.model}")
    if done.found is not None:
        print_line(f"search: {done.found.page}")
    print_line()
    print_line("The same on your own photos, one folder per class (or a table: see docs/data.md):")
    print_line("  shopsight audit   my-photos --out my-audit")
    print_line("  shopsight train   my-photos --out my-run")
    print_line("  shopsight predict my-run new-photos --out predictions.csv")
    print_line("  shopsight index build my-run my-photos --out my-index")
    print_line('  shopsight search my-index photo.jpg --text "red shoes"')
    print_line("Predict with the demo's model:")
    print_line(
        f"  {api.command_line(['shopsight', 'predict', done.trained.run, 'IMAGE_OR_FOLDER'])}"
    )
