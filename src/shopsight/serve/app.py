"""The routes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from shopsight.errors import ShopsightError
from shopsight.serve.answers import (
    EmbeddingsAnswer,
    ErrorAnswer,
    PredictionsAnswer,
    StateAnswer,
    embeddings_json,
    predictions_json,
)
from shopsight.serve.docs_page import add_docs
from shopsight.serve.guard import CLIENT_LEFT, Guard, internal_error
from shopsight.serve.heat_maps import MOST_MAPS
from shopsight.serve.index_routes import add_index
from shopsight.serve.refusals import ClientLeftError, RefusedError, error_response
from shopsight.serve.service import Service
from shopsight.serve.static_page import add_page

MOST_TOP = 100
Top = Annotated[int, Query(ge=1, le=MOST_TOP, description="How many labels each image gets.")]
Explain = Annotated[bool, Query(description="With a map of where the network looked.")]
_BINARY = {"type": "string", "format": "binary"}
_FORM = {
    "type": "object",
    "properties": {"file": {"type": "array", "items": _BINARY}},
    "required": ["file"],
}
IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _FORM},
            "image/jpeg": {"schema": _BINARY},
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer}
    for status in (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)
}


def create_app(service: Service) -> ASGIApp:
    """The service as an ASGI application."""
    from shopsight import __version__

    app = FastAPI(
        title="shopsight",
        version=__version__,
        description="Labels, embeddings and search for product photos.",
        docs_url=None,
        redoc_url=None,
        responses=REFUSALS,
    )
    _handle_errors(app)
    _add_state(app, service)
    _add_model(app, service)
    add_index(app, service)
    add_docs(app)
    add_page(app)
    if service.desk is not None:
        # Only here is needed what trains: a service alone does without.
        from shopsight.serve.desk_routes import add_desk

        add_desk(app, service)
    if service.hosts.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(service.hosts.origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )
    return Guard(app, service)


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return error.response()

    @app.exception_handler(ShopsightError)
    async def mistake(_: Request, error: ShopsightError) -> Response:
        # Its next step is a command of this machine, with paths.
        return error_response(422, error.what)

    @app.exception_handler(ClientLeftError)
    async def left(_: Request, __: ClientLeftError) -> Response:
        return Response(status_code=CLIENT_LEFT)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:])
        return error_response(422, f"{name}: {first['msg']}", fix="see /docs")

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        return error_response(error.status_code, error.detail, fix="see /docs")

    @app.exception_handler(Exception)
    async def bug(_: Request, __: Exception) -> Response:
        return internal_error()


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_model=StateAnswer)
    async def healthz() -> Response:
        """Whether the process lives: restart it where this does not answer."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", response_model=StateAnswer)
    async def readyz() -> Response:
        """Whether to send requests here: 503 while it stops."""
        if service.draining:
            return error_response(503, "the service is about to stop", fix="ask another one")
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type=service.metrics.content_type)

    @app.get("/v1/models")
    async def models() -> Response:
        """The model that answers, the index that is searched, and the limits."""
        index = None if service.index is None else service.index.to_json()
        limits = service.limits.to_json()
        return JSONResponse({"model": service.model.to_json(), "index": index, "limits": limits})

    @app.post("/v1/reload")
    async def reload() -> Response:
        """Load the model's folder anew, check it and let it answer; needs the write key."""
        model = await service.reload()
        return JSONResponse({"model": model.to_json()})


def _add_model(app: FastAPI, service: Service) -> None:
    @app.post("/v1/predict", response_model=PredictionsAnswer, openapi_extra=IMAGES)
    async def predict(request: Request, top: Top = 5, explain: Explain = False) -> Response:
        """Label images: a form with one or more fields `file`, or the bytes of one image."""
        computed = await service.compute(request, most=MOST_MAPS if explain else None)
        predictor = computed.model.predictor
        found = list(predictor.read_outputs(computed.images, computed.outputs, top=top))
        service.metrics.predicted(found)
        maps = await service.maps(computed, found) if explain else {}
        return JSONResponse(predictions_json(computed, found, maps))

    @app.post("/v1/embed", response_model=EmbeddingsAnswer, openapi_extra=IMAGES)
    async def embed(request: Request) -> Response:
        """Compute the embeddings of images, sent as for /v1/predict."""
        return JSONResponse(embeddings_json(await service.compute(request)))
