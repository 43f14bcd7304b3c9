from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsight import text
from shopsight.control_characters import one_line


def test_examples() -> None:
    found = doctest.testmod(text)
    assert found.attempted >= 5
    assert found.failed == 0


def test_numbers() -> None:
    assert text.percent_text(float("nan")) == text.decimal_text(None) == "\N{EN DASH}"
    times = [text.duration_text(seconds) for seconds in (0.25, 42, 75, 3599.7, 5160)]
    assert times == ["0.2 s", "42 s", "1 min 15 s", "1 h 0 min", "1 h 26 min"]


WORDS = [
    "shopsight",
    "audit",
    "",
    "a b",
    "it's",
    "a&b",
    "50%",
    "(1)",
    "a;b,c",
    "{x}",
    "dir/*_*.jpg",
]


def test_a_command_is_read_back_by_a_posix_shell() -> None:
    assert shlex.split(text.command_line(WORDS, windows=False)) == WORDS


@pytest.mark.posix("a POSIX shell")
def test_a_command_shows_control_characters_and_has_them() -> None:
    words = ["new\nline", "\x1b[31m'red'\\", "\u202egpj", "caf\udce9", "plain"]
    command = text.command_line(["printf", "%s\\0", *words], windows=False)
    assert command == one_line(command)
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]] == words


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("runs\\my-run", "runs\\my-run"),
        ("C:\\photos\\T-shirts", "C:\\photos\\T-shirts"),
        ("timm:resnet18", "timm:resnet18"),
        ("连衣裙", "连衣裙"),
        ("", '""'),
        ("my photos", '"my photos"'),
        ("C:\\my photos\\", '"C:\\my photos\\\\"'),
        ("a&b\\", '"a&b\\\\"'),
        ("it's", '"it\'s"'),
        ("a,b;(c)@{d}", '"a,b;(c)@{d}"'),
        ('5" heel', '"5\\" heel"'),
    ],
)
def test_a_command_for_cmd_exe_and_powershell(word: str, written: str) -> None:
    assert text.command_line(["shopsight", word], windows=True) == f"shopsight {written}"


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n"))))
def test_windows_programs_read_their_words_back(words: list[str]) -> None:
    assert split_as_windows_programs_do(text.command_line(words, windows=True)) == words


def split_as_windows_programs_do(line: str) -> list[str]:
    """Microsoft's rules: of backslashes before a quote two are one, and one left escapes it."""
    words: list[str] = []
    word, quoted, begun = "", False, False
    for backslashes, mark in re.findall(r"(\\*)([^\\]|$)", line, re.DOTALL):
        is_quote = mark == '"'
        word += backslashes[: len(backslashes) // 2] if is_quote else backslashes
        begun = begun or bool(backslashes)
        if is_quote and len(backslashes) % 2 == 0:
            quoted, begun = not quoted, True
        elif mark not in {" ", "\t", ""} or (quoted and mark):
            word, begun = word + mark, True
        elif begun:
            words.append(word)
            word, begun = "", False
    return words


def test_sizes_for_people() -> None:
    assert [text.human_bytes(n) for n in (999, 1_536_000, 2e12)] == ["999 B", "1.5 MB", "2.0 TB"]
