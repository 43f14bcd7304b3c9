"""Plain values as YAML, as the Hub and MLflow read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def yaml_text(value: Mapping[str, Any]) -> str:
    """Block style; texts and numbers are written as JSON has them, which is YAML too."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        found = []
        for key, one in value.items():
            inner = _lines(one)
            # A list may stand under its key at the same depth; a mapping may not.
            if _is_block(one):
                found += [f"{key}:", *(f"  {line}" for line in inner)]
            else:
                found.append(f"{key}: {inner[0]}")
        return found or ["{}"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        found = []
        for one in value:
            first, *others = _lines(one)
            found += [f"- {first}", *(f"  {line}" for line in others)]
        return found or ["[]"]
    text = json.dumps(value, ensure_ascii=False)
    # What YAML takes for the end of a line, or does not take at all; JSON's pairs it does not know.
    return [_UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)]


def _is_block(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) and len(value) > 0
