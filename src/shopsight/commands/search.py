"""Search: find products by image, by words, or by what is already in the index."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from shopsight import progress
from shopsight.commands.search_service import SearchResult, is_service, search_service
from shopsight.errors import SearchError
from shopsight.images.model_input import Box
from shopsight.inference.image_stream import ImageInputs, NamedImage, open_images
from shopsight.metrics.rerank import FEWEST_PHOTOS, neighbors_for
from shopsight.output_locks import only_writer_of_file
from shopsight.output_paths import PAGE_SUFFIXES, TABLE_SUFFIXES, check_output_path, check_suffix
from shopsight.read_options import ReadOptions
from shopsight.search.answers import Answer, write_answers
from shopsight.search.find import SearchOptions, find
from shopsight.search.index import Index, open_index
from shopsight.search.query_terms import Query, build_queries
from shopsight.search.query_vectors import aims_of
from shopsight.search.related import all_units, related
from shopsight.search.search_page import write_search_page
from shopsight.search.strangers import read_strangers
from shopsight.search.word_route import WordRoute
from shopsight.text import command_line, count_text, listed, percent_text
from shopsight.vector_engines.where import parse_where

Within = Literal["image", "text", "both"]
QUERIES_AT_ONCE = 256
NOT_RERANKED = (
    f"not re-ranked: that helps from {FEWEST_PHOTOS} photos of a product, and here are fewer"
)


def search(
    index: str | Path,
    images: ImageInputs = (),
    *,
    texts: Sequence[str] = (),
    ids: Sequence[str] = (),
    every: bool = False,
    combine: bool = False,
    weights: Sequence[float] = (),
    boxes: Sequence[Box | None] = (),
    top: int = 10,
    where: str | None = None,
    by: Literal["image", "product"] | None = None,
    within: Within = "both",
    expand: int = 0,
    rerank: bool = False,
    min_score: float | None = None,
    false_accept: float | None = None,
    html: str | Path | None = None,
    out: str | Path | None = None,
    read: ReadOptions | None = None,
    device: str = "auto",
) -> SearchResult:
    """Find the products of an index that are nearest to images, words or items of it.

    Each image, text and id is a query of its own, in this order. The answer has products where the
    index knows them: each once, by its nearest photo.

    Args:
        index: its folder, or the address of a service: images, words and filters alone.
        images: as `predict` takes them; a folder stands for all images in it.
        texts: words, understood by the model's text encoder, or else by the extra `words`.
        ids: items or products of the index; their own photos are no answer.
        every: instead of queries, each product of the index: its nearest others.
        combine: one query of all images, texts and ids.
        weights: of the terms of the combined query, in order; negative ones lead away from a term.
        boxes: of the images in order, in pixels of the upright image; None is the whole image.
        top: results of a query.
        where: a filter, such as "price < 50 and label == 'Shoes'"; see docs/where.md.
        by: the unit of an answer; None is the product where there are any, else the image.
        within: what words are compared with: the images of items, their texts, or both.
        expand: nearest items that a query is blended with, see
            `shopsight.metrics.query_expansion`.
        rerank: order candidates by shared neighbors, where products have several photos: elsewhere
            it was measured to harm, and is left out.
        min_score: results below it are none.
        false_accept: instead of `min_score`, the score that this share of strangers reaches, as
            `evaluate_index` measured it for this index: of images and ids, in plain search.
        html: a page of the results.
        out: a .csv, .parquet or .jsonl file of the results.
        read: how DATA among the images is read.
        device: of the model, see `shopsight.devices`.

    Raises:
        SearchError: no index there, nothing to look for, an unknown id, a filter that does not fit,
            options that do not go together.
        EmbeddingError: words without a way to understand them; a model of another space.
        ExtraMissingError: the extra `search` is not installed.
        LockedError: another process has the index open.
        ServiceError: the service refuses, or does not answer.
        WriteError: a file cannot be written.
    """
    if is_service(index):
        return search_service(
            str(index),
            images,
            texts=texts,
            top=top,
            where=where,
            by=by,
            out=out,
            read=read,
            combine=combine,
            unknown={
                "--id": bool(ids), "--all": every, "--weight": bool(weights), "--box": bool(boxes),
                "--in": within != "both", "--expand": bool(expand), "--rerank": rerank,
                "--min-score": min_score is not None, "--html": html is not None,
                "--false-accept": false_accept is not None,
            },
        )  # fmt: skip
    _check_score(min_score)
    if every:
        _check_alone(
            {"IMAGE": _any(images), "--text": bool(texts), "--id": bool(ids),
             "--combine": combine, "--weight": bool(weights), "--box": bool(boxes)}
        )  # fmt: skip
    if false_accept is not None:
        _check_plain(min_score, combine=combine, texts=texts, expand=expand, rerank=rerank)
    _check_outputs(html, out)
    with open_index(index, device=device) as opened:
        _refuse_empty(opened)
        queries, notes = list[Query](), list[str]()
        if false_accept is not None:
            min_score, said = _score_of_strangers(opened, false_accept)
            notes.append(said)
        options = SearchOptions(
            top=top,
            by_product=_by_product(by, opened),
            where=None if where is None else parse_where(where, opened.schema),
            expand=expand,
            rerank=_neighbors(opened) if rerank else None,
            min_score=min_score,
        )
        if every:
            answers = _related(opened, options)
        else:
            named = list(open_images(images, read)) if _any(images) else list[NamedImage]()
            terms = (named, texts, ids)
            queries = build_queries(*terms, combine=combine, weights=weights, boxes=boxes)
            answers, about_words = _answered(queries, opened, options, within)
            notes += about_words
        if rerank and options.rerank is None:
            notes.append(NOT_RERANKED)
        page = None
        if html is not None:
            page = write_search_page(Path(html), opened, queries, answers, notes=notes)
    if out is not None:
        with only_writer_of_file(out):
            write_answers(answers, Path(out))
    return SearchResult(tuple(answers), tuple(notes), page, None if out is None else Path(out))


def _check_score(min_score: float | None) -> None:
    # All scores are below NaN, and so every product would be none of the catalog's.
    if min_score is not None and not math.isfinite(min_score):
        raise SearchError(
            "the least score is a finite number", where="--min-score", fix="--min-score 0.8"
        )


def _refuse_empty(index: Index) -> None:
    if not len(index):
        raise SearchError(
            "the index is empty",
            where=str(index.folder.path),
            fix=command_line(["shopsight", "index", "add", index.folder.path, "DATA"]),
        )


def _check_alone(others: Mapping[str, bool]) -> None:
    """Each product of the index is asked for, and nothing else."""
    given = [name for name, is_given in others.items() if is_given]
    if given:
        raise SearchError(
            f"asks for the nearest others of every product, and not for {listed(given)}",
            where="--all",
            fix=f"leave out --all, or leave out {listed(given)}",
        )


def _check_plain(
    min_score: float | None, *, combine: bool, texts: Sequence[str], expand: int, rerank: bool
) -> None:
    """What strangers reach is measured for one image or item and plain search."""
    others = {
        "--min-score": min_score is not None,
        "--text": bool(texts),
        "--combine": combine,
        "--expand": expand > 0,
        "--rerank": rerank,
    }
    given = [name for name, is_given in others.items() if is_given]
    if given:
        raise SearchError(
            f"does not go together with {listed(given)}: it is measured for images in plain search",
            where="--false-accept",
            fix=f"leave out {listed(given)}\n--min-score S instead",
        )


def _score_of_strangers(index: Index, rate: float) -> tuple[float, str]:
    """The least score for a share of strangers, and what is said of it."""
    strangers = read_strangers(index, rate)
    least = strangers.least_score(rate)
    return least, (
        f"below {least:.3f} nothing is a result: {percent_text(rate)} of "
        f"{count_text(len(strangers.best_scores))} strangers reach that (measured by "
        f"{strangers.asked}, without those of the same {strangers.relevant_by})"
    )


def _check_outputs(html: str | Path | None, out: str | Path | None) -> None:
    if out is not None:
        check_output_path(check_suffix(out, TABLE_SUFFIXES, things="answers"))
    if html is not None:
        check_output_path(check_suffix(html, PAGE_SUFFIXES, things="pages"))


def _any(images: ImageInputs) -> bool:
    return not isinstance(images, Sequence) or len(images) > 0


def _by_product(by: str | None, index: Index) -> bool:
    if by == "product" and index.unit != "product":
        raise SearchError(
            "the items of this index have no products: DATA had no group that is one",
            where="--by product",
            fix="--by image\nshopsight index build MODEL DATA --group COLUMN   (names the product)",
        )
    return index.unit == "product" if by is None else by == "product"


def _neighbors(index: Index) -> tuple[int, int] | None:
    """How an index is re-ranked; None where products have too few photos for it to help."""
    photos = index.items(["product"])["product"].count() / max(1, index.num_products)
    return neighbors_for(photos) if photos >= FEWEST_PHOTOS else None


def _check_threshold(
    queries: Sequence[Query], words: WordRoute, within: Within, min_score: float | None
) -> None:
    """A least score means nothing where ranks are added."""
    only_words = any(all(term.kind == "text" for term in query.terms) for query in queries)
    if min_score is None or not only_words or not words.searches_both(within):
        return
    raise SearchError(
        "words are compared with images and texts, whose ranks are added: such a score has no "
        "threshold",
        where="--min-score",
        fix="--in image\n--in text",
    )


def _related(index: Index, options: SearchOptions) -> list[Answer]:
    units = all_units(index, by_product=options.by_product)
    noun = "products" if options.by_product else "images"
    answers = list[Answer]()
    with progress.task("Searching", units.height, noun) as advance:
        for answer in related(index, units, options):
            advance(1)
            answers.append(answer)
    return answers


def _answered(
    queries: Sequence[Query], index: Index, options: SearchOptions, within: Within
) -> tuple[list[Answer], list[str]]:
    """The answers of queries, and how their words were understood."""
    words = WordRoute(index)
    _check_threshold(queries, words, within, options.min_score)
    in_images, in_texts = words.routes(within)
    answers = list[Answer]()
    with progress.task("Searching", len(queries), "lookups") as advance:
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            aims = aims_of(some, index, words=words, in_images=in_images, in_texts=in_texts)
            for aim, found in zip(aims, find(aims, index, options, words=words), strict=True):
                advance(1)
                error = None if aim.error is None else str(aim.error)
                answers.append(
                    Answer(
                        aim.query.name, found.results, found.best_score, error, options.min_score
                    )
                )
    return answers, words.notes
