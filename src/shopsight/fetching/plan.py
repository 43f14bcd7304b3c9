"""Which images a catalog names: each once, however many rows and spellings it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shopsight.catalog.catalog import BOX_COLUMNS, Catalog
from shopsight.errors import CatalogError, RemoteError
from shopsight.fetching.host_queues import Wanted
from shopsight.fetching.image_addresses import ImageAddress, at_width, image_address, newest
from shopsight.fetching.records import FetchRecord
from shopsight.io.addresses import protocol_of

_WEB = ("http", "https")


@dataclass(frozen=True)
class FetchPlan:
    """The images of a catalog at addresses of web servers.

    Attributes:
        refs: path or address of the image of each row.
        canonical: of each row, the address by which its image is known; None where the image is no
            address of a web server, or none that can be read.
        bad: why an address cannot be read, by address.
        wanted: the images, in the order of their first rows.
        num_sized: images that are asked for at a width.
    """

    refs: list[str]
    canonical: list[str | None]
    bad: Mapping[str, RemoteError]
    wanted: list[Wanted]

    @property
    def num_sized(self) -> int:
        return sum(one.asked_width is not None for one in self.wanted)


def plan_fetch(catalog: Catalog, *, width: int | None) -> FetchPlan:
    """Find the images to fetch.

    Args:
        catalog: some or all of whose images are addresses of web servers.
        width: to ask those servers for that make images smaller; None asks for originals.

    Raises:
        CatalogError: no image is at a web server, or `width` would move the catalog's boxes.
    """
    refs = catalog.refs()
    is_web = [protocol_of(ref) in _WEB for ref in refs]
    if not any(is_web):
        raise CatalogError(
            "none of its images is at an address (http, https)",
            where=catalog.name,
            details=refs[:1],
            fix="name a table whose images are addresses; one that was fetched has them in its "
            "column `url`: --image url",
        )
    if width is not None and any(catalog.has(column) for column in BOX_COLUMNS):
        raise CatalogError(
            "boxes are in pixels of the original images",
            where=catalog.name,
            fix="leave out --width",
        )
    return _planned(refs, is_web, width)


def _planned(refs: list[str], is_web: list[bool], width: int | None) -> FetchPlan:
    parsed, bad = dict[str, ImageAddress](), dict[str, RemoteError]()
    spellings, written = dict[str, list[ImageAddress]](), dict[ImageAddress, str]()
    for ref, web in zip(refs, is_web, strict=True):
        if not web or ref in parsed or ref in bad:
            continue
        try:
            parsed[ref] = address = image_address(ref)
        except RemoteError as error:
            bad[ref] = error
            continue
        spellings.setdefault(address.canonical, []).append(address)
        written.setdefault(address, ref)
    wanted = []
    for canonical, addresses in spellings.items():
        address = newest(addresses)
        sized = None if width is None else at_width(address.asked, width)
        asked_width = None if sized is None else width
        wanted.append(
            Wanted(
                canonical,
                url=written[address],
                version=address.version,
                asked=sized or address.asked,
                asked_width=asked_width,
            )
        )
    canonical_of = [parsed[ref].canonical if ref in parsed else None for ref in refs]
    return FetchPlan(refs, canonical_of, bad, wanted)


def only_failed(
    wanted: Collection[Wanted], records: Mapping[str, FetchRecord]
) -> tuple[list[Wanted], set[str]]:
    """The images that failed the last time, or were never asked for; and the others' addresses."""
    failed = list[Wanted]()
    for one in wanted:
        record = records.get(one.canonical)
        if record is None or record.reason is not None or record.sha256 is None:
            failed.append(one)
    return failed, {one.canonical for one in wanted} - {one.canonical for one in failed}
