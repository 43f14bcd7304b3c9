"""`shopsight evaluate`: how good a model is, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import (
    READ_FLAGS,
    RUN_FLAGS,
    DataOptions,
    DeviceOption,
    OptionalDataArgument,
    takes_data,
)
from shopsight.cli.output import Column, print_json, print_line, print_not_read, print_table
from shopsight.cli.progress import shown_progress

# Digits of what is no fraction: nats, and levels of paths.
NUMBERS = {"log_loss": 3, "first_mistake_level": 2}


ModelArgument = Annotated[
    str,
    typer.Argument(metavar="RUN_OR_MODEL", help="Evaluate this run, bundle or search index."),
]
SplitOption = Annotated[
    str,
    typer.Option("--split", help="Score train, val, test, or all; all if DATA has no split."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write the report to this .html."),
]
AcceptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="KIND",
        help="Score in spite of changed-file (images of the run that changed or vanished) or, "
        "with DATA, score damaged images too. Repeat for more.",
    ),
]
QueriesOption = Annotated[
    str | None,
    typer.Option(
        "--queries",
        metavar="DATA",
        help="Search an index for these images, of the same products or labels, instead of its "
        "own.",
        show_default=False,
    ),
]
ExpandOption = Annotated[
    int,
    typer.Option(
        "--expand", metavar="N", min=0, help="Blend each query of an index with its N nearest."
    ),
]
ByOption = Annotated[
    Literal["image", "product"],
    typer.Option(
        "--by",
        help="Show the score by image, or also that of one answer per product from all of its "
        "photos.",
    ),
]
RerankOption = Annotated[
    bool, typer.Option("--rerank", help="Re-rank the answers of an index by shared neighbors.")
]


@takes_data
def evaluate(
    model: ModelArgument,
    options: DataOptions,
    data: OptionalDataArgument = None,
    split: SplitOption = "test",
    out: OutOption = None,
    accept: AcceptOption = None,
    by: ByOption = "image",
    queries: QueriesOption = None,
    expand: ExpandOption = 0,
    rerank: RerankOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Score a run on its own images, any model on DATA, or the search of an index.

    A run's images are compared with the hashes in its catalog; exits with 1 if some changed.
    An index is searched for each of its own photos, or for --queries.
    """
    if api.is_index(model):
        _evaluate_index(model, queries, options, expand, rerank, out, device)
        return
    _check(model, data, options)
    with shown_progress():
        evaluation = api.evaluate(
            model,
            data,
            read=options.read,
            split=split,
            out=out,
            accept=accept or (),
            by=by,
            device=device,
        )
    if options.json:
        print_json(evaluation.to_json())
    else:
        headline_table({evaluation.split: evaluation}, by=by)
        if evaluation.report is not None:
            print_line(f"report: {evaluation.report}")


def _check(model: str, data: str | None, options: DataOptions) -> None:
    """Refuse what cannot be scored before torch is imported, which takes seconds."""
    options.refuse(
        ["--queries", "--expand", "--rerank"],
        why="only the search of an index is scored by them",
        fix="shopsight evaluate INDEX",
    )
    if data is not None:
        api.check_model(model)
        api.check_there(data)
        return
    options.refuse(
        [flag for flag in READ_FLAGS if flag not in RUN_FLAGS],
        why="without DATA the run's own images are scored, as it read them",
        fix=api.command_line(["shopsight", "evaluate", model, "DATA"]),
    )
    api.check_run(model)


def _evaluate_index(
    index: str,
    queries: str | None,
    options: DataOptions,
    expand: int,
    rerank: bool,
    out: Path | None,
    device: str,
) -> None:
    options.refuse(
        ["DATA", "--split", "--accept", "--by"],
        why="an index is searched for its own photos, or for --queries DATA",
        fix=api.command_line(["shopsight", "evaluate", index, "--queries", "DATA"]),
    )
    with shown_progress():
        found = api.evaluate_index(
            index,
            queries,
            read=options.read,
            expand=expand,
            rerank=rerank,
            out=out,
            device=device,
        )
    if options.json:
        print_json(found.to_json())
    else:
        _show_index(found)


