"""Parts of many names by an expression, in a time that is bounded.

An expression of Python's `re` can take longer than anybody lives on a name of 40 letters, and
nothing in the same process can stop it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

import polars as pl

from shopsight.errors import CatalogError

SEARCH_S = 30.0
"""How long a search may take, beside `SEARCH_S_PER_NAME`."""
SEARCH_S_PER_NAME = 50e-6
"""An expression that is not a trap takes about 2 microseconds."""

# Only modules of Python: it starts in some 20 ms.
_CHILD = """
import json, re, sys
expression = re.compile(json.loads(sys.stdin.readline()))
for line in sys.stdin:
    found = expression.search(json.loads(line))
    sys.stdout.write(json.dumps(None if found is None else found.groupdict()) + "\\n")
"""


def search_linear(expression: str, parts: Sequence[str], names: Sequence[str]) -> pl.DataFrame:
    """Search for an expression of polars, whose time is linear in the length of a name.

    Args:
        expression: with a group for each part, in their order.
        parts: what the columns are called.
        names: what is searched.

    Returns:
        A row for each name, null where it does not match.
    """
    texts = pl.Series("name", names, dtype=pl.String)
    found = texts.str.extract_groups(expression).struct.unnest()
    found.columns = [*parts]
    return found


def search_in_time(expression: re.Pattern[str], names: Sequence[str]) -> pl.DataFrame:
    """Search for an expression of Python, in a process of its own that is ended when it is late.

    Args:
        expression: with a named group for each part.
        names: what is searched.

    Returns:
        A row for each name, null where it does not match, with a column for each part.

    Raises:
        CatalogError: it takes too long.
    """
    lines = [json.dumps(expression.pattern), *map(json.dumps, names)]
    limit_s = SEARCH_S + SEARCH_S_PER_NAME * len(names)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=limit_s,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CatalogError(
            f"the label pattern {expression.pattern[:200]!r} takes more than {limit_s:.0f} s",
            fix="an expression without a repetition within a repetition, such as (a+)+",
        ) from error
    found = [json.loads(line) for line in done.stdout.splitlines()]
    parts = list(expression.groupindex)
    return pl.DataFrame(
        {part: [None if one is None else one[part] for one in found] for part in parts},
        schema=dict.fromkeys(parts, pl.String),
    )
