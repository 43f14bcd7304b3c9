"""Files that give labels other names: maps of labels, and lists of ids and names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from shopsight.errors import CatalogError
from shopsight.labels.label_lists import parse_list
from shopsight.labels.label_name_files import (
    names_in_items,
    names_in_tree,
    parse_tree,
    without_count,
)
from shopsight.labels.taxonomy_mappings import is_mapping, read_mapping
from shopsight.tables.cell_text import as_text, is_number, plain_label
from shopsight.tables.column_names import canonical
from shopsight.tables.encodings import decode_table
from shopsight.tables.table_files import read_bytes, read_table
from shopsight.tables.table_names import is_table
from shopsight.text import lines_of, listed

FROM, TO = "label", "to"

_ID_FIRST = re.compile(r"([^\s,:;=]+)\s*[,:;=\s]\s*(\S.*)")
_ID_LAST = re.compile(r"(.*\S)\s*[,:;=\s]\s*([^\s,:;=]+)")
# What the names of a column of ids and of its column of names do not share.
_KIND_WORDS = frozenset({"id", "ids", "name", "names", "int", "str", "index", "number", "code"})
_LONGEST_LINE = 10_000
_WRITE_IDS = "write the id before each name, a line each: 0 disc"


def read_label_map(path: Path | str, labels: Collection[str]) -> tuple[dict[str, str], str]:
    """Read new names of labels: a table of `label` and `to`, or a list of ids and names.

    Args:
        path: a CSV, TSV or Parquet file with the columns `label` and `to`; many labels may go to
            one, and an empty `to` drops the label. Or ids and names: such a table with a column of
            each, lines (`0 disc`, `0: disc`, `0,disc`, or the names alone, where the line's number
            is the id), YAML with `names:`, JSON, a Python dict, TensorFlow's `item { ... }`. Or a
            mapping between taxonomies, see `shopsight.labels.taxonomy_mappings`.
        labels: those of the images. They decide which column or word is the id, and whether lines
            are counted from 0 or from 1.

    Returns:
        Old label -> new label; and a note on how ids and names were read, or "".

    Raises:
        CatalogError: the file cannot be read, maps a label twice, gives two ids one name, or it is
            not sure how its names belong to the labels.
    """
    where = str(path)
    if is_table(where):
        table, _ = read_table(where)
        plain = {column: column.lower() for column in table.columns}
        if {FROM, TO} <= set(plain.values()) and len(set(plain.values())) == len(plain):
            table = table.select(pl.col(old).alias(new) for old, new in plain.items())
        if {FROM, TO} <= set(table.columns):
            return _of_map(table, where), ""
        names, how = _of_columns(table, labels, where)
    else:
        text = _text(where)
        if is_mapping(text):
            return read_mapping(text, labels, where)
        names, how = _of_text(text, labels, where)
    names = {plain_label(old): plain_label(new) for old, new in names.items()}
    _refuse_bad_names(names, labels, where)
    used = [label for label in labels if label in names]
    example = f": {used[0]} is {names[used[0]]!r}" if used else ""
    return names, f"names of labels by {how}{example}"


def _of_map(table: pl.DataFrame, where: str) -> dict[str, str]:
    rows = pl.DataFrame([as_text(table[FROM]), as_text(table[TO])]).drop_nulls(FROM)
    rows = rows.with_columns(pl.col(TO).fill_null("")).unique(maintain_order=True)
    twice = rows.filter(pl.col(FROM).is_duplicated())
    if len(twice):
        details = [f"{old!r} -> {new!r}" for old, new in twice.iter_rows()]
        raise CatalogError("labels are mapped twice", where=where, details=details)
    return {plain_label(old): plain_label(new) for old, new in rows.iter_rows()}


def _of_columns(
    table: pl.DataFrame, labels: Collection[str], where: str
) -> tuple[dict[str, str], str]:
    """Ids and names in two columns of a table, or in a table without a header."""
    columns = {name: as_text(table[name]).to_list() for name in table.columns}
    found = _pair_of(columns, labels)
    if found is None:
        # The first row may be a label already.
        found = _pair_of({name: [name, *cells] for name, cells in columns.items()}, labels)
        if found is None:
            raise CatalogError(
                f"a label map needs the columns {FROM!r} and {TO!r}, or a column of ids that the "
                "labels are in, with a column of names",
                where=where,
                details=[
                    f"columns: {listed(table.columns)}",
                    f"labels: {listed(sorted(labels))}",
                ],
            )
    ids, names, mapping = found
    return mapping, f"the columns {ids!r} and {names!r}"


def _pair_of(
    columns: Mapping[str, Sequence[str | None]], labels: Collection[str]
) -> tuple[str, str, dict[str, str]] | None:
    """The column of ids that has every label and little else, and the column of their names."""
    whole = {name for name, cells in columns.items() if set(labels) <= set(cells)}
    for ids in sorted(whole, key=lambda name: len(set(columns[name]))):
        others = [name for name in columns if name != ids]
        # "Class Name" is of "Class ID", and not of "Coarse Class ID".
        others.sort(key=lambda name: _subject(name) != _subject(ids))
        for name in others:
            pairs = {
                (old, new)
                for old, new in zip(columns[ids], columns[name], strict=True)
                if old is not None and new is not None
            }
            mapping = dict(pairs)
            if len(mapping) == len(pairs) and not all(map(is_number, mapping.values())):
                return ids, name, {old: mapping[old] for old in sorted(mapping)}
    return None


def _subject(column: str) -> frozenset[str]:
    return frozenset(canonical(column).split("_")) - _KIND_WORDS


def _of_text(text: str, labels: Collection[str], where: str) -> tuple[dict[str, str], str]:
    """Names in JSON or a Python literal, in TensorFlow's label maps, in YAML or on lines."""
    is_yaml = where.lower().endswith((".yaml", ".yml"))
    if where.lower().endswith(".json") or (text.lstrip().startswith(("{", "[")) and not is_yaml):
        found = names_in_tree(parse_tree(text, where), labels)
        if found is None:
            raise CatalogError(
                "no names of these labels",
                where=where,
                details=[f"labels: {listed(sorted(labels))}"],
                fix='a list of names, or {"id": "name"}',
            )
        if isinstance(found, dict):
            return found, "their ids"
        return _by_line(found, labels, where)
    items = names_in_items(text)
    if items and set(labels) <= set(items):
        return items, "the ids of its items"
    return _of_lines(_lines(text, where), labels, where)


