"""Reading sets of rules: the shipped ones by name, a user's own from a file, several joined by +.

All problems of a file are reported at once, each with its line, its key, and what is allowed.
"""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from shopsight.errors import ConfigError, first_line
from shopsight.image_rules.checks import CHECKS, WHITES, Limit
from shopsight.image_rules.rule_set import Rule, RuleSet
from shopsight.io.local_files import read_file
from shopsight.paths import is_file

FOLDER = Path(__file__).parent / "sets"
RULES_BYTES = 1 << 20
"""The most that a file of rules may have."""

_SET_KEYS = ("name", "as_of", "rule")
_LIMIT_KEYS = ("min", "max", "allowed", "white")
_RULE_KEYS = (
    *("id", "check", *_LIMIT_KEYS, "images", "labels", "from", "until", "source", "severity"),
)
_WORDS: Mapping[str, tuple[str, ...]] = {
    "check": tuple(CHECKS),
    "white": tuple(WHITES),
    "images": ("all", "main"),
    "severity": ("warning", "note"),
}


def shipped_rules() -> list[str]:
    """The names of the shipped sets, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_rule_sets(names: str) -> tuple[RuleSet, ...]:
    """Read what `--rules` names.

    Args:
        names: shipped names or TOML files, joined by `+`: `google+amazon`, `my-rules.toml`.

    Raises:
        ConfigError: there is none of that name, or a file cannot be used.
    """
    parts = [names] if is_file(names) else [part.strip() for part in names.split("+")]
    sets = [read_rule_set(part) for part in parts]
    keys = [rules.key for rules in sets]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ConfigError(f"{twice[0]} is named twice", where=f"--rules {names}")
    return tuple(sets)


def read_rule_set(name: str) -> RuleSet:
    """Read one set of rules: a shipped name, or a TOML file.

    Raises:
        ConfigError: there is none of that name, or the file cannot be used.
    """
    known = shipped_rules()
    if name in known:
        return _read(FOLDER / f"{name}.toml", name)
    if is_file(name):
        return _read(Path(name), Path(name).stem)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(
        f"--rules: no rules and no file are named {name!r}{guess}",
        fix=f"--rules takes {', '.join(known)}, a TOML file, or several joined by +",
    )


def _read(path: Path, key: str) -> RuleSet:
    where = path.name
    try:
        text = read_file(path, most_bytes=RULES_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}",
            where=where,
            fix="save it as UTF-8",
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}", where=where) from error
    return parse_rules(text, key=key, where=where)


def parse_rules(text: str, *, key: str, where: str) -> RuleSet:
    """Read a set of rules from TOML text.

    Args:
        text: see docs/image-rules.md.
        key: what the set is called on the command line.
        where: what errors call the text.

    Raises:
        ConfigError: it is no TOML, or keys and values do not fit; all at once.
    """
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid TOML: {first_line(error)}", where=where) from error
    problems = _Problems(text)
    _check_keys(problems, tree, _SET_KEYS, number=None)
    name = _text(problems, tree, "name", number=None, default=key)
    as_of = _date(problems, tree, "as_of", number=None)
    if as_of is None:
        problems.add(
            None, "as_of", "is missing: the day of what is known of the sources, such as 2026-11-28"
        )
    entries = tree.get("rule")
    listed = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if not entries or not listed:
        problems.add(None, "rule", "is missing: a set has one [[rule]] or more")
        entries = []
    rules = [_rule(problems, entry, number) for number, entry in enumerate(entries)]
    names = [rule.id for rule in rules if rule is not None]
    for number, rule in enumerate(rules):
        if (
            rule is not None
            and rule.id in names[: names.index(rule.id)] + names[names.index(rule.id) + 1 :]
        ):
            problems.add(number, "id", f"is {rule.id!r}, as another rule's")
    problems.raise_any(where)
    assert as_of is not None
    return RuleSet(key=key, name=name, as_of=as_of, rules=tuple(rule for rule in rules if rule))


class _Problems:
    """What is wrong with a file, each with its line.

    Args:
        text: of the file.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        starts = [n for n, line in enumerate(self._lines) if re.match(r"\s*\[\[\s*rule\b", line)]
        self._starts = [*starts, len(self._lines)]
        self._found: list[tuple[int, str]] = []

    def add(self, number: int | None, key: str, what: str) -> None:
        """Add a problem of a key of a rule, or with None of the set."""
        named = "" if number is None else f"rule {number + 1}: "
        line = self._line(number, key)
        self._found.append((line, f"line {line}: {named}{key} {what}"))

    def __len__(self) -> int:
        return len(self._found)

    def raise_any(self, where: str) -> None:
        """Raise what was found, if anything was."""
        if self._found:
            raise ConfigError(
                f"{len(self._found)} problem{'s' * (len(self._found) > 1)} in these rules",
                where=where,
                details=[text for _, text in sorted(self._found)],
                fix=f"docs/image-rules.md shows the form; checks: {', '.join(CHECKS)}",
            )

    def _line(self, number: int | None, key: str) -> int:
        """The line of a key, or where it would stand."""
        if number is None:
            first, end = 0, self._starts[0]
        elif number + 1 < len(self._starts):
            first, end = self._starts[number], self._starts[number + 1]
        else:
            return 1  # Rules of an inline array have no line of their own.
        for line in range(first, end):
            if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", self._lines[line]):
                return line + 1
        return first + 1


