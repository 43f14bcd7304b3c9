"""The language of `--where`: a filter as people write it.

    price < 50 and label == 'Shoes'
    not (color in ('red', 'blue')) or stock == null
    `Material (main)` != "leather" and sale == true

Comparisons are `== != < <= > >=`, `in (...)` and `not in (...)`; they are joined by `not`, `and`
and `or`, which bind in this order, and by parentheses. A column stands on the left; a name with
other characters than letters, digits and `_` is put in backticks. Text is in single or double
quotes, which are doubled inside (`'it''s'`); numbers, `true`, `false` and `null` are as in JSON.

A filter is read against the kept columns, so that a wrong name or a value of another kind is an
error and not a search that finds nothing. What it means: `shopsight.vector_engines.filters`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal, cast

from shopsight.errors import SearchError
from shopsight.text import listed
from shopsight.vector_engines.filters import (
    And,
    ColumnKind,
    Compare,
    Filter,
    HasId,
    In,
    IsNull,
    Not,
    Operator,
    Or,
    Scalar,
    Schema,
)

MOST_CHARACTERS = 10_000
DEEPEST = 50
LARGEST_INTEGER = 10**15 - 1
"""Engines compare integers as 64-bit floats, which hold all of 15 digits."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
      | `(?P<quoted>(?:[^`]|``)+)`
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
      | (?P<op>==|!=|<=|>=|<>|<|>|=)
      | (?P<mark>[(),])
      | (?P<word>[^\W\d]\w*)
    )""",
    re.VERBOSE,
)
_Kind = Literal["text", "quoted", "number", "op", "mark", "word", "end"]
_KEYWORDS = {"and", "or", "not", "in", "null", "true", "false"}
_ORDERED: dict[ColumnKind, bool] = {
    "integer": True,
    "number": True,
    "text": False,
    "texts": False,
    "boolean": False,
}
_EXAMPLES: dict[ColumnKind, str] = {
    "text": "'red'",
    "texts": "'red'",
    "integer": "5",
    "number": "49.90",
    "boolean": "true",
}
_NOUNS: dict[ColumnKind, str] = {
    "text": "text in quotes",
    "texts": "text in quotes",
    "integer": "a number",
    "number": "a number",
    "boolean": "true or false",
}


@dataclass(frozen=True)
class _Token:
    kind: _Kind
    text: str
    start: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words


def parse_where(text: str, schema: Schema) -> Filter:
    """Read a filter.

    Args:
        text: see the module.
        schema: the kept columns and their kinds.

    Raises:
        SearchError: it is not of this language, names a column that is not kept, or compares one
            with a value of another kind; the message says where.
    """
    if len(text) > MOST_CHARACTERS:
        raise SearchError(
            f"a filter of {len(text):,} characters; the most are {MOST_CHARACTERS:,}",
            where="--where",
        )
    return _Parser(text, schema).whole()


def where_text(one: Filter) -> str:
    """Write a filter so that `parse_where` reads the same again.

    Raises:
        SearchError: a part has no text: `HasId`, and `And` or `Or` of nothing.
    """
    match one:
        case Compare(column, op, value):
            return f"{_name(column)} {op} {_value(value)}"
        case In(column, values):
            return f"{_name(column)} in ({', '.join(map(_value, values))})"
        case IsNull(column):
            return f"{_name(column)} == null"
        case Not(part):
            return f"not ({where_text(part)})"
        case And(parts) | Or(parts) if parts:
            word = " and " if isinstance(one, And) else " or "
            return word.join(f"({where_text(part)})" for part in parts)
        case And() | Or() | HasId():
            raise SearchError("this filter has no text")


def _name(column: str) -> str:
    plain = re.fullmatch(r"[^\W\d]\w*", column) and column.lower() not in _KEYWORDS
    return column if plain else "`" + column.replace("`", "``") + "`"


