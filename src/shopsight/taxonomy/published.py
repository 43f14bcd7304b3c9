"""Taxonomies that are known by name, fetched once and kept in the cache.

Shopify's Standard Product Taxonomy (MIT license, Copyright Shopify Inc.) is read in English from
its repository. A release comes a few times a year; the one that was fetched is named with every
answer, and another is read from a file, or fetched where the kept one is deleted.
"""

from __future__ import annotations

from pathlib import Path

from shopsight.cache_place import cache_folder
from shopsight.errors import LocationError, TableError, TaxonomyError, first_line
from shopsight.files import atomic_file
from shopsight.io.web import download
from shopsight.progress import notify
from shopsight.taxonomy.taxonomy import Taxonomy, read_taxonomy

SHOPIFY = "shopify"
SHOPIFY_URL = (
    "https://raw.githubusercontent.com/Shopify/product-taxonomy/main/dist/en/categories.txt"
)
NAMES = (SHOPIFY,)
LIST_BYTES = 16 << 20
"""The most that a list may have; Shopify's has 1.4 MB."""
ANSWER_S = 60.0


def open_taxonomy(taxonomy: str | Path) -> Taxonomy:
    """Read a taxonomy by its name (`NAMES`), or from a file or URL.

    Raises:
        TaxonomyError: it is neither known by name nor a file of paths, or it cannot be fetched.
        TableError: the file cannot be read.
    """
    name = str(taxonomy)
    if name != SHOPIFY:
        try:
            return read_taxonomy(name)
        except TableError as error:
            if not Path(name).exists():
                raise _no_such(name) from error
            raise
    kept = cache_folder() / "taxonomies" / "shopify-categories.txt"
    if not kept.is_file():
        _fetch(kept)
    found = read_taxonomy(str(kept))
    return Taxonomy(SHOPIFY, found.version, found.paths, found.ids)


def _fetch(kept: Path) -> None:
    """Put the list into the cache, after it was read as one."""
    notify(f"{SHOPIFY}: its list of categories (1.4 MB, MIT license) into {kept}")
    try:
        with atomic_file(kept) as part:
            download(SHOPIFY_URL, part, most_bytes=LIST_BYTES, answer_s=ANSWER_S)
            if not read_taxonomy(str(part)).ids:
                raise TaxonomyError("what came is not Shopify's list", where=SHOPIFY_URL)
    except (OSError, LocationError, TableError, TaxonomyError) as error:
        what = first_line(error) if isinstance(error, OSError) else error.what
        raise TaxonomyError(
            f"Shopify's taxonomy is not on this machine, and its download failed: {what}",
            where=SHOPIFY_URL,
            fix="1. the same command again, with a network; the list is kept after that\n"
            "2. --taxonomy categories.txt   (a copy of that file, fetched elsewhere)",
        ) from error


def _no_such(name: str) -> TaxonomyError:
    return TaxonomyError(
        "no such taxonomy or file",
        where=name,
        fix=f"--taxonomy {SHOPIFY}, or a text file with a path on each line",
    )
