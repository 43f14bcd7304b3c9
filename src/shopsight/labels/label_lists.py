"""Cells that hold several labels: what NumPy, pandas, Python, JSON and people write for a list."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping

from shopsight.tables.cell_text import MISSING_WORDS, is_number

_PAIRS = {"[": "]", "(": ")", "{": "}"}
# array(['a'], dtype=object), Index([...]), tensor([...]), frozenset({...}), set(), list()
_CALL = re.compile(
    r"(?:\w+\.)*(?:(?:set|frozenset|list|tuple)\(\)"
    r"|\w+\((\[.*\]|\{.*\}|\(.*\))(?:,\s*\w+=.*)?\))",
    re.S,
)
# np.str_('a'), np.int64(3), tensor(3): how NumPy 2 and torch write one value.
_SCALAR = re.compile(r"(?:(?:np|numpy)\.\w+|(?:torch\.)?tensor)\(([^()\[\]]*)\)")
_QUOTES = {"'": "'", '"': '"', "`": "`", "\u2018": "\u2019", "\u201c": "\u201d"}
_QUOTED = re.compile(r"""[ubUB]?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.S)
_BARE = re.compile(r"[^,]+")
_BLANKS = re.compile(r"\s*")
_OBJECT = re.compile(r"""\{\s*(?:"[^"]*"|'[^']*')\s*:.*\}""", re.S)
_NO_LABEL = MISSING_WORDS | {"None"}


def without_quotes(text: str) -> str:
    """The text without the one pair of quotes around it.

    >>> without_quotes("'a'"), without_quotes("women's")
    ('a', "women's")
    """
    return text[1:-1] if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] else text


def scalar_of(cell: str) -> str | None:
    """The value of a cell that shows how a library writes one; None where it does not.

    >>> scalar_of("tensor(3)"), scalar_of("np.str_('a')"), scalar_of("a")
    ('3', 'a', None)
    """
    found = _SCALAR.fullmatch(cell.strip())
    return without_quotes(found[1].strip()) if found else None


def looks_like_list(cell: str) -> bool:
    """Whether the cell is in brackets, or is the call that makes a list.

    >>> looks_like_list("[a, b]"), looks_like_list("set()"), looks_like_list("Dress (long)")
    (True, True, False)
    """
    cell = cell.strip()
    return _PAIRS.get(cell[:1]) == cell[-1:] if cell[:1] in _PAIRS else bool(_CALL.fullmatch(cell))


def is_surely_list(cell: str) -> bool:
    """Whether the cell cannot be a name: in brackets with quotes or commas.

    >>> is_surely_list("['a']"), is_surely_list("[sale]"), is_surely_list("(men, women)")
    (True, False, False)
    """
    cell = cell.strip()
    if not looks_like_list(cell):
        return False
    quoted = bool(_QUOTED.match(cell[1:].lstrip()))
    return quoted or (cell[0] != "(" and "," in cell) or cell[0] not in _PAIRS


def is_object(cell: str) -> bool:
    """Whether the cell is a JSON object or a Python dict, or a list of them.

    >>> is_object('{"color": "red"}'), is_object('[{"id": 1}]'), is_object("{'red'}")
    (True, True, False)
    """
    inner = cell.strip()
    if inner[:1] == "[" and inner[-1:] == "]":
        inner = inner[1:-1].strip()
    return inner[:1] == "{" and _OBJECT.fullmatch(inner) is not None


def parse_list(cell: str) -> list[str] | None:
    """The labels of a cell that is written as a list; None where that is not sure.

    >>> parse_list("['a', 'b, c']"), parse_list('["a", null]'), parse_list("('a',)")
    (['a', 'b, c'], ['a'], ['a'])
    >>> parse_list("['a' 'b']"), parse_list("[0. 3.]"), parse_list("[long sleeve, red]")
    (['a', 'b'], ['0.', '3.'], ['long sleeve', 'red'])
    >>> parse_list("array(['a', 'b'], dtype=object)"), parse_list("[np.str_('a'), np.str_('b')]")
    (['a', 'b'], ['a', 'b'])
    >>> parse_list("[]"), parse_list("set()"), parse_list("[0 1 ... 9]"), parse_list("[[0], [1]]")
    ([], [], None, None)
    """
    cell = cell.strip()
    call = _CALL.fullmatch(cell)
    if call:
        cell = call[1] or "[]"
    cell = _SCALAR.sub(r"\1", cell)
    if not looks_like_list(cell):
        return None
    inner = cell[1:-1].strip()
    other = next((mark for mark in ";|" if mark in inner), None)
    if other is not None and not set(inner) & {",", "'", '"'}:
        inner = inner.replace(other, ",")
    items = _items(inner)
    # NumPy and pandas cut what they print: the labels in between are lost.
    return None if items is None or any("..." in item.split() for item in items) else items


def _items(inner: str) -> list[str] | None:
    """What stands between the brackets; quotes count at the start of an item only."""
    items: list[str] = []
    at, comma = 0, True
    while at < len(inner):
        quoted = _QUOTED.match(inner, at)
        if quoted:
            items.append(_unquoted(quoted[1]))
            at = quoted.end()
        else:
            bare = _BARE.match(inner, at)
            if bare is None or not comma:
                return None
            found = _bare_items(bare[0].strip())
            if found is None:
                return None
            items += found
            at = bare.end()
        at = _end_of(_BLANKS, inner, at)
        comma = inner[at : at + 1] == ","
        at = _end_of(_BLANKS, inner, at + 1) if comma else at
    return items


def _bare_items(text: str) -> list[str] | None:
    if text[:1] in "['\"({" or text[-1:] in "]'\")}":
        return None
    text = without_quotes(text)
    words = text.split()
    if len(words) > 1 and all(is_number(word) or word in ("True", "False") for word in words):
        return words
    return [] if text in _NO_LABEL else [text]


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _unquoted(literal: str) -> str:
    if "\\" not in literal:
        return literal[1:-1]
    try:
        return str(ast.literal_eval(literal))
    except (SyntaxError, ValueError):
        return literal[1:-1]


def positions(lists: Collection[list[str]]) -> Mapping[tuple[str, ...], list[str]] | None:
    """Read vectors of 0 and 1 as the positions of their ones; None where they are no vectors.

    All have one length, hold nothing but 0 and 1, and some holds one of them twice: a list of the
    two labels 0 and 1 would not. `[0, 1]` and `[1, 0]` together are vectors as well.

    >>> positions([["1", "0", "0"], ["0", "1", "1"]])
    {('1', '0', '0'): ['0'], ('0', '1', '1'): ['1', '2']}
    >>> positions([["0"], ["1"]]) is None, positions([["0", "3"]]) is None
    (True, True)
    """
    bits = {"0": False, "1": True, "False": False, "True": True, "false": False, "true": True}
    distinct = dict.fromkeys(map(tuple, lists))
    lengths = {len(one) for one in distinct}
    if len(lengths) != 1 or lengths <= {0, 1}:
        return None
    if not all(item in bits for one in distinct for item in one):
        return None
    if len(distinct) < 2 and all(len(set(one)) == len(one) for one in distinct):
        return None
    return {one: [str(index) for index, item in enumerate(one) if bits[item]] for one in distinct}
