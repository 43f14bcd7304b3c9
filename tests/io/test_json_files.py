from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.errors import DamagedFileError, LocationError
from shopsight.io.json_files import parse_json, read_json, read_json_table


def test_values_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2.5, "ü"], "b": {"a": null}}', encoding="utf-8")
    assert read_json(path) == {"a": [1, 2.5, "ü"], "b": {"a": None}}
    assert read_json_table(path) == read_json(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("1" * 5000, "digits"),
        ("{", "Expecting property name"),
    ],
)
def test_what_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(text)
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DamagedFileError, match=f"is damaged: .*{said}"):
        read_json(path)


def test_a_list_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(DamagedFileError, match="holds no keys"):
        read_json_table(tmp_path / "a.json")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(" " * 101 + "1", encoding="utf-8")
    assert read_json(path, most_bytes=102) == 1
    with pytest.raises(LocationError, match="more than 101 bytes"):
        read_json(path, most_bytes=101)


def test_a_key_that_stands_twice_is_found_in_linear_time() -> None:
    """The square of so many keys would take minutes."""
    keys = ", ".join(f'"{number}": 1' for number in range(300_000))
    with pytest.raises(ValueError, match="'last' stands twice"):
        parse_json(f'{{{keys}, "last": 1, "last": 2}}')
