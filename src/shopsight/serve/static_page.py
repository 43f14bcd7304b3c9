"""The page at `/`: files of this package, which a browser may combine with nothing else."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import FastAPI
from starlette.responses import Response

from shopsight.serve.refusals import RefusedError

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""No script but the page's own, no other host, and no frame around it."""
_HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}


def add_page(app: FastAPI) -> None:
    """Serve the page and its files."""

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return _file("index.html")

    @app.get("/review", include_in_schema=False)
    async def review() -> Response:
        return _file("review.html")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        return _file(name)


def _file(name: str) -> Response:
    found = page_files().get(name)
    if found is None:
        raise RefusedError(404, "the page has no such file")
    kind, content = found
    return Response(content, media_type=kind, headers={**_HEADERS, "Cache-Control": "no-cache"})


@cache
def page_files() -> dict[str, tuple[str, bytes]]:
    """Content type and bytes of each file, by its name: nothing else can be asked for."""
    folder = files("shopsight.serve") / "page"
    return {
        one.name: (kind, one.read_bytes())
        for one in folder.iterdir()
        if (kind := _KINDS.get(f".{one.name.rpartition('.')[2]}")) is not None
    }
