"""`shopsight search`: find products by image, by words, or by what is in the index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from shopsight import api
from shopsight.cli.options import DeviceOption, JsonOption
from shopsight.cli.output import Column, print_json, print_line, print_note, print_table
from shopsight.cli.progress import shown_progress
from shopsight.cli.wildcards import expanded

SHOWN_QUERIES = 20
"""Queries whose results are printed; the rest is what --out, --html and --json are for."""
SHOWN_COLUMNS = 4
QUERY, ANSWER = "What to look for", "The answer"

Within = Literal["image", "text", "both"]
By = Literal["image", "product"]

IndexArgument = Annotated[
    str,
    typer.Argument(
        metavar="INDEX", help="Search this index, or that of a service: http://HOST:PORT."
    ),
]
ImagesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[IMAGE...]",
        help="Look for these images; a folder stands for all images in it.",
        show_default=False,
    ),
]
TextOption = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="WORDS", help="Look for words. Repeat.", rich_help_panel=QUERY),
]
IdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="Look for what is like this item or product of the index. Repeat.",
        rich_help_panel=QUERY,
    ),
]
AllOption = Annotated[
    bool,
    typer.Option("--all", help="Give the nearest others of each product.", rich_help_panel=QUERY),
]
CombineOption = Annotated[
    bool,
    typer.Option(
        "--combine", help="Make one query of all images, words and ids.", rich_help_panel=QUERY
    ),
]
WeightOption = Annotated[
    list[float] | None,
    typer.Option(
        "--weight",
        metavar="W",
        help="Weigh the terms of the combined query in order: images, then words, then ids. "
        "Negative ones lead away. Repeat.",
        rich_help_panel=QUERY,
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X,Y,W,H",
        help="Look at this part of the image only, in pixels of the upright image. Repeat, in "
        "the order of the images; none is a whole one.",
        rich_help_panel=QUERY,
    ),
]
InOption = Annotated[
    Within,
    typer.Option(
        "--in",
        help="Compare words with the images of items, their texts, or both.",
        rich_help_panel=QUERY,
    ),
]
TopOption = Annotated[
    int, typer.Option("--top", min=1, help="Give this many results.", rich_help_panel=ANSWER)
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="FILTER",
        help="Only items that pass, such as \"price < 50 and label == 'Shoes'\".",
        rich_help_panel=ANSWER,
    ),
]
ByOption = Annotated[
    By | None,
    typer.Option(
        "--by",
        help="Give each product once, by its nearest image, or each image.",
        show_default=False,
        rich_help_panel=ANSWER,
    ),
]
ExpandOption = Annotated[
    int,
    typer.Option(
        "--expand",
        metavar="N",
        min=0,
        help="Blend the query with its N nearest items, and search again.",
        rich_help_panel=ANSWER,
    ),
]
RerankOption = Annotated[
    bool,
    typer.Option(
        "--rerank",
        help="Order candidates by the neighbors that they share with the query, where products "
        "have several photos.",
        rich_help_panel=ANSWER,
    ),
]
MinScoreOption = Annotated[
    float | None,
    typer.Option(
        "--min-score",
        metavar="S",
        help="Leave out results below this score: the query is not in the catalog. "
        "`shopsight evaluate INDEX` says which score lets how many strangers in.",
        rich_help_panel=ANSWER,
    ),
]
FalseAcceptOption = Annotated[
    float | None,
    typer.Option(
        "--false-accept",
        metavar="R",
        help="Leave out results below the score that this share of strangers reaches, such as "
        "0.01; `shopsight evaluate INDEX` measures it.",
        rich_help_panel=ANSWER,
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page of the results, as images."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write this .csv, .parquet or .jsonl."),
]
AllowPrivateOption = Annotated[
    bool,
    typer.Option("--allow-private", help="Images may be asked of hosts in private networks."),
]


def search(
    index: IndexArgument,
    images: ImagesArgument = None,
    text: TextOption = None,
    ids: IdOption = None,
    every: AllOption = False,
    combine: CombineOption = False,
    weight: WeightOption = None,
    box: BoxOption = None,
    within: InOption = "both",
    top: TopOption = 10,
    where: WhereOption = None,
    by: ByOption = None,
    expand: ExpandOption = 0,
    rerank: RerankOption = False,
    min_score: MinScoreOption = None,
    false_accept: FalseAcceptOption = None,
    html: HtmlOption = None,
    out: OutOption = None,
    device: DeviceOption = "auto",
    allow_private: AllowPrivateOption = False,
    json: JsonOption = False,
) -> None:
    """Find the products that are nearest to images, words, or items of the index.

    Each image, each --text and each --id is a query of its own, unless --combine makes one of them.
    Exits with 1 if a query image could not be read.
    """
    with shown_progress():
        found = api.search(
            index,
            expanded(images or []),
            texts=text or (),
            ids=ids or (),
            every=every,
            combine=combine,
            weights=weight or (),
            boxes=[api.parse_box(one) for one in box or ()],
            top=top,
            where=where,
            by=by,
            within=within,
            expand=expand,
            rerank=rerank,
            min_score=min_score,
            false_accept=false_accept,
            html=html,
            out=out,
            read=api.ReadOptions(allow_private=allow_private),
            device=device,
        )
    if json:
        print_json([answer.to_json() for answer in found.answers])
    elif out is None:
        _show(found.answers)
    for note in found.notes:
        print_note(note)
    for written in (found.out, found.page):
        if written is not None:
            print_note(f"written: {written}")
    if any(answer.error is not None for answer in found.answers):
        raise typer.Exit(1)


def _show(answers: Sequence[api.Answer]) -> None:
    for answer in answers[:SHOWN_QUERIES]:
        if answer.error is not None:
            print_note(f"not read: {answer.error}")
        elif answer.results:
            _show_results(answer)
        else:
            print_line(f"{answer.query}: {nothing_found(answer)}")
    left = len(answers) - SHOWN_QUERIES
    if left > 0:
        print_note(f"{api.count_text(left)} more queries: --out FILE writes them all")


def nothing_found(answer: api.Answer) -> str:
    """Why an answer without an error has no result."""
    if answer.best_score is None:
        return "no item passes the filter"
    below = "" if answer.min_score is None else f", below {answer.min_score:.3f}"
    return f"not in the catalog (the nearest item has a score of {answer.best_score:.3f}{below})"


def _show_results(answer: api.Answer) -> None:
    rows = [one.as_row(rank) for rank, one in enumerate(answer.results, start=1)]
    has_products = any(row["product"] is not None for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row["columns"]))[:SHOWN_COLUMNS]
    columns = [Column("rank", right=True), Column("score", right=True)]
    columns += [Column("product")] if has_products else []
    columns += [Column("id"), *(Column(name) for name in names)]
    cells = []
    for row in rows:
        line = [str(row["rank"]), f"{row['score']:.3f}"]
        line += [row["product"] or ""] if has_products else []
        kept = [row["columns"].get(name) for name in names]
        cells.append([*line, row["id"], *(_cell(value) for value in kept)])
    print_table(columns, cells, title=answer.query)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
