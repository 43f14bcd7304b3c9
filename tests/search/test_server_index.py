"""An index whose engine is on a server: here the stub, which answers the calls that are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.commands.index import build_index
from shopsight.datasets.open import open_catalog
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import ConfigError
from shopsight.inference.open_embedder import DEFAULT_MODEL, open_embedder
from shopsight.search.build import build
from shopsight.search.index import open_index
from shopsight.search.index_folder import IndexFolder
from shopsight.search.maintain import compact
from shopsight.search.snapshot import snapshot
from shopsight.vector_engines.filters import Compare
from tests.helpers import make_products
from tests.search.vectors import SeededEmbedder
from tests.vector_engines.qdrant_stub import qdrant_stub

pytest.importorskip("qdrant_client")
pytestmark = pytest.mark.enable_socket  # the stub server is on this machine


def test_an_index_on_a_server_is_searched_and_forgets(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "shop", per_class=2, classes=("dress", "shoe"))
    embedder = open_embedder(DEFAULT_MODEL, device="cpu", precision="32")
    with qdrant_stub() as stub:
        build(embedder, open_catalog(photos.table), tmp_path / "index", url=stub.url)
        (first,) = stub.collections
        with open_index(tmp_path / "index", device="cpu") as index:
            ids = index.items()["id"].to_list()
            vectors = index.vectors(ids)
            found = index.query(vectors, limit=1)
            assert [hits[0].id for hits in found] == ids
            shoes = index.query(vectors[:1], limit=9, where=Compare("label", "==", "shoe"))
            assert {hit.columns["label"] for hit in shoes[0]} == {"shoe"}
            index.generation.delete(ids[:1])
            compact(index)
            assert len(index) == len(ids) - 1
        (second,) = stub.collections
        assert second != first
        kept = [point["payload"]["_id"] for point in stub.collections[second].points.values()]
        assert sorted(kept) == ids[1:]


def test_parts_of_a_collection_and_candidates_are_kept_over_generations(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "shop", per_class=2, classes=("dress", "shoe"))
    out = tmp_path / "index"
    with qdrant_stub() as stub:
        build_index(
            SeededEmbedder(), photos.table, out=out, url=stub.url, ef=200, shards=10, replicas=2
        )
        with open_index(out) as index:
            compact(index)
            assert index.info.settings().ef == 200
        (made,) = (one.made_with for one in stub.collections.values())
    assert (made["shard_number"], made["replication_factor"]) == (10, 2)


@pytest.mark.parametrize("name", ["shards", "replicas"])
def test_an_engine_in_process_has_no_parts(tmp_path: Path, name: str) -> None:
    given = {name: 2}
    with pytest.raises(ConfigError, match=f"--{name} would change nothing"):
        build_index(SeededEmbedder(), tmp_path, out=tmp_path / "index", **given)
    assert not (tmp_path / "index").exists()


def test_what_a_killed_swap_left_on_a_server_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the pointer and the old collection; collections of others stay."""
    photos = draw_catalog(tmp_path / "photos", products_per_class=1)
    with qdrant_stub() as stub:
        build(SeededEmbedder(), photos, tmp_path / "index", url=stub.url)
        (first,) = stub.collections
        others = {"photos", first.replace("0", "1"), f"{first}-mine"}
        for name in others:
            stub.collections[name] = stub.collections[first]
        assert snapshot(tmp_path / "index", tmp_path / "copy") == len(photos)
        with open_index(tmp_path / "copy") as copy:
            assert len(copy.query(copy.vectors(), limit=1)) == len(photos)
        (copied,) = stub.collections.keys() - others - {first}

        def killed(self: IndexFolder, *, current: int) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, open_index(tmp_path / "index") as index:
            patch.setattr(IndexFolder, "sweep", killed)
            with pytest.raises(KeyboardInterrupt):
                compact(index)
        (second,) = stub.collections.keys() - others - {first, copied}
        # While the server does not answer, the folder here remembers what is to be removed.
        stub.failing = 500
        with open_index(tmp_path / "index") as index:
            assert index.number == 2
        stub.failing = None
        assert first in stub.collections
        with open_index(tmp_path / "index") as index:
            assert len(index.query(index.vectors(), limit=1)) == len(photos)
        assert stub.collections.keys() == others | {second, copied}
        assert [one.name for one in (tmp_path / "index" / "generations").iterdir()] == ["000002"]
