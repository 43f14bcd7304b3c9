"""The page /docs: the routes as /openapi.json describes them, without a script or another host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; font-size: 1.1rem }
code, pre { font-family: ui-monospace, monospace }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: .3rem }
table { border-collapse: collapse }
th, td { padding: .2rem 1rem .2rem 0; text-align: left; vertical-align: top }
"""
_EXAMPLES = {
    "/v1/predict": "curl -F file=@shoe.jpg 'http://HOST:PORT/v1/predict?top=3'",
    "/v1/embed": "curl -H 'Content-Type: image/jpeg' --data-binary @shoe.jpg "
    "http://HOST:PORT/v1/embed",
    "/v1/search": "curl -F file=@shoe.jpg -F \"where=label == 'shoe'\" http://HOST:PORT/v1/search",
    "/v1/index": "curl -H 'Authorization: Bearer KEY' -F 'rows=[{\"id\": \"sku-1\"}]' "
    "-F file=@shoe.jpg http://HOST:PORT/v1/index",
}


def add_docs(app: FastAPI) -> None:
    """Serve the page."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": _POLICY})


def docs_page(schema: Mapping[str, Any]) -> str:
    """The page of an OpenAPI schema."""
    title = Markup("<h1>{}</h1><p>{}</p>").format(
        f"{schema['info']['title']} {schema['info']['version']}", schema["info"]["description"]
    )
    sections = Markup("").join(
        _section(path, method, route)
        for path, methods in schema["paths"].items()
        for method, route in methods.items()
    )
    head = Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>shopsight: routes</title>'
        "<style>{}</style>"
    ).format(Markup(_STYLE))
    schema_link = Markup('<p>For programs: <a href="/openapi.json">/openapi.json</a></p>')
    return str(head + title + schema_link + sections)


def _section(path: str, method: str, route: Mapping[str, Any]) -> Markup:
    parts = [
        Markup("<h2><code>{} {}</code></h2><p>{}</p>").format(
            method.upper(), path, route.get("description", "")
        )
    ]
    rows = Markup("").join(
        Markup("<tr><td><code>{}</code><td>{}").format(name, about)
        for name, about in _inputs(route)
    )
    if rows:
        parts.append(Markup("<table>{}</table>").format(rows))
    if method == "post" and path in _EXAMPLES:
        parts.append(Markup("<pre>{}</pre>").format(escape(_EXAMPLES[path])))
    return Markup("").join(parts)


def _inputs(route: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in route.get("parameters", ()):
        default = one.get("schema", {}).get("default")
        about = str(one.get("description", ""))
        yield one["name"], about if default is None else f"{about} Default: {default}."
    for kind, content in route.get("requestBody", {}).get("content", {}).items():
        yield kind, ", ".join(content.get("schema", {}).get("properties", ())) or "the image"
