"""Labels, splits and groups out of file names, by a pattern; and patterns for a reading."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import polars as pl

from shopsight.catalog.catalog import Catalog
from shopsight.errors import CatalogError, first_line
from shopsight.folders.name_search import search_in_time, search_linear
from shopsight.image_files.scan import Scan
from shopsight.tables.split_names import Role, role_within, roles_of
from shopsight.text import command_line, counted, is_unicode

PLACEHOLDER = re.compile(r"\{(\w+)\}|(\*\*/?)|(\*)|(\?)")
_EXPRESSION = "(?P<"
_MOST_WRAPPERS = 3
_LONGEST_SHOWN = 200
_NOTHING = r"[^\s\S]"
_MOST_EXCLUDED = 5


def pattern_catalog(scan: Scan, pattern: str, *, name: str, root: str) -> Catalog:
    """Read labels (and any other named part) from file names.

    `*_{label}.jpg` matches names; with a slash, as in `{label}/{group}/*`, the path under
    the folder. `*` and `{...}` stop at slashes, `**/` does not. A regular expression with
    `(?P<label>...)` is searched for in the path. Images that do not match are unlabeled, and so
    are those whose `{split}` says that they are to be labeled.

    Args:
        scan: the files under `root`.
        pattern: the pattern.
        name: name of the catalog.
        root: the folder.

    Raises:
        CatalogError: there are no images, or the pattern is not valid, has no label, or matches
            nothing.
    """
    expression, whole = compile_pattern(pattern)
    if not scan.images:
        raise scan.no_images(root)
    targets = scan.rows if whole else [image.rpartition("/")[2] for image in scan.rows]
    if _EXPRESSION in pattern:
        columns = search_in_time(expression, targets)
    else:
        columns = search_linear(_from_glob(pattern, engine="rust"), _names_of(pattern), targets)
    table = pl.DataFrame({"image": pl.Series(scan.rows, dtype=pl.String)}).hstack(columns)
    missed = table.filter(pl.col("label").is_null())["image"]
    if len(missed) == len(table):
        raise CatalogError(
            f"the label pattern {pattern!r} matches none of {counted(len(table), 'image')}",
            where=root,
            details=scan.images,
        )
    if "split" in table.columns:
        table = _with_split(table)
    labeled = table.filter(pl.col("label").is_not_null())
    classes = counted(labeled["label"].n_unique(), "class")
    notes = [f"label pattern {pattern!r}: {counted(len(labeled), 'image')}, {classes}"]
    if len(missed):
        notes.append(f"unlabeled, not matching: {counted(len(missed), 'image')}, e.g. {missed[0]}")
    return Catalog(table, name, root, notes=(*notes, *scan.notes()))


def _with_split(table: pl.DataFrame) -> pl.DataFrame:
    roles = roles_within(table["split"].drop_nulls().unique().to_list())
    role = pl.col("split").replace_strict(roles, default=None, return_dtype=pl.String)
    to_label = role.eq("unlabeled").fill_null(False)
    return table.with_columns(
        split=pl.when(~to_label).then(role), label=pl.when(~to_label).then("label")
    )


def roles_within(names: Collection[str]) -> dict[str, Role]:
    """The roles of what `{split}` found: of whole names, and of names with one role word."""
    within = {name: found[0] for name in names if (found := role_within(name))}
    return within | roles_of(names)


def may_be_slow(pattern: str) -> bool:
    """Whether some names are searched for until the time is over: by an expression."""
    return _EXPRESSION in pattern


def compile_pattern(pattern: str) -> tuple[re.Pattern[str], bool]:
    """Turn a label pattern into a regular expression.

    Returns:
        The expression, and whether it is for the whole path rather than the file name.

    Raises:
        CatalogError: the pattern has no label, or is not a valid expression.
    """
    is_expression = _EXPRESSION in pattern
    try:
        expression = re.compile(pattern if is_expression else _from_glob(pattern))
    # A count of repetitions of twenty digits, and thousands of brackets.
    except (re.error, OverflowError, RecursionError) as error:
        what = f"{pattern[:_LONGEST_SHOWN]!r} is not a valid pattern: {first_line(error)}"
        raise CatalogError(what) from error
    if "label" not in expression.groupindex:
        raise CatalogError(
            f"the label pattern {pattern!r} has no label",
            fix='--label-pattern "*_{label}.jpg", or a regular expression with (?P<label>...)',
        )
    return expression, is_expression or "/" in pattern


def _from_glob(pattern: str, *, engine: Literal["python", "rust"] = "python") -> str:
    """A pattern of wildcards as an expression of `re`, or of polars, where its parts are numbered.

    The engine of polars, written in Rust, takes a time that grows with the length of a name alone;
    that of `re` grows with its power of the number of wildcards.
    """
    quoted = re.escape if engine == "python" else _quoted_for_rust
    out, end = [], 0
    for found in PLACEHOLDER.finditer(pattern):
        out.append(quoted(pattern[end : found.start()]))
        name, deep, star, _ = found.groups()
        if name:
            out.append(f"(?P<{name}>[^/]+)" if engine == "python" else "([^/]+)")
        elif deep:
            out.append("(?:.*/)?" if deep.endswith("/") else ".*")
        else:
            out.append("[^/]*" if star else "[^/]")
        end = found.end()
    return "^" + "".join(out) + quoted(pattern[end:]) + "$"


def _quoted_for_rust(text: str) -> str:
    # By its number, since neither engine takes all that the other one quotes.
    return "".join(
        one if one.isalnum() else f"\\x{{{ord(one):x}}}" if is_unicode(one) else _NOTHING
        for one in text
    )


def _names_of(pattern: str) -> list[str]:
    return [name for name, *_ in PLACEHOLDER.findall(pattern) if name]


class Reading(NamedTuple):
    """What a folder says of the images directly in it."""

    label: str | None
    split: str | None = None
    group: str | None = None


def pattern_flag(readings: Mapping[str, Reading]) -> str | None:
    """The flag that gives these labels and splits, as a shell reads it; None where none does.

    Patterns of the usual layouts are tried on every folder, so what is said of one is true. One
    that gives the groups too is preferred.

    Args:
        readings: what each folder should say, by its path below the root; the root itself is "".
    """
    splits = {reading.split for reading in readings.values()} - {None}
    for pattern in _usual_patterns(with_split=bool(splits)):
        fitting = _fitted(pattern, readings)
        if fitting is not None:
            return command_line(["--label-pattern", fitting])
    return None


def _usual_patterns(*, with_split: bool) -> Iterator[str]:
    for around in range(_MOST_WRAPPERS):
        for inner in range(_MOST_WRAPPERS - 1 if with_split else 1):
            before = "*/" * around + ("{split}/" if with_split else "") + "*/" * inner
            yield f"{before}{{label}}/**/{{group}}/*"
            yield f"{before}{{label}}/**"
            yield f"{before}**/{{label}}/*"
        if with_split:
            yield "*/" * around + "{label}/{split}/**"
            # train/train/hat beside test/hat.
            yield f"^{'[^/]+/' * around}(?P<split>[^/]+)/(?:(?P=split)/)?(?P<label>[^/]+)/"


def _fitted(pattern: str, readings: Mapping[str, Reading]) -> str | None:
    """The pattern if it gives the readings, without the folders at the top that have no label."""
    expression, _ = compile_pattern(pattern)
    found = _found(expression, readings)
    excluded = set()
    for folder, wanted in readings.items():
        got = found[folder]
        if "group" not in expression.groupindex:
            got = got._replace(group=wanted.group)
        if got == wanted:
            continue
        if wanted.label is not None:
            return None
        excluded.add(folder.partition("/")[0])
    if not excluded:
        return pattern
    labeled = {folder.partition("/")[0] for folder, one in readings.items() if one.label}
    if excluded & labeled or len(excluded) > _MOST_EXCLUDED:
        return None
    tops = "|".join(re.escape(top) for top in sorted(excluded))
    return f"^(?!(?:{tops})/){expression.pattern[1:]}"


def _found(expression: re.Pattern[str], folders: Iterable[str]) -> dict[str, Reading]:
    """What a pattern says of an image directly in each folder."""
    matches = {folder: expression.search(f"{folder}/x".lstrip("/")) for folder in folders}
    parts = {folder: match.groupdict() if match else {} for folder, match in matches.items()}
    roles = roles_within({part["split"] for part in parts.values() if "split" in part})
    readings = {}
    for folder, part in parts.items():
        role = roles.get(part.get("split", ""))
        is_labeled = "label" in part and role != "unlabeled"
        readings[folder] = (
            Reading(part["label"], role, part.get("group")) if is_labeled else Reading(None)
        )
    return readings