def _value(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


class _Parser:
    """Recursive descent: one method for each level of binding."""

    def __init__(self, text: str, schema: Schema) -> None:
        self._text = text
        self._schema = schema
        self._tokens = self._split()
        self._at = 0
        self._depth = 0

    def whole(self) -> Filter:
        if self._next.kind == "end":
            raise self._error("it is empty", self._next)
        found = self._either()
        left = self._tokens[self._at]
        if left.kind != "end":
            raise self._error(f"{left.text!r} is one too many: 'and' or 'or' is missing", left)
        return found

    def _split(self) -> list[_Token]:
        tokens, start = list[_Token](), 0
        end = len(self._text.rstrip())
        while start < end:
            found = _TOKEN.match(self._text, start)
            if found is None:
                blank = len(self._text[start:]) - len(self._text[start:].lstrip())
                at = start + blank
                quote = self._text[at] in "'\"`"
                what = "a quote that does not end" if quote else f"{self._text[at]!r} means nothing"
                raise self._error(what, _Token("end", "", at))
            kind = cast("_Kind", found.lastgroup or "end")
            tokens.append(_Token(kind, found.group(kind), found.start(kind)))
            start = found.end()
        return [*tokens, _Token("end", "", end)]

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _takes(self, *words: str) -> bool:
        taken = self._next.is_word(*words)
        self._at += taken
        return taken

    def _either(self) -> Filter:
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Filter:
        parts = [self._one()]
        while self._takes("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Filter:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"it is nested more than {DEEPEST} deep", self._next)
        try:
            if self._takes("not"):
                return Not(self._one())
            if self._next.kind == "mark" and self._next.text == "(":
                self._at += 1
                inside = self._either()
                self._expect_mark(")")
                return inside
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Filter:
        column = self._column()
        kind = self._schema[column]
        if self._takes("in"):
            return self._among(column, kind)
        if self._next.is_word("not") and self._tokens[self._at + 1].is_word("in"):
            self._at += 2
            return Not(self._among(column, kind))
        token = self._take()
        if token.kind != "op":
            raise self._error(f"after {column} a comparison is missing: == != < <= > >= in", token)
        op = cast("Operator", {"=": "==", "<>": "!="}.get(token.text, token.text))
        if self._next.is_word("null"):
            self._at += 1
            if op not in ("==", "!="):
                raise self._error("null is only compared by == and !=", token)
            return IsNull(column) if op == "==" else Not(IsNull(column))
        if op not in ("==", "!=") and not _ORDERED[kind]:
            raise self._error(
                f"{column} is {_said(kind)}, which has no order: == != and in",
                token,
                fix=f"{_name(column)} in ({_EXAMPLES[kind]})",
            )
        return Compare(column, op, self._literal(column, kind))

    def _among(self, column: str, kind: ColumnKind) -> Filter:
        self._expect_mark("(")
        values = [self._literal(column, kind)]
        while self._next.kind == "mark" and self._next.text == ",":
            self._at += 1
            values.append(self._literal(column, kind))
        self._expect_mark(")")
        return In(column, tuple(dict.fromkeys(values)))

    def _column(self) -> str:
        token = self._take()
        is_name = token.kind == "quoted" or (
            token.kind == "word" and token.text.lower() not in _KEYWORDS
        )
        if not is_name:
            raise self._error("a column is missing", token)
        name = token.text.replace("``", "`") if token.kind == "quoted" else token.text
        if name in self._schema:
            return name
        near = difflib.get_close_matches(name, self._schema, n=1, cutoff=0.5)
        known = listed([f"{column} ({_said(kind)})" for column, kind in self._schema.items()])
        raise self._error(
            f"the index keeps no column {name!r}",
            token,
            details=[f"it keeps {known or 'none'}"],
            fix=(f"{_name(near[0])}   (did you mean this one?)\n" if near else "")
            + "shopsight index build MODEL DATA --keep COLUMN   (keeps more)",
        )

    def _literal(self, column: str, kind: ColumnKind) -> Scalar:
        token = self._take()
        if token.kind == "text" and kind in ("text", "texts"):
            quote = token.text[0]
            return token.text[1:-1].replace(quote * 2, quote)
        if token.kind == "number" and kind in ("integer", "number"):
            return self._number(column, kind, token)
        if token.is_word("true", "false") and kind == "boolean":
            return token.text.lower() == "true"
        shown = repr(token.text) if token.kind != "end" else "nothing"
        raise self._error(
            f"{column} is compared with {_NOUNS[kind]}, and here is {shown}",
            token,
            fix=f"{_name(column)} == {_EXAMPLES[kind]}",
        )

    def _number(self, column: str, kind: ColumnKind, token: _Token) -> int | float:
        value = float(token.text)
        whole = re.fullmatch(r"[-+]?\d+", token.text)
        if abs(value) > 1e300:
            raise self._error(f"{token.text} is too large", token)
        if kind == "number":
            return value
        exact = int(token.text) if whole else int(value)
        if value != int(value):
            raise self._error(f"{column} holds whole numbers, and {token.text} is none", token)
        if abs(exact) > LARGEST_INTEGER:
            raise self._error(
                f"{token.text} has more than 15 digits, which are not compared exactly", token
            )
        return exact

    def _expect_mark(self, mark: str) -> None:
        token = self._take()
        if token.kind != "mark" or token.text != mark:
            raise self._error(f"a {mark!r} is missing", token)

    def _error(
        self, what: str, token: _Token, *, details: list[str] | None = None, fix: str | None = None
    ) -> SearchError:
        shown = self._text if len(self._text) <= 100 else self._text[:100] + "..."
        return SearchError(
            f"{what} (character {token.start + 1})",
            where=f"--where {shown!r}",
            details=details or (),
            fix=fix,
        )


def _said(kind: ColumnKind) -> str:
    return {"texts": "lists of text", "text": "text"}.get(kind, kind)
