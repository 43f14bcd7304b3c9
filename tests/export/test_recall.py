"""What an export in another precision declares of the space of the exact embeddings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from shopsight.bundle.embedding_space import LEAST_RECALL, EmbedsInto, check_same_space
from shopsight.bundle.exports import read_exports, write_exports
from shopsight.bundle.read import read_bundle
from shopsight.commands.embed import embed
from shopsight.commands.export import export
from shopsight.datasets.open import open_catalog
from shopsight.errors import EmbeddingError
from shopsight.export.parity import FEWEST_QUERIES, Proof, measure
from shopsight.inference.agreement import Readout
from shopsight.inference.load import load
from shopsight.inference.open_embedder import open_embedder
from shopsight.metrics.families import Families
from shopsight.search.build import build
from shopsight.search.index import open_index
from tests.helpers import ProductPhotos

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


class _Rows:
    """An engine that gives the rows that it was made with."""

    name, precision = "rows on cpu, int8", "int8"

    def __init__(self, rows: np.ndarray) -> None:
        self._rows, self._at = rows, 0

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = self._rows[self._at : self._at + len(images)]
        self._at += len(images)
        return found, found[:, :2]


def measured(found: np.ndarray, exact: np.ndarray) -> tuple[float | None, float | None]:
    count = len(exact)
    proof = Proof(
        np.zeros((count, 4, 4, 3), np.uint8), (exact, exact[:, :2]), Readout(), "rows", None,
        Families.alone(count),
    )  # fmt: skip
    parity = measure(_Rows(found), "int8", proof)  # type: ignore[arg-type]
    return parity.recall_at_10, parity.recall_at_1


def test_recall_is_of_rounded_queries_among_exact_vectors() -> None:
    # Points on an arc: the nearest ones are those beside, the first of two equal ones the left.
    angles = np.linspace(0, 1.5, 40) ** 1.1
    exact = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert measured(exact, exact) == (1.0, 1.0)
    # All queries are the last point: only those near it find some of theirs.
    found = np.repeat(exact[-1:], 40, axis=0)
    at_10, at_1 = measured(found, exact)
    assert at_10 is not None
    assert at_1 is not None
    assert 0.1 < at_10 < 0.4
    assert at_1 < 0.1
    # Of few images it would say nothing.
    few = exact[: FEWEST_QUERIES - 1]
    assert measured(few, few) == (None, None)


@pytest.fixture(scope="module")
def exported(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    run = tmp_path_factory.mktemp("recall") / "run"
    shutil.copytree(tiny_run, run)
    export(run, precision=("fp32", "int8"), data=product_photos.folder, max_drop=100.0)
    return run


def _with_recall(run: Path, recall: float | None) -> None:
    folder = run / "model"
    exports = read_exports(folder, read_bundle(folder).info)
    artifact = exports.find("int8")
    assert artifact is not None
    parity = tuple(one.model_copy(update={"recall_at_10": recall}) for one in artifact.parity)
    write_exports(folder, exports.with_artifact(artifact.model_copy(update={"parity": parity})))


def test_eight_bits_have_a_space_and_say_how_well_they_search(
    exported: Path, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    run = Path(shutil.copytree(exported, tmp_path / "run"))
    exact = open_embedder(run, device="cpu", precision="32")
    rounded = open_embedder(run, device="cpu", precision="int8")
    assert exact.embeds_into == ()
    assert exact.space.rounded == ""
    assert rounded.space.rounded == "int8"
    assert rounded.space.fingerprint != exact.space.fingerprint
    (declared,) = rounded.embeds_into
    assert declared.space == exact.space.fingerprint
    assert declared.num_queries == product_photos.count // 2
    # What was embedded in fp32 is continued in eight bits, which is said; or it is refused.
    _with_recall(run, 0.95)
    embed(run, product_photos.folder, out=tmp_path / "vectors", precision="32")
    embed(run, product_photos.folder, out=tmp_path / "vectors", precision="int8")
    assert any("recall@10 95.0" in line for line in said), said
    _with_recall(run, LEAST_RECALL - 0.1)
    with pytest.raises(EmbeddingError, match=r"too little in it: recall@10 70\.0.%"):
        embed(run, product_photos.folder, out=tmp_path / "vectors", precision="int8")
    _with_recall(run, None)
    with pytest.raises(EmbeddingError, match="of another space"):
        embed(run, product_photos.folder, out=tmp_path / "vectors", precision="int8")


def test_an_index_of_fp32_is_searched_in_eight_bits(
    exported: Path, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    pytest.importorskip("qdrant_edge")
    run = Path(shutil.copytree(exported, tmp_path / "run"))
    _with_recall(run, 0.93)
    catalog = open_catalog(product_photos.folder)
    build(open_embedder(run, device="cpu", precision="32"), catalog, tmp_path / "index")
    with open_index(tmp_path / "index", device="cpu") as index:
        index.use(open_embedder(run, device="cpu", precision="int8"))
        assert any("int8) embeds into" in line and "93.0" in line for line in said)
        (query,) = index.embedder().embed([catalog.refs()[7]])
        assert query.vector is not None
        (hits,) = index.query(query.vector[None], limit=1)
        assert hits[0].score > 0.9
        _with_recall(run, 0.2)
        with pytest.raises(EmbeddingError, match="find too little"):
            index.use(open_embedder(run, device="cpu", precision="int8"))


def test_what_is_said_of_one_space_and_refused_in_it() -> None:
    from tests.search.vectors import space

    ours, other = space("a"), space("b")
    assert check_same_space(ours, ours, where="x") is None
    good = EmbedsInto(space=ours.fingerprint, recall=0.97, num_queries=300)
    assert check_same_space(ours, ours, where="x", embeds_into=(good,)) == good
    low = good.model_copy(update={"recall": 0.5})
    with pytest.raises(EmbeddingError, match=r"recall@10 50\.0.% on 300 images"):
        check_same_space(ours, ours, where="x", embeds_into=(low,))
    # A student's own measure is its maker's choice.
    assert check_same_space(other, ours, where="x", embeds_into=(low,)) == low


def test_an_engine_of_torch_declares_nothing(exported: Path) -> None:
    engine = load(exported, engine="torch", precision="32").engine
    from shopsight.inference.exported_engines import rounding_of

    bundle = read_bundle(exported / "model")
    assert rounding_of(bundle.folder, bundle.info, engine) is None
