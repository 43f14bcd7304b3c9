"""An index knows the precision of its vectors, and what is asked in another one was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shopsight.bundle.embedding_space import EmbedsInto
from shopsight.datasets.open import open_catalog
from shopsight.errors import EmbeddingError, SearchError
from shopsight.files import write_json
from shopsight.inference.engine import EnginePrecision
from shopsight.io.json_files import read_json
from shopsight.search.build import build
from shopsight.search.generation import INFO_FILE, read_info
from shopsight.search.index import open_index
from shopsight.search.index_folder import IndexFolder
from shopsight.search.index_precision import check_query_precision, is_measured
from shopsight.search.maintain import migrate
from tests.helpers import ProductPhotos
from tests.search.vectors import SeededEmbedder, space

pytest.importorskip("qdrant_edge")


class Rounded(SeededEmbedder):
    """The same weights in a precision, with what was measured of it."""

    def __init__(self, precision: EnginePrecision, recall: float | None = None) -> None:
        super().__init__()
        self.precision = precision
        if precision == "int8":
            self.space = self.space.model_copy(update={"rounded": "int8"})
        exact = space().fingerprint
        if recall is not None:
            self.embeds_into = (EmbedsInto(space=exact, recall=recall, num_queries=100),)


@pytest.fixture
def built(tmp_path: Path, product_photos: ProductPhotos) -> Callable[[SeededEmbedder], Path]:
    """Builds the index of the product photos by an embedder."""

    def call(embedder: SeededEmbedder) -> Path:
        build(embedder, open_catalog(product_photos.folder), tmp_path / "index")
        return tmp_path / "index"

    return call


def info_file(folder: Path) -> Path:
    place = IndexFolder(folder)
    return place.place(place.current()) / INFO_FILE


@pytest.mark.parametrize(
    ("index", "query", "recall"),
    [
        # One precision: nothing is lost, whatever was measured of it.
        (Rounded("32"), Rounded("32"), None),
        (Rounded("bf16", 0.5), Rounded("bf16", 0.5), None),
        (Rounded("int8", 0.5), Rounded("int8", 0.5), None),
        # What a GPU calls tf32 is fp32.
        (Rounded("tf32"), Rounded("32"), None),
        (Rounded("32"), Rounded("tf32"), None),
        # Measured, in both directions.
        (Rounded("32"), Rounded("bf16", 0.96), 0.96),
        (Rounded("32"), Rounded("int8", 0.93), 0.93),
        (Rounded("bf16", 0.96), Rounded("32"), 0.96),
        (Rounded("int8", 0.93), Rounded("32"), 0.93),
    ],
)
def test_what_may_be_asked(
    built: Callable[[SeededEmbedder], Path], index: Rounded, query: Rounded, recall: float | None,
    said: list[str],
) -> None:  # fmt: skip
    folder = built(index)
    info = read_info(info_file(folder).parent)
    assert info.precision == index.precision
    assert is_measured(info, query)
    found = check_query_precision(info, query, where=str(folder))
    assert (None if found is None else found.recall) == recall
    with open_index(folder) as opened:
        opened.use(query)
        assert len(opened.query(opened.vectors()[:1], limit=1)[0]) == 1
    assert any("recall@10" in line for line in said) == (recall is not None)


@pytest.mark.parametrize(
    ("index", "query", "match"),
    [
        (Rounded("bf16"), Rounded("32"), "was built in bf16, and seeded computes in 32"),
        (Rounded("32"), Rounded("bf16"), "was built in 32, and seeded computes in bf16"),
        (Rounded("32"), Rounded("int8"), "was built in 32, and seeded computes in int8"),
        (Rounded("int8"), Rounded("32"), "was built in int8, and seeded computes in 32"),
        # Each was measured against fp32, and nobody knows what is between them.
        (Rounded("bf16", 0.96), Rounded("int8", 0.93), "was not measured"),
        (Rounded("16", 0.99), Rounded("bf16", 0.96), "was not measured"),
        (Rounded("32"), Rounded("int8", 0.5), r"too little in it: recall@10 50\.0.%"),
        (Rounded("int8", 0.5), Rounded("32"), r"too little in it: recall@10 50\.0.%"),
    ],
)
def test_what_is_refused(
    built: Callable[[SeededEmbedder], Path], index: Rounded, query: Rounded, match: str
) -> None:
    folder = built(index)
    with open_index(folder) as opened, pytest.raises(EmbeddingError, match=match) as caught:
        opened.use(query)
    assert caught.value.where == str(folder)
    assert "shopsight index migrate" in str(caught.value.fix)


def test_an_index_from_before_is_searched_as_it_was(
    built: Callable[[SeededEmbedder], Path],
) -> None:
    folder = built(Rounded("bf16"))
    path = info_file(folder)
    content = read_json(path)
    for name in ("precision", "rounding"):
        del content[name]
    write_json(path, content)
    assert read_info(path.parent).precision is None
    with open_index(folder) as opened:
        opened.use(Rounded("32"))
        opened.use(Rounded("bf16"))
        with pytest.raises(EmbeddingError, match="another space"):
            opened.use(Rounded("int8"))
        with pytest.raises(EmbeddingError, match="another space"):
            opened.use(SeededEmbedder("b"))
        with pytest.raises(SearchError, match="already"):
            migrate(opened, Rounded("32"))


def test_it_is_opened_in_its_own_precision_where_no_other_was_measured(
    built: Callable[[SeededEmbedder], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def opened_as(_: str, *, precision: str = "auto", **__: object) -> SeededEmbedder:
        asked.append(precision)
        return Rounded("bf16" if precision == "auto" else precision)  # type: ignore[arg-type]

    monkeypatch.setattr("shopsight.inference.open_embedder.open_embedder", opened_as)
    with open_index(built(Rounded("int8"))) as opened:
        assert opened.embedder().precision == "int8"
    assert asked == ["auto", "int8"]


def test_it_is_migrated_to_another_precision(
    built: Callable[[SeededEmbedder], Path], product_photos: ProductPhotos
) -> None:
    folder = built(Rounded("bf16"))
    with open_index(folder) as opened:
        with pytest.raises(SearchError, match="already"):
            migrate(opened, Rounded("bf16"))
        before = opened.vectors()
        migrate(opened, Rounded("32"))
        assert opened.info.precision == "32"
        assert opened.embedder().precision == "32"
        assert len(opened) == product_photos.count
        np.testing.assert_array_equal(opened.vectors(), before)
    assert read_info(info_file(folder).parent).precision == "32"
