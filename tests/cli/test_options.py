from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.main import get_command

from shopsight.cli.app import app
from shopsight.cli.options import parsed_seconds
from shopsight.cli.reference import all_commands
from shopsight.errors import ConfigError
from shopsight.read_options import ReadOptions, flag_of
from tests.helpers import Shopsight


def _options(verb: str) -> dict[str, str]:
    command = dict(all_commands(get_command(app)))[verb]
    return {
        option.opts[0]: option.help or ""
        for option in command.params
        if option.param_type_name == "option"
    }


def test_data_options_are_the_same_everywhere() -> None:
    shared = {flag_of(one.name) for one in fields(ReadOptions)}
    shared |= {"--cache-dir", "--memory-gb", "--json"}
    wanted = {name: text for name, text in _options("audit").items() if name in shared}
    assert set(wanted) == shared
    for verb in ("split", "train", "evaluate", "compare", "recommend", "index build"):
        found = {name: text for name, text in _options(verb).items() if name in shared}
        assert found == wanted


def test_help_texts_are_sentences() -> None:
    for name, command in all_commands(get_command(app)):
        for parameter in command.params:
            text = parameter.help or ""
            assert text[:1].isupper(), (name, parameter.name)
            assert text.endswith("."), (name, text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1m30", 90), ("1h30m", 5400), (" 1.5H ", 5400)],
)
def test_times(text: str, seconds: float) -> None:
    assert parsed_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "ten", "3x", "-5", "5 m"])
def test_no_times(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a time"):
        parsed_seconds(text)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(1, 59))
def test_time_adds_up(hours: int, minutes: int, seconds: int) -> None:
    assert parsed_seconds(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


def test_memory_gb_bounds_what_is_decoded(shopsight: Shopsight, tmp_path: Path) -> None:
    for label in ("hat", "shoe"):
        (tmp_path / label).mkdir()
        Image.new("L", (40, 30)).save(tmp_path / label / "small.png")
    Image.new("L", (6000, 5000)).save(tmp_path / "hat" / "scan.png")
    bounded = shopsight("audit", str(tmp_path), "--memory-gb", "0.1")
    assert "2 ok, 0 damaged, 1 unreadable" in bounded.out
    # A verdict that depends on the budget is not kept.
    assert "3 ok" in shopsight("audit", str(tmp_path)).out