def _of_lines(
    lines: Sequence[str], labels: Collection[str], where: str
) -> tuple[dict[str, str], str]:
    """Ids and names on lines, or names alone."""
    for pattern, id_group, name_group in ((_ID_FIRST, 1, 2), (_ID_LAST, 2, 1)):
        matches = [pattern.fullmatch(line) for line in lines]
        pairs = {match[id_group]: match[name_group].strip("'\"") for match in matches if match}
        if len(pairs) == len(lines) and set(labels) <= set(pairs):
            return pairs, "the ids on their lines"
    ids = [match[1] for line in lines if (match := _ID_FIRST.fullmatch(line))]
    if len(lines) > 1 and len(ids) == len(lines) and all(map(is_number, ids)):
        raise CatalogError(
            f"the ids on the lines, from {ids[0]} to {ids[-1]}, are not the labels",
            where=where,
            details=[f"labels: {listed(sorted(labels))}"],
            fix=_WRITE_IDS,
        )
    return _by_line(without_count(lines), labels, where)


def _by_line(
    names: Sequence[str], labels: Collection[str], where: str
) -> tuple[dict[str, str], str]:
    """Names whose number is the id, counted from 0 or from 1, as the labels tell."""
    if not labels or not all(label.isdecimal() for label in labels):
        raise CatalogError(
            "a list of names goes with labels that are numbers",
            where=where,
            details=[f"labels: {listed(sorted(labels))}"],
            fix=f"a table with the columns {FROM!r} and {TO!r}, or {_WRITE_IDS}",
        )
    numbers = {label: int(label) for label in labels}
    low, high = min(numbers.values()), max(numbers.values())
    start = 0 if low == 0 else 1
    if high > len(names) - 1 + start:
        raise CatalogError(
            f"{len(names)} names, but label {high} is counted from {start}", where=where
        )
    if start == 1 and high < len(names):
        raise CatalogError(
            f"labels from {low} to {high} may be counted from 0 or from 1 among {len(names)} names",
            where=where,
            details=[f"from 0, {low} is {names[low]!r}", f"from 1, {low} is {names[low - 1]!r}"],
            fix=_WRITE_IDS,
        )
    named = {label: names[number - start] for label, number in numbers.items()}
    return named, f"their line, counted from {start}"


def _text(where: str) -> str:
    text, _ = decode_table(read_bytes(where), None, where)
    return text


def _lines(text: str, where: str) -> list[str]:
    """The lines of the list, of which YAML has others before and after it."""
    lines = [line.strip() for line in lines_of(text.rstrip())]
    if where.lower().endswith((".yaml", ".yml")):
        lines = _yaml_names(text, where)
    longest = max(map(len, lines), default=0)
    if longest > _LONGEST_LINE:
        raise CatalogError(
            f"a line of {longest:,} characters is no name",
            where=where,
            fix=f"one name on each line, of at most {_LONGEST_LINE:,} characters",
        )
    bare = next((number for number, line in enumerate(lines, start=1) if not line), None)
    if bare is not None or not lines:
        what = "no names in it" if bare is None else f"line {bare} is empty"
        raise CatalogError(what, where=where, fix="one name on each line")
    return lines


def _yaml_names(text: str, where: str) -> list[str]:
    """The entries below `names:`, as `0: disc`, `- disc`, `[disc, box]`; of the file without it."""
    start = re.search(r"^names:", text, re.M)
    below = text[start.end() :] if start else text
    inline = re.match(r"\s*(\[[^\]]*\]|\{[^}]*\})", below)
    if inline:
        found = parse_list(inline[1])
        if found is None:
            raise CatalogError("the list of names cannot be read", where=where, details=[inline[1]])
        return found
    entries = []
    for line in lines_of(below):
        entry = line.partition(" #")[0].strip()
        if not entry or entry.startswith("#"):
            continue
        if start and not line.startswith((" ", "\t", "-")):
            break
        entries.append(entry.removeprefix("-").strip().strip("'\""))
    return entries


def _refuse_bad_names(names: Mapping[str, str], labels: Collection[str], where: str) -> None:
    absent = sorted(set(labels) - set(names))
    if absent:
        raise CatalogError(
            f"{len(absent)} of {len(labels)} labels have no name", where=where, details=absent
        )
    uses = Counter(names[label] for label in labels)
    shared = [
        f"{name!r}: {listed([label for label in labels if names[label] == name])}"
        for name, count in uses.items()
        if count > 1 or not name
    ]
    if shared:
        raise CatalogError(
            "several labels get one name, or none",
            where=where,
            details=shared,
            fix=f"to merge them, a table with the columns {FROM!r} and {TO!r}",
        )
