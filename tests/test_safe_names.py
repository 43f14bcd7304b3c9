from __future__ import annotations

import doctest
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shopsight import safe_names
from shopsight.safe_names import (
    LONGEST_BYTES,
    is_safe,
    is_windows_name,
    numbered_name,
    safe_name,
    unique_names,
)

RESERVED = (
    "CON",
    "prn",
    "aux",
    "nul.v2",
    "COM1",
    "lpt9.txt",
    "com¹",
    "LPT³.a.b",
    "CONIN$",
    "nul .x",
)
HARD = (
    *RESERVED,
    "..",
    ".",
    "",
    " ",
    "hat.",
    "hat ",
    " hat",
    "a/b",
    "a\\b",
    "3:4",
    "what?",
    "<>|*",
)
LABELS = st.text(max_size=40) | st.sampled_from(HARD)


def as_a_case_insensitive_file_system_sees_it(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def test_examples() -> None:
    found = doctest.testmod(safe_names)
    assert found.attempted >= 2
    assert found.failed == 0


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CON", "%43ON"),
        ("nul.v2", "%6Eul.v2"),
        ("COM¹", "%43OM¹"),
        ("console", "console"),
        ("com10", "com10"),
        ("hat.", "hat%2E"),
        ("hat ", "hat%20"),
        ("..", "%2E%2E"),
        ("T-shirt/top", "T-shirt%2Ftop"),
        ("a\tb", "a%09b"),
        ("100%", "100%25"),
        ("Ärmel, rot", "Ärmel, rot"),
        ("连衣裙", "连衣裙"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert safe_name(text) == name


@given(LABELS)
def test_every_system_takes_it(text: str) -> None:
    name = safe_name(text)
    assert is_safe(name)
    assert not set(name) & set('<>:"/\\|?*')
    assert all(ord(character) >= 32 for character in name)
    assert not name.startswith((".", " "))
    assert not name.endswith((".", " "))
    stem = name.partition(".")[0].strip().upper()
    assert stem not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1", "COM¹", "CONIN$", "CONOUT$"}


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=30))
def test_a_short_name_is_read_back(text: str) -> None:
    assert unquote(safe_name(text)) == text


@given(LABELS, LABELS)
def test_different_texts_get_different_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


@given(st.text(min_size=1, max_size=5), st.integers(100, 300))
def test_a_long_name_is_cut_and_stays_unique(text: str, times: int) -> None:
    one, other = safe_name(text * times), safe_name(text * times + "x")
    assert one != other
    for name in (one, other):
        assert is_safe(name)
        assert len(name.encode("utf-8", "surrogatepass")) <= LONGEST_BYTES


def test_a_long_file_keeps_its_suffix() -> None:
    assert safe_name("連" * 100 + ".jpeg").endswith(".jpeg")


@given(st.lists(LABELS, max_size=12), st.randoms())
@example(["Shirt", "shirt", "SHIRT", "shirt (2)"], None)
@example(["\u00e9", "e\u0301"], None)
def test_labels_share_no_folder(labels: list[str], random: object) -> None:
    names = unique_names(labels)
    assert set(names) == set(labels)
    seen = {as_a_case_insensitive_file_system_sees_it(name) for name in names.values()}
    assert len(seen) == len(names)
    assert all(is_safe(name) for name in names.values())
    assert unique_names(reversed(labels)) == names


def test_labels_that_differ_in_case_alone() -> None:
    assert unique_names(["shirt", "Shirt", "SHIRT", "hat"]) == {
        "SHIRT": "SHIRT",
        "Shirt": "Shirt (2)",
        "shirt": "shirt (3)",
        "hat": "hat",
    }
    # The label that has this name by itself keeps it.
    assert unique_names(["Shirt", "shirt", "shirt (2)"])["shirt"] == "shirt (3)"


@given(LABELS)
def test_this_machine_takes_it(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    name = safe_name(text)
    if any("\ud800" <= character <= "\udfff" for character in name):
        return
    folder = tmp_path_factory.mktemp("names", numbered=True) / name
    folder.mkdir()
    assert [path.name for path in Path(folder.parent).iterdir()] == [name]


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        *(
            (name, False)
            for name in ("aux", "NUL", "con.csv", "com1", "a?.csv", "o:ut", "hat.", "b ")
        ),
        *((name, True) for name in (".cache", "auxiliary", "console.csv", "100%", "com.csv", "é")),
    ],
)
def test_names_that_windows_takes(name: str, taken: bool) -> None:
    assert is_windows_name(name) == taken


def test_a_numbered_name_is_no_longer_than_file_systems_take() -> None:
    for name in ("a" * 251 + ".jpg", "é" * 125 + ".jpg", "\udce9" * 83 + ".jpg"):
        numbered = numbered_name(name, 12)
        assert numbered.endswith("-12.jpg")
        assert 250 < len(numbered.encode("utf-8", "surrogatepass")) <= 255
    assert numbered_name("photo.jpg", 2) == "photo-2.jpg"
