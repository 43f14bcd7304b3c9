from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.lazy import lazy_exports


def test_names_come_from_the_block_of_imports(tmp_path: Path) -> None:
    file = tmp_path / "front.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "from json import dumps\n"
        "if TYPE_CHECKING:\n"
        "    from json import loads as loads\n"
        "    from math import pi as pi\n"
        "    from math import tau\n",
        encoding="utf-8",
    )
    get, listed, names = lazy_exports("front", str(file))
    # As in a type checker's eyes: only a name that is imported as itself is re-exported.
    assert listed() == names == ["loads", "pi"]
    assert get("loads")("[1]") == [1]
    with pytest.raises(AttributeError, match="module 'front' has no attribute 'tau'"):
        get("tau")
