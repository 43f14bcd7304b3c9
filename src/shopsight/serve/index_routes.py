"""The routes of the index: search, thumbnails, and changes of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shopsight.serve.answers import ChangeAnswer, ItemsAnswer
from shopsight.serve.index_changes import check_readable, parse_rows
from shopsight.serve.search_body import SearchWords, search_body
from shopsight.serve.served_index import unit_vector
from shopsight.serve.service import Service

THUMBNAIL_SECONDS = 3600
_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {"file": _BINARY, **SearchWords.model_json_schema()["properties"]},
}
SEARCH: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "application/json": {"schema": SearchWords.model_json_schema()},
            "image/jpeg": {"schema": _BINARY},
        },
    }
}
_ROWS_FORM = {
    "type": "object",
    "properties": {"rows": {"type": "string"}, "file": {"type": "array", "items": _BINARY}},
    "required": ["rows", "file"],
}
ROWS: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _ROWS_FORM}}}
}


def add_index(app: FastAPI, service: Service) -> None:
    """The routes; without an index each says so."""

    @app.post("/v1/search", response_model=ItemsAnswer, openapi_extra=SEARCH)
    async def search(request: Request) -> Response:
        """Find the items nearest to an image, to words, or to both."""
        index = service.searched()
        asked = search_body(
            *await service.body(request), dict(request.query_params), service.limits
        )
        vector = None
        if asked.image is not None:
            computed = await service.compute_images(request, (asked.image,))
            check_readable(0, computed.images[0].error)
            vector = unit_vector(computed.outputs[0][0])
        words = asked.words
        items = await service.searching.run(
            lambda: index.search(vector, words.text, top=words.top, where=words.where, by=words.by)
        )
        return JSONResponse({"items": items})

    @app.get("/v1/items/{item:path}/thumbnail")
    async def thumbnail(item: str) -> Response:
        """A JPEG of an item, 256 pixels on its longer side."""
        index = service.searched()
        data = await service.searching.run(lambda: index.thumbnail(item))
        headers = {"Cache-Control": f"private, max-age={THUMBNAIL_SECONDS}"}
        return Response(data, media_type="image/jpeg", headers=headers)

    @app.post("/v1/index", response_model=ChangeAnswer, openapi_extra=ROWS)
    async def add(request: Request) -> Response:
        """Put items into the index: a field `rows`, a JSON list, and a file for each row."""
        index = service.searched()
        body = await service.read(request)
        rows = parse_rows(body.fields.get("rows"), len(body.images))
        # Decoded by the pool, so that what cannot be read is known before anything is written.
        computed = await service.compute_images(request, body.images)
        for number, image in enumerate(computed.images):
            check_readable(number, image.error)
        done = await service.changing.run(lambda: index.add(rows, body.images))
        return JSONResponse(done)

    @app.delete("/v1/index", response_model=ChangeAnswer)
    async def remove(
        ids: Annotated[list[str], Query(alias="id", description="Items or products.")],
    ) -> Response:
        """Take items, or all items of products, out of the index."""
        index = service.searched()
        return JSONResponse(await service.changing.run(lambda: index.remove(ids)))
