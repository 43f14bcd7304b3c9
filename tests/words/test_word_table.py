from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from shopsight.errors import ExtraMissingError
from shopsight.words.word_table import open_word_table

pytest.importorskip("tokenizers")


def test_a_package_without_its_files_is_an_error_that_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wordllama").mkdir()
    (tmp_path / "wordllama" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    importlib.invalidate_caches()
    open_word_table.cache_clear()
    try:
        with pytest.raises(ExtraMissingError, match="installed without its"):
            open_word_table()
    finally:
        open_word_table.cache_clear()