def _rule(problems: _Problems, entry: Mapping[str, Any], number: int) -> Rule | None:
    before = len(problems)
    _check_keys(problems, entry, _RULE_KEYS, number=number)
    name = _text(problems, entry, "id", number=number)
    source = _text(problems, entry, "source", number=number)
    words = {
        key: _word(problems, entry, key, number=number, allowed=allowed)
        for key, allowed in _WORDS.items()
        if key in entry or key == "check"
    }
    starts = _date(problems, entry, "from", number=number)
    ends = _date(problems, entry, "until", number=number)
    if starts is not None and ends is not None and ends < starts:
        problems.add(number, "until", f"is {ends}, before from = {starts}")
    labels = _texts(problems, entry, "labels", number=number)
    limit = None
    if words["check"]:
        limit = _limit(problems, entry, words["check"], words.get("white", ""), number)
        if CHECKS[words["check"]].is_hint and words.get("severity", "warning") != "note":
            problems.add(number, "severity", f'must be "note": {words["check"]} is a hint')
    if len(problems) > before or limit is None:
        return None
    others: dict[str, Any] = {key: words[key] for key in ("images", "severity") if key in words}
    return Rule(
        id=name,
        check=words["check"],
        source=source,
        limit=limit,
        labels=labels,
        starts=starts,
        ends=ends,
        **others,
    )


def _limit(
    problems: _Problems, entry: Mapping[str, Any], check: str, white: str, number: int
) -> Limit | None:
    """What a rule compares with, where that fits its check."""
    about, before = CHECKS[check], len(problems)
    for key in _LIMIT_KEYS:
        if key in entry and key not in about.takes:
            takes = f"it takes {', '.join(about.takes)}" if about.takes else "it takes no limit"
            problems.add(number, key, f"does not belong to check {check!r}: {takes}")
    if about.needs and not set(about.needs) & set(entry):
        problems.add(number, "check", f"{check!r} needs {' or '.join(about.needs)}")
    bounds = {
        key: _number(problems, entry, key, number=number, within=about.numbers)
        for key in ("min", "max")
        if key in entry
    }
    least, most = bounds.get("min"), bounds.get("max")
    if least is not None and most is not None and most < least:
        problems.add(number, "max", f"is {most:g}, less than min = {least:g}")
    allowed = _texts(problems, entry, "allowed", number=number)
    for word in allowed:
        if about.words and word not in about.words:
            problems.add(number, "allowed", f"has {word!r}; known: {', '.join(about.words)}")
    if len(problems) > before:
        return None
    return Limit(min=least, max=most, allowed=allowed, white=white or "near")


def _check_keys(
    problems: _Problems, tree: Mapping[str, Any], known: Sequence[str], *, number: int | None
) -> None:
    for key in tree:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            guess = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            problems.add(number, key, f"is no key here; {guess}")


def _text(
    problems: _Problems,
    tree: Mapping[str, Any],
    key: str,
    *,
    number: int | None,
    default: str | None = None,
) -> str:
    value = tree.get(key, default)
    if value is None:
        problems.add(number, key, "is missing")
    elif not isinstance(value, str) or not value.strip():
        problems.add(number, key, f"must be text (got {_shown(value)})")
    else:
        return value
    return ""


def _word(
    problems: _Problems,
    tree: Mapping[str, Any],
    key: str,
    *,
    number: int,
    allowed: Collection[str],
) -> str:
    value = tree.get(key)
    if value in allowed and isinstance(value, str):
        return value
    if value is None:
        problems.add(number, key, f"is missing; it is one of {', '.join(allowed)}")
        return ""
    near = difflib.get_close_matches(str(value), allowed, n=1, cutoff=0.6)
    guess = f"; did you mean {near[0]!r}?" if near else f": it is one of {', '.join(allowed)}"
    problems.add(number, key, f"cannot be {_shown(value)}{guess}")
    return ""


def _texts(
    problems: _Problems, tree: Mapping[str, Any], key: str, *, number: int
) -> tuple[str, ...]:
    value = tree.get(key, [])
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        if key in tree and not value:
            problems.add(number, key, "is empty: leave it out")
        return tuple(value)
    problems.add(number, key, f"must be a list of texts (got {_shown(value)})")
    return ()


def _number(
    problems: _Problems,
    tree: Mapping[str, Any],
    key: str,
    *,
    number: int,
    within: tuple[float, float],
) -> float | None:
    value = tree[key]
    least, most = within
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        asked = f"a number from {least:g} to {most:g}"
        problems.add(number, key, f"must be {asked} (got {_shown(value)})")
        return None
    return float(value)


def _date(
    problems: _Problems, tree: Mapping[str, Any], key: str, *, number: int | None
) -> datetime.date | None:
    value = tree.get(key)
    if value is None:
        return None
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    problems.add(number, key, f"must be a date such as 2027-01-31, unquoted (got {_shown(value)})")
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
