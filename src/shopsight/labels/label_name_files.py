"""Files of names as libraries write them: JSON, Python literals, TensorFlow's maps, DeepFashion."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence
from typing import Any

from shopsight.errors import CatalogError
from shopsight.io.json_files import parse_json

_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_ITEM_ID = re.compile(r"\bid\s*:\s*(\d+)")
_ITEM_NAMES = (
    re.compile(r"\bdisplay_name\s*:\s*['\"]([^'\"]+)['\"]"),
    re.compile(r"\bname\s*:\s*['\"]([^'\"]+)['\"]"),
)
_ID_KEYS = ("id", "class_id", "category_id", "index", "label")
_NAME_KEYS = ("name", "class_name", "category_name", "display_name", "title")
_MOST_LEVELS = 3


def parse_tree(text: str, where: str) -> Any:
    """The content of JSON, or of a Python literal such as the usual list of ImageNet's classes.

    Raises:
        CatalogError: it is neither.
    """
    try:
        return parse_json(text)
    except ValueError as error:
        try:
            # Literals alone: nothing is run.
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise CatalogError(f"not JSON: {error}", where=where) from error


def names_in_tree(
    content: Any, labels: Collection[str], levels: int = _MOST_LEVELS
) -> dict[str, str] | list[str] | None:
    """Names by their ids, or names alone, anywhere in parsed JSON; None without any.

    >>> names_in_tree({"0": "hat"}, ["0"]), names_in_tree({"hat": 0}, ["0"])
    ({'0': 'hat'}, {'0': 'hat'})
    >>> names_in_tree({"id2label": {"0": "hat"}}, ["0"]), names_in_tree({"names": ["hat"]}, ["0"])
    ({'0': 'hat'}, ['hat'])
    >>> names_in_tree({"categories": [{"id": 1, "name": "hat"}]}, ["1"])
    {'1': 'hat'}
    """
    if isinstance(content, list):
        if all(isinstance(name, str) for name in content):
            return content
        pairs = _pairs_of_records(content)
        return pairs if set(labels) & set(pairs) else None
    if not isinstance(content, dict):
        return None
    flat = {
        str(key): str(value[-1] if isinstance(value, list) and value else value)
        for key, value in content.items()
    }
    if set(labels) & set(flat):
        return flat
    if set(labels) & set(flat.values()):
        return {value: key for key, value in flat.items()}
    inner = (names_in_tree(value, labels, levels - 1) for value in content.values() if levels)
    return next((names for names in inner if names), None)


def names_in_items(text: str) -> dict[str, str]:
    """Names by the ids of `item { id: 1 name: 'hat' }`; empty without such items."""
    names = {}
    for block in _ITEM.findall(text):
        number = _ITEM_ID.search(block)
        name = next((found for one in _ITEM_NAMES if (found := one.search(block))), None)
        if number and name:
            names[number[1]] = name[1]
    return names


def without_count(lines: Sequence[str]) -> list[str]:
    """Without the number of names and the header, as DeepFashion writes them, and their types.

    >>> without_count(["2", "category_name category_type", "Anorak  1", "Hoodie  1"])
    ['Anorak', 'Hoodie']
    """
    if len(lines) < 3 or lines[0] != str(len(lines) - 2):
        return list(lines)
    names = [re.fullmatch(r"(.*\S)\s+\d+", line) for line in lines[2:]]
    typed = [name[1] for name in names if name]
    return typed if len(typed) == len(names) else list(lines[2:])


def _pairs_of_records(records: Sequence[Any]) -> dict[str, str]:
    """`[{"id": 0, "name": "hat"}, ...]`, as COCO has its categories."""
    pairs = {}
    for record in records:
        if isinstance(record, dict):
            number = next((record[key] for key in _ID_KEYS if key in record), None)
            name = next((record[key] for key in _NAME_KEYS if key in record), None)
            if number is not None and name is not None:
                pairs[str(number)] = str(name)
    return pairs
