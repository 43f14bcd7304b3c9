"""The answer "not in the catalog" for a chosen share of strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.commands.evaluate_index import evaluate_index
from shopsight.commands.search import search
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import SearchError
from shopsight.search.answers import as_table
from shopsight.search.build import build
from shopsight.search.index import open_index
from shopsight.search.maintain import compact
from shopsight.search.snapshot import snapshot
from shopsight.search.strangers import STRANGERS_FILE, Strangers
from tests.search.vectors import SeededEmbedder

pytest.importorskip("qdrant_edge")


def test_a_share_of_strangers_has_its_score() -> None:
    scores = np.arange(100) / 100
    strangers = Strangers("x", "product", scores)
    for rate in (0.01, 0.05, 0.1, 0.5, 0.99):
        least = strangers.least_score(rate)
        assert (scores.astype(np.float32) >= np.float32(least)).mean() == pytest.approx(rate)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    build(
        SeededEmbedder(),
        draw_catalog(tmp_path / "photos", products_per_class=4),
        tmp_path / "index",
    )
    return tmp_path / "index"


def test_what_was_measured_decides(index: Path, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="never measured") as caught:
        search(index, ids=["dress-0000"], false_accept=0.1)
    assert f"shopsight evaluate {index}" in str(caught.value)
    evaluate_index(index, expand=2)
    assert not (index / STRANGERS_FILE).exists()
    found = evaluate_index(index)
    assert found.strangers is not None
    least = found.strangers.least_score(0.1)
    with open_index(index) as opened:
        items = opened.items(["product"])
        scores = opened.vectors() @ opened.vectors().T
        same = items["product"].to_numpy()[:, None] == items["product"].to_numpy()[None]
        best = np.where(same, -1, scores).max(axis=1)
    assert (best >= least).mean() <= 0.1 < (best >= np.sort(best)[-len(best) // 10 - 1]).mean()
    page = tmp_path / "page.html"
    ids = items["id"].to_list()
    answers = search(index, ids=ids, by="image", false_accept=0.1, html=page)
    # Vectors of the engine are rounded.
    assert sum(one.in_catalog is True for one in answers.answers) <= 0.1 * len(ids) + 1
    assert "strangers reach that" in answers.notes[0]
    assert "Not in the catalog" in page.read_text(encoding="utf-8")
    (inside,) = [one for one in answers.answers if one.in_catalog][:1]
    assert inside.to_json()["in_catalog"] is True
    outside = next(one for one in answers.answers if not one.in_catalog)
    assert outside.to_json()["in_catalog"] is False
    assert outside.to_json()["min_score"] == pytest.approx(least)
    table = as_table(answers.answers)
    rows = table.filter(pl.col("query") == outside.query).select("rank", "in_catalog").rows()
    assert rows == [(None, False)]


def test_what_was_measured_on_other_items_is_stale(index: Path, tmp_path: Path) -> None:
    evaluate_index(index)
    # The same items in another generation, and in a copy.
    with open_index(index) as opened:
        compact(opened)
    snapshot(index, tmp_path / "copy")
    for place in (index, tmp_path / "copy"):
        search(place, ids=["dress-0000"], false_accept=0.1)
    with open_index(index) as opened:
        opened.generation.delete(opened.items()["id"].to_list()[:1])
    with pytest.raises(SearchError, match="before the index changed"):
        search(index, ids=["dress-0001"], false_accept=0.1)
    (tmp_path / "copy" / STRANGERS_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(SearchError, match="cannot be read"):
        search(tmp_path / "copy", ids=["dress-0001"], false_accept=0.1)


def test_shares_that_cannot_be_had_are_errors(index: Path) -> None:
    evaluate_index(index)
    for rate in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(SearchError, match="no share of strangers"):
            search(index, ids=["dress-0000"], false_accept=rate)
    with pytest.raises(SearchError, match="64 strangers measure no share below"):
        search(index, ids=["dress-0000"], false_accept=0.001)
    with pytest.raises(SearchError, match="does not go together with --text, --rerank"):
        search(index, texts=["dress"], rerank=True, false_accept=0.1)
    for score in (float("nan"), float("inf")):
        with pytest.raises(SearchError, match="a finite number"):
            search(index, ids=["dress-0000"], min_score=score)
