from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shopsight.share.yaml_text import yaml_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KEYS = st.from_regex(r"[a-z][a-z_-]{0,8}", fullmatch=True).filter(
    lambda key: key not in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read(value: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(value)) == value


@pytest.mark.parametrize("text", ["a: b", "# x", "---", "'", '"', "\n", "- a", "%", "\u2028", "é"])
def test_texts_stay_texts(text: str) -> None:
    assert yaml.safe_load(yaml_text({"a": [text, {"b": text}]})) == {"a": [text, {"b": text}]}


def test_it_reads_like_yaml() -> None:
    assert yaml_text({"a": 1, "b": {"c": ["x"], "d": {}}, "e": [{"f": 2, "g": None}]}) == (
        'a: 1\nb:\n  c:\n    - "x"\n  d: {}\ne:\n  - f: 2\n    g: null\n'
    )
