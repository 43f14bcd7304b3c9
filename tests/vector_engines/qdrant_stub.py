"""A small Qdrant server on this machine: the REST calls that shopsight makes, answered for real.

Filters arrive as JSON, as a server gets them, and are evaluated here by what Qdrant's documentation
says of each condition; nearest points come from exact search. It holds nothing on disk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

Json = Any


@dataclass
class Collection:
    """Points by id, and what the collection was made with."""

    made_with: Json
    indexed: dict[str, str] = field(default_factory=dict)
    points: dict[str, Json] = field(default_factory=dict)


@dataclass
class Stub:
    """A server, and how it behaves.

    Attributes:
        url: its address.
        collections: by name.
        asked: method, path and query of each request.
        headers: of the last request.
        delay_s: how long it waits before each answer.
        key: that it asks for.
        failing: HTTP status that it answers everything with.
    """

    url: str = ""
    collections: dict[str, Collection] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    key: str | None = None
    failing: int | None = None

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        """HTTP status and result of a request."""
        time.sleep(self.delay_s)
        if self.key is not None and self.headers.get("api-key") != self.key:
            return 401, "Must provide an API key or an Authorization bearer token"
        if self.failing is not None:
            return self.failing, "disk full: http://me:secret@storage/\nand a second line"
        parts = [unquote(part) for part in path.strip("/").split("/")]
        name, what = parts[1], "/".join(parts[2:])
        if (method, what) == ("GET", "exists"):
            return 200, {"exists": name in self.collections}
        if (method, what) == ("DELETE", ""):
            return 200, self.collections.pop(name, None) is not None
        if (method, what) == ("PUT", ""):
            self.collections[name] = Collection(body)
            return 200, True
        if name not in self.collections:
            return 404, f"Not found: Collection `{name}` doesn't exist!"
        return 200, _ROUTES[method, what](self.collections[name], body)


def _info(collection: Collection, _: Json) -> Json:
    made = collection.made_with
    return {
        "status": "green",
        "optimizer_status": "ok",
        "points_count": len(collection.points),
        "indexed_vectors_count": len(collection.points),
        "segments_count": 1,
        "payload_schema": {},
        "config": {
            "params": {"vectors": made["vectors"]},
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "flush_interval_sec": 5,
            },
        },
    }


def _index_column(collection: Collection, body: Json) -> Json:
    collection.indexed[body["field_name"]] = body["field_schema"]
    return _DONE


def _upsert(collection: Collection, body: Json) -> Json:
    for point in body["points"]:
        collection.points[point["id"]] = point
    return _DONE


def _delete(collection: Collection, body: Json) -> Json:
    for point in body["points"]:
        collection.points.pop(point, None)
    return _DONE


def _count(collection: Collection, body: Json) -> Json:
    return {"count": len(_passing(collection, body.get("filter")))}


def _scroll(collection: Collection, body: Json) -> Json:
    ids = sorted(collection.points)
    start = ids.index(body["offset"]) if body.get("offset") else 0
    page = ids[start : start + body["limit"]]
    following = ids[start + body["limit"] : start + body["limit"] + 1]
    records = [collection.points[one] for one in page]
    return {"points": records, "next_page_offset": following[0] if following else None}


def _query_batch(collection: Collection, body: Json) -> Json:
    return [{"points": _query(collection, one)} for one in body["searches"]]


def _query(collection: Collection, body: Json) -> Json:
    using, query = body["using"], np.array(body["query"]["nearest"], np.float32)
    points = [p for p in _passing(collection, body.get("filter")) if using in p["vector"]]
    if not points:
        return []
    scores = np.array([p["vector"][using] for p in points], np.float32) @ query
    best = np.argsort(-scores, kind="stable")[: body["limit"]]
    return [
        {
            "id": points[at]["id"],
            "version": 0,
            "score": float(scores[at]),
            "payload": points[at]["payload"],
        }
        for at in best
    ]


_DONE = {"operation_id": 0, "status": "completed"}
_ROUTES: dict[tuple[str, str], Callable[[Collection, Json], Json]] = {
    ("GET", ""): _info,
    ("PUT", "index"): _index_column,
    ("PUT", "points"): _upsert,
    ("POST", "points/delete"): _delete,
    ("POST", "points/count"): _count,
    ("POST", "points/scroll"): _scroll,
    ("POST", "points/query/batch"): _query_batch,
}


def _passing(collection: Collection, condition: Json) -> list[Json]:
    points = list(collection.points.values())
    return points if condition is None else [p for p in points if holds(condition, p)]


def holds(condition: Json, point: Mapping[str, Any]) -> bool:
    """Whether a condition of Qdrant's JSON is true of a point."""
    if "key" in condition:
        return _field_holds(condition, point["payload"].get(condition["key"]))
    if "is_empty" in condition:
        return point["payload"].get(condition["is_empty"]["key"]) in (None, [])
    if "has_id" in condition:
        return point["id"] in condition["has_id"]
    should = condition.get("should") or []
    return (
        all(holds(one, point) for one in condition.get("must") or [])
        and (not should or any(holds(one, point) for one in should))
        and not any(holds(one, point) for one in condition.get("must_not") or [])
    )


def _field_holds(condition: Json, cell: Any) -> bool:
    """A list matches where one of its values does; a missing value matches nothing."""
    values = cell if isinstance(cell, list) else [] if cell is None else [cell]
    if "match" in condition:
        match = condition["match"]
        if "any" in match:
            return any(value in match["any"] for value in values)
        return any(value not in match["except"] for value in values)
    ends = {name: end for name, end in condition["range"].items() if end is not None}
    return any(all(_ENDS[name](value, end) for name, end in ends.items()) for value in values)


_ENDS: dict[str, Callable[[float, float], bool]] = {
    "lt": lambda value, end: value < end,
    "lte": lambda value, end: value <= end,
    "gt": lambda value, end: value > end,
    "gte": lambda value, end: value >= end,
}


@contextmanager
def qdrant_stub() -> Iterator[Stub]:
    """Serve until the block ends."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            stub.asked.append(f"{self.command} {self.path}")
            stub.headers = {name.lower(): value for name, value in self.headers.items()}
            status, result = stub.answer(self.command, parts.path, body)
            said = {"status": "ok", "result": result, "time": 0.0}
            if status != 200:
                said = {"status": {"error": result}, "time": 0.0}
            content = json.dumps(said).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except ConnectionError:
                pass  # The client had waited long enough.

        do_GET = do_PUT = do_POST = do_DELETE = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    stub.url = f"http://127.0.0.1:{listening.server_port}"
    thread = Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield stub
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
