"""Which engine an index has: Qdrant Edge in process, or a Qdrant server by its address."""

from __future__ import annotations

from pathlib import Path

from shopsight.vector_engines.engine import EngineSettings, VectorEngine


def create_engine(
    folder: Path, settings: EngineSettings, *, url: str | None, collection: str
) -> VectorEngine:
    """Make a new, empty engine.

    Args:
        folder: for an engine in process.
        settings: what it is made with.
        url: of a server; None is in process.
        collection: its name on the server; one of that name is replaced.

    Raises:
        SearchError: the server cannot be reached or refuses.
        ExtraMissingError: the extra `search` is not installed.
    """
    if url is not None:
        from shopsight.vector_engines.qdrant_engine import create_qdrant

        return create_qdrant(url, collection, settings)
    from shopsight.vector_engines.edge_engine import create_edge

    return create_edge(folder, settings)


def open_engine(
    folder: Path, settings: EngineSettings, *, url: str | None, collection: str
) -> VectorEngine:
    """Open an engine that is there; the arguments are those of `create_engine`.

    Raises:
        SearchError: it is not there, is damaged, or the server cannot be reached.
        ExtraMissingError: the extra `search` is not installed.
    """
    if url is not None:
        from shopsight.vector_engines.qdrant_engine import open_qdrant

        return open_qdrant(url, collection, settings)
    from shopsight.vector_engines.edge_engine import open_edge

    return open_edge(folder)


def drop_engine(*, url: str | None, collection: str) -> None:
    """Remove the collection of a replaced generation from its server: what was deleted is in it.

    An engine in process has its files in the generation's folder, which is removed.

    Raises:
        SearchError: the server cannot be reached or refuses.
    """
    if url is not None:
        from shopsight.vector_engines.qdrant_engine import drop_qdrant

        drop_qdrant(url, collection)


def checked_url(url: str) -> str:
    """The address of a server, as an index keeps it; the server has answered.

    Before hours of embedding: an engine is filled at the end.

    Raises:
        SearchError: it is no address of a server, has a password in it, or nothing answers there.
        ExtraMissingError: the extra `search` is not installed.
    """
    from shopsight.vector_engines.qdrant_server import QdrantServer, plain_url

    server = QdrantServer(plain_url(url))
    server.call(lambda client: client.collection_exists("shopsight"))
    server.close()
    return server.url
