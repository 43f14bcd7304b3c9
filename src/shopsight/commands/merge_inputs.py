"""The DATA of a merge: how each is named, and read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from shopsight import paths
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.merge_parts import MergePart
from shopsight.datasets.open import check_there, open_catalog, unused_options
from shopsight.datasets.registry import is_dataset
from shopsight.errors import ConfigError
from shopsight.read_options import ReadOptions, flag_of
from shopsight.tables.table_names import is_table, may_be_list

Data = str | Path | Catalog
OF_THE_WHOLE = ("drop", "label_map")
"""Options about labels, which are those of the merged catalog."""

_NAMED = re.compile(r"([\w.-]+)=(.+)", re.DOTALL)


def named_data(data: Sequence[Data] | Mapping[str, Data]) -> list[tuple[str | None, Data]]:
    """Each DATA with the name that the user gave it, `NAME=DATA`, or None.

    Raises:
        ConfigError: there are fewer than two, or one is there twice.
    """
    if isinstance(data, Mapping):
        found: list[tuple[str | None, Data]] = list(data.items())
    else:
        found = [_named(one) for one in data]
    if len(found) < 2:
        raise ConfigError(
            f"a merge is of two DATA or more, not {len(found)}",
            where="merge",
            fix="shopsight merge DATA DATA --out catalog.parquet",
        )
    places = [_place(one) for _, one in found]
    twice = [str(place) for place in places if places.count(place) > 1]
    if twice:
        raise ConfigError("this DATA is named twice", where=twice[0], fix="name it once")
    return found


def read_parts(data: Sequence[tuple[str | None, Data]], read: ReadOptions) -> list[MergePart]:
    """Read each DATA, with those of the options that say something about its kind.

    `--root` is the folder of a named data set, or one with a folder for each, of its name.

    Raises:
        ConfigError: an option says nothing about any of them.
        CatalogError: one cannot be read.
    """
    read = read.without(OF_THE_WHOLE)
    unused = [set(unused_options(read, one)) for _, one in data]
    idle = [flag_of(name) for name in sorted(set.intersection(*unused))]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)} would change nothing here",
            where="merge",
            fix=f"leave out {', '.join(idle)}",
        )
    for _, one in data:
        if not isinstance(one, Catalog):
            check_there(str(one))
    parts = []
    for (name, one), ignored in zip(data, unused, strict=True):
        catalog = open_catalog(one, _with_own_root(read.without(ignored), one))
        parts.append(MergePart(name or _plain_name(catalog), catalog))
    return parts


def _named(data: Data) -> tuple[str | None, Data]:
    if isinstance(data, Catalog) or paths.exists(data):
        return None, data
    found = _NAMED.fullmatch(str(data))
    return (None, data) if found is None else (found[1], found[2])


def _place(data: Data) -> object:
    """What two mentions of one DATA have in common."""
    if isinstance(data, Catalog):
        return id(data)
    name = str(data)
    return name if paths.is_url(name) or is_dataset(name) else paths.full(name).rstrip("/")


def _with_own_root(read: ReadOptions, data: Data) -> ReadOptions:
    if read.root is None or isinstance(data, Catalog):
        return read
    own = Path(read.root) / str(data)
    return read.merged(ReadOptions(root=own)) if paths.is_folder(own) else read


def _plain_name(catalog: Catalog) -> str:
    """The name of a catalog as it stands before labels: without folders, and a table's suffix."""
    name = paths.name_of(catalog.name.split(",")[0])
    if name in ("", ".", ".."):
        name = paths.name_of(paths.full(catalog.root))
    if is_table(name) or may_be_list(name):
        name = name.split(".")[0] or name
    return name
