from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shopsight.commands.index import update_index
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import SearchError
from shopsight.search.build import build
from tests.search.vectors import SeededEmbedder

pytest.importorskip("qdrant_edge")


def contents(folder: Path) -> dict[str, bytes]:
    files = [one for one in folder.rglob("*") if one.is_file() and one.suffix != ".lock"]
    return {one.relative_to(folder).as_posix(): one.read_bytes() for one in files}


def test_what_is_only_planned_or_refused_changes_no_file(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    build(SeededEmbedder(), catalog, tmp_path / "index")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copyfile(catalog.refs()[0], other / "new.jpg")
    before = contents(tmp_path / "index")
    planned = update_index(tmp_path / "index", other, dry_run=True)
    assert (planned.done.added, planned.done.removed) == (1, len(catalog))
    assert planned.num_items == len(catalog)
    with pytest.raises(SearchError, match="would be removed"):
        update_index(tmp_path / "index", other)
    assert contents(tmp_path / "index") == before
