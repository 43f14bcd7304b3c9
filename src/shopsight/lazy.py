"""Names that a module re-exports without importing what defines them.

    if TYPE_CHECKING:
        from shopsight.commands.audit import audit as audit
    else:
        __getattr__, __dir__, __all__ = lazy_exports(__name__, __file__)

The block of imports is the only list of the names: type checkers read it, and so does
`lazy_exports`. A name is imported when it is first used.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from shopsight.extras import missing_extra


def lazy_exports(
    module: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Build what PEP 562 asks of a module that imports its names on first use.

    Args:
        module: the module's `__name__`, for the error message.
        file: the module's `__file__`, whose `if TYPE_CHECKING:` block lists the names.

    Returns:
        `__getattr__`, `__dir__` and `__all__` of the module.
    """
    homes = _homes(Path(file).read_text(encoding="utf-8"))

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_home(homes[name]), name)

    return get, lambda: sorted(homes), sorted(homes)


def import_home(module: str) -> ModuleType:
    """Import a module of shopsight.

    Raises:
        ExtraMissingError: it needs a library that is not installed and that an extra brings.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from error


def _homes(source: str) -> dict[str, str]:
    """Name -> the module that defines it, from `if TYPE_CHECKING:` blocks."""
    blocks = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    ]
    return {
        alias.name: line.module
        for block in blocks
        for line in block.body
        if isinstance(line, ast.ImportFrom) and line.module is not None
        for alias in line.names
        if alias.asname == alias.name
    }