def _show_index(found: api.IndexEvaluation) -> None:
    rows = [[name.replace("_", " "), _with_ends(one)] for name, one in found.metrics.items()]
    asked = f"{api.counted(found.num_scored, 'lookup')} in {api.counted(found.num_items, 'item')}"
    print_table(
        [Column("", fold=False), Column(asked, True)],
        rows,
        title=f"{found.index}: right is the same {found.relevant_by}, {found.how}",
    )
    if found.num_without:
        print_line(f"not scored, nothing to find: {api.counted(found.num_without, 'lookup')}")
    if copies := found.copies_text():
        print_line(f"copies, neither right nor wrong: {copies}")
    for one in found.thresholds:
        print_line(
            f"--min-score {one.min_score:.3f} lets {api.percent_text(one.rate, 0)} of strangers in "
            f"and finds {api.percent_text(one.found)} of what is there"
        )
    print_not_read(found.failed.items())
    if found.report is not None:
        print_line(f"report: {found.report}")


def _with_ends(interval: api.Interval, shown: Callable[[float], str] = api.percent_text) -> str:
    text = shown(interval.value)
    if not interval.is_known:
        return f"{text} [no interval: {interval.reason}]"
    return f"{text} [{shown(interval.low).removesuffix(' %')}, {shown(interval.high)}]"


def headline_table(
    evaluations: Mapping[str, api.Evaluation], *, by: Literal["image", "product"] = "image"
) -> None:
    """Print each metric with its 95 % interval, a column per part.

    By product, a part has a second column; by image, a line where it could have one.
    """
    parts = list(evaluations.values())
    shown = [(part, f"{part.split} ({_images(part)})") for part in parts]
    if by == "product":
        shown += [
            (part.by_product.evaluation, f"{part.split} ({_products(part.by_product)})")
            for part in parts
            if part.by_product is not None
        ]
    names = list(dict.fromkeys(name for part, _ in shown for name in part.metrics))
    columns = [Column("", fold=False), *(Column(title, True) for _, title in shown)]
    data = {part.predictions.data + " (synthetic)" * part.predictions.synthetic for part in parts}
    print_table(
        columns,
        [[name.replace("_", " "), *(_metric(part, name) for part, _ in shown)] for name in names],
        title=", ".join(sorted(data)),
    )
    for part in parts:
        if not part.decisions.nothing:
            print_line(f"{part.split}: {part.decisions.note}")
        if part.not_measured:
            print_line(f"{part.split}: {part.not_measured_note}")
        print_line(f"{part.split}: {part.calibration.line}")
        if part.answered is not None:
            print_line(f"{part.split}: {part.answered.line}")
        if part.by_product is not None:
            _print_products(part, part.by_product, by=by)
        for one in part.attributes:
            print_line(f"{part.split} attribute {one.line()}")


def _print_products(
    part: api.Evaluation, products: api.ProductScores, *, by: Literal["image", "product"]
) -> None:
    found = products.evaluation
    score = "" if by == "product" else f"{found.headline} {_metric(found, found.headline)}, "
    print_line(f"{part.split} by product: {score}{products.note}")
    if by == "product":
        print_line(f"{part.split} by product: {found.calibration.line}")
        print_line(f"{part.split} by product: {products.gain_line}")


def _products(products: api.ProductScores) -> str:
    return api.counted(products.num_products, "product")


def _images(evaluation: api.Evaluation) -> str:
    """`"12 images"`, or `"12 of 60 images"` where the others are known or cannot be scored."""
    scored, seen = evaluation.counts["images"], evaluation.seen
    left_out = evaluation.left_out
    whole = left_out.images if left_out else seen.images if seen else scored
    of = f"{api.count_text(scored)} of " if whole > scored else ""
    return f"{of}{api.counted(whole, 'image')}"


def _metric(evaluation: api.Evaluation, name: str) -> str:
    if name not in evaluation.metrics:
        return ""
    digits = NUMBERS.get(name)
    shown = api.percent_text if digits is None else f"{{:.{digits}f}}".format
    interval = evaluation.intervals.get(name)
    return shown(evaluation.metrics[name]) if interval is None else _with_ends(interval, shown)
