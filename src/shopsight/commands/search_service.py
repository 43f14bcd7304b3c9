"""Search by a service: the same answers, from an index that another process has open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shopsight import progress
from shopsight.client import Client, FoundItem
from shopsight.errors import ConfigError, ImageError, ServiceError
from shopsight.images.decode import read_bytes
from shopsight.inference.image_stream import ImageInputs, NamedImage, open_images
from shopsight.output_locks import only_writer_of_file
from shopsight.output_paths import TABLE_SUFFIXES, check_output_path, check_suffix
from shopsight.read_options import ReadOptions
from shopsight.search.answers import Answer, write_answers
from shopsight.search.grouping import Result
from shopsight.text import listed
from shopsight.vector_engines.engine import Hit

_UNPROCESSABLE = 422


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        answers: of each query, in their order; of `every` of each product.
        notes: how the search was done, where that is not plain, one line each.
        page: the page that was written, if one was asked for.
        out: the file that was written, if one was asked for.
    """

    answers: tuple[Answer, ...]
    notes: tuple[str, ...]
    page: Path | None = None
    out: Path | None = None


def is_service(index: str | Path) -> bool:
    """Whether an index is named by the address of a service."""
    return str(index).lower().startswith(("http://", "https://"))


def search_service(
    address: str,
    images: ImageInputs,
    *,
    texts: Sequence[str],
    top: int,
    where: str | None,
    by: str | None,
    out: str | Path | None,
    read: ReadOptions | None,
    combine: bool,
    unknown: Mapping[str, bool],
) -> SearchResult:
    """Ask a service for each image and each text, or for one of both together.

    Args:
        address: of the service.
        images: files, or addresses that this process reads.
        texts: words.
        top: results of a query.
        where: a filter.
        by: the unit of an answer.
        out: a file of the results.
        read: how DATA among the images is read.
        combine: one query of an image and a text.
        unknown: options that no service has, by their flags, and whether they are given.

    Raises:
        ConfigError: An option that it does not have, or nothing to look for.
        ServiceError: It refuses, or does not answer.
    """
    given = [flag for flag, is_given in unknown.items() if is_given]
    if given:
        raise ConfigError(
            f"{listed(given)} would change nothing: a service takes images, words and filters",
            where=address,
            fix=f"leave out {listed(given)}, or search the index itself",
        )
    if out is not None:
        check_output_path(check_suffix(out, TABLE_SUFFIXES, things="answers"))
    has_images = not isinstance(images, Sequence) or len(images) > 0
    named = list(open_images(images, read)) if has_images else list[NamedImage]()
    queries = _queries(named, texts, combine=combine, address=address)
    answers = list[Answer]()
    with Client(address) as client, progress.task("Searching", len(queries), "lookups") as advance:
        for image, text in queries:
            answers.append(_answer(client, image, text, top=top, where=where, by=by))
            advance(1)
    if out is not None:
        with only_writer_of_file(out):
            write_answers(answers, Path(out))
    return SearchResult(tuple(answers), (), None, None if out is None else Path(out))


def _queries(
    images: Sequence[NamedImage], texts: Sequence[str], *, combine: bool, address: str
) -> list[tuple[NamedImage | None, str | None]]:
    if not (images or texts):
        raise ConfigError(
            "nothing to look for",
            where=address,
            fix=f'shopsight search {address} IMAGE\nshopsight search {address} --text "red boots"',
        )
    if not combine:
        return [*((image, None) for image in images), *((None, text) for text in texts)]
    if len(images) > 1 or len(texts) > 1:
        raise ConfigError(
            "a service combines one image with one text",
            where="--combine",
            fix="leave out --combine, or search the index itself",
        )
    return [(images[0] if images else None, texts[0] if texts else None)]


def _answer(
    client: Client,
    image: NamedImage | None,
    text: str | None,
    *,
    top: int,
    where: str | None,
    by: str | None,
) -> Answer:
    name = " + ".join(part for part in (image and image.source, text) if part)
    try:
        data = None if image is None else _file(image)
        found = client.search(data, text, top=top, where=where, by=by)
    except ImageError as error:
        return Answer(name, error=str(error))
    except ServiceError as error:
        # Of one image that it cannot read; other refusals are the same for every query.
        if image is None or error.status != _UNPROCESSABLE or where or by:
            raise
        return Answer(name, error=error.what)
    results = tuple(_result(one) for one in found)
    return Answer(name, results, results[0].score if results else None)


def _file(image: NamedImage) -> bytes:
    if isinstance(image.image, bytes):
        return image.image
    if not isinstance(image.image, str | Path) or image.box is not None:
        raise ImageError("unsupported", "a service takes whole files", where=image.source)
    return read_bytes(str(image.image), image.access)


def _result(one: FoundItem) -> Result:
    columns = one.columns | ({} if one.image is None else {"image": one.image})
    is_product = one.product is not None
    hit = Hit(one.id, one.score, columns)
    return Result(one.product or one.id, is_product, hit, one.score)
