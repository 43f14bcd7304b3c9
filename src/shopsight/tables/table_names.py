"""What names a table: one list of suffixes for every verb."""

from __future__ import annotations

from shopsight.paths import is_url

PARQUET_SUFFIXES = (".parquet", ".pq")
JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
TEXT_SUFFIXES = (".csv", ".tsv", ".tab", *JSON_LINES_SUFFIXES)
LIST_SUFFIXES = (".txt", ".lst", ".list")
PACKED = ".gz"


def is_table(name: str) -> bool:
    """Whether the file name has the suffix of a table.

    >>> [is_table(one) for one in ("a.csv", "a.TSV.gz", "a.parquet", "a.parquet.gz", "a.txt")]
    [True, True, True, False, False]
    """
    name = _bare(name)
    return name.endswith(PARQUET_SUFFIXES) or name.removesuffix(PACKED).endswith(TEXT_SUFFIXES)


def may_be_list(name: str) -> bool:
    """Whether the file name has a suffix that lists of images have, among many other texts."""
    return _bare(name).removesuffix(PACKED).endswith(LIST_SUFFIXES)


def is_parquet(name: str) -> bool:
    """Whether the file name is that of a Parquet file."""
    return _bare(name).endswith(PARQUET_SUFFIXES)


def is_json_lines(name: str) -> bool:
    """Whether the file name is that of a file with a JSON object in each line."""
    return _bare(name).removesuffix(PACKED).endswith(JSON_LINES_SUFFIXES)


def _bare(name: str) -> str:
    """The name in lower case; of an address without its query, `labels.csv?key=1`."""
    return (name.partition("?")[0] if is_url(name) else name).lower()
