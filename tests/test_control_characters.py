"""Characters that a terminal obeys or hides are written as escapes."""

import doctest
import json
import unicodedata

import pytest

from shopsight import control_characters
from shopsight.control_characters import json_text, one_line, printable
from shopsight.errors import ShopsightError
from tests.helpers import HOSTILE, sent_raw


def test_examples() -> None:
    found = doctest.testmod(control_characters)
    assert (found.attempted, found.failed) == (3, 0)


def test_no_control_character_is_sent() -> None:
    kinds = {chr(code): unicodedata.category(chr(code)) for code in range(0x110000)}
    obeyed = {c for c, kind in kinds.items() if kind in {"Cc", "Cs", "Zl", "Zp"} and c != "\n"}
    assert {c for c in obeyed if c in printable(f"a{c}b")} == set()
    # Signs before Arabic and Kaithi numbers are seen, and so are hieroglyphs' joints.
    visible = {"\u06dd", "\u070f", "\u0890", "\u0891", "\u08e2", "\U000110bd", "\U000110cd"}
    visible |= {chr(code) for code in (*range(0x600, 0x606), *range(0x13430, 0x13440))}
    marks = {c for c, kind in kinds.items() if kind == "Cf"}
    assert {c for c in marks if c in printable(f"a{c}b")} <= visible
    blank = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
    assert {c for c in blank if c in printable(f"a{c}b")} == set()
    seen = "".join(c for c, kind in kinds.items() if kind[0] in "LNPSM" and c not in blank)
    assert printable(seen) == seen


@pytest.mark.parametrize(
    "text", ["می\u200cخواهم", "👩\u200d👧", "क्\u200dष", "❤\ufe0f", "葛\U000e0100"]
)
def test_joiners_and_selectors_that_shape_letters_stay(text: str) -> None:
    assert printable(text) == text


def test_a_joiner_between_latin_letters_is_seen() -> None:
    assert printable("sh\u200doe") == r"sh\u200doe"
    assert printable("shoe\u200c") == r"shoe\u200c"


@pytest.mark.parametrize("text", HOSTILE)
def test_json_reads_back_and_sends_nothing(text: str) -> None:
    written = json_text({text: [text]}, indent=2)
    assert json.loads(written) == {text: [text]}
    assert sent_raw(written) == set()


@pytest.mark.parametrize("text", HOSTILE)
def test_errors_show_what_they_name(text: str) -> None:
    error = ShopsightError(text, where=text, details=[text], fix=f"do this:\n{text}")
    assert sent_raw(str(error)) == set()
    assert one_line(text) in str(error)
