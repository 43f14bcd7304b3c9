"""One vocabulary: the words that the glossary replaced do not come back.

Identifiers, messages, help texts and TOML keys of `src/` are searched for banned words, the
documents for British spellings, and the names of modules, functions and classes for what was
renamed to the field's term.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
RECIPES = sorted((ROOT / "src").rglob("*.toml"))
TEMPLATES = sorted((ROOT / "src").rglob("*.html"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

SPELLINGS = {
    *("colour", "colours", "coloured", "grey", "catalogue", "catalogues"),
    *("labelled", "unlabelled", "optimiser", "normalise", "licence", "centre"),
}
BANNED = SPELLINGS | {
    *("told", "twins", "drawn", "mend", "mendable", "ahead"),
    *("canvas", "canvases", "picture", "pictures"),
}
# Left-hand names of the table of renames. `words`, `say`, `draws` ... are words of every day
# elsewhere: they are refused only as the name of a module, function or class.
RENAMED = {
    *("words", "draws", "draw", "locate", "facts", "shots", "seen", "reach_rules", "warp_file"),
    *("as_they_are", "together", "alike", "like_any", "twin_ids", "prove"),
    *("split_proof", "leave_out", "fit_weights", "write_model", "lay_out", "go_on", "_settled"),
    *("half_the_batch", "weights_to_keep", "make_fast", "ranks", "weight_average"),
    *("narrow_hits", "on_the_same_images", "leaner", "depthwise_as_before"),
    *("without_vain_retries", "freed_memory_kept", "run_canvases", "listen", "listener", "say"),
    *("embedding_width", "_hand_out", "_even_out"),
}
# What users' own tables, folders and former recipes say, which is read and never written.
READ_FROM_USERS = {
    ("config/overrides.py", "colour"),
    ("tables/column_names.py", "picture"),
    ("image_files/image_roots.py", "pictures"),
    ("tables/split_names.py", "unlabelled"),
    ("tables/split_names.py", "pictures"),
}


def words_of(name: str) -> list[str]:
    """`"PadColour_2"` -> `["pad", "colour", "2"]`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[\W_]+", spaced.lower()) if word]


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definitions(tree: ast.AST) -> Iterator[Definition]:
    return (node for node in ast.walk(tree) if isinstance(node, Definition))


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield line, value


def messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """String constants that are no docstring: messages, help texts, keys, column names."""
    docstrings = {
        id(node.body[0].value)
        for node in [tree, *definitions(tree)]
        if isinstance(node, ast.Module | Definition)
        if node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.lineno, node.value


def keys_of(tree: dict[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        yield key
        if isinstance(value, dict):
            yield from keys_of(value)


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "src" / "shopsight").as_posix()


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {relative(path): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_no_banned_word_in_identifiers_and_messages(trees: dict[str, ast.Module]) -> None:
    found = [
        f"{name}:{line}: {word!r} in {text!r}"
        for name, tree in trees.items()
        for line, text in [*identifiers(tree), *messages(tree)]
        for word in words_of(text)
        if word in BANNED and (name, word) not in READ_FROM_USERS
    ]
    assert found == []


def test_renamed_things_keep_their_new_name(trees: dict[str, ast.Module]) -> None:
    found = [
        f"{module}: {name}"
        for module, tree in trees.items()
        for name in [Path(module).stem, *(node.name for node in definitions(tree))]
        if snake_case(name) in RENAMED
    ]
    assert found == []


def test_docstrings_begin_with_a_summary(trees: dict[str, ast.Module]) -> None:
    """A docstring that begins with "Attributes:" is read by no parser of Google's style."""
    sections = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Sources?):")
    found = [
        f"{module}:{getattr(node, 'lineno', 1)}"
        for module, tree in trees.items()
        for node in [tree, *definitions(tree)]
        if sections.match(ast.get_docstring(node) or "")
    ]
    assert found == []


def test_no_banned_word_in_recipes() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in RECIPES}
    assert texts
    found = {
        name: sorted(BANNED & ({*words_of(text)} | {*keys_of(tomllib.loads(text))}))
        for name, text in texts.items()
    }
    assert not any(found.values()), found


def test_no_banned_word_in_pages() -> None:
    found = {path.name: sorted(BANNED & {*words_of(path.read_text("utf-8"))}) for path in TEMPLATES}
    assert found
    assert not any(found.values()), found


def test_documents_are_in_american_english() -> None:
    found = {
        path.name: sorted(SPELLINGS & {*words_of(path.read_text("utf-8"))}) for path in DOCUMENTS
    }
    assert found
    assert not any(found.values()), found


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def pad_colour(): ...", ["colour"]),
        ("class PadColour: ...", ["colour"]),
        ('raise ValueError("the picture cannot be mended")', ["picture"]),
        ('x = f"{n} twins"', ["twins"]),
        ('"""A drawn picture."""', []),
        ("redrawn = 1", []),
    ],
)
def test_the_search_finds_what_it_is_for(source: str, words: list[str]) -> None:
    tree = ast.parse(source)
    texts = [text for _, text in [*identifiers(tree), *messages(tree)]]
    assert [word for text in texts for word in words_of(text) if word in BANNED] == words
