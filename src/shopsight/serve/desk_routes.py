"""The routes of the review desk; all of them need the write key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shopsight.desk.queues import MOST_SCREEN, SCREEN_IMAGES, Queue
from shopsight.desk.retraining import DeskRecipe
from shopsight.errors import ConfigError, ExtraMissingError, WriteError
from shopsight.serve.refusals import RefusedError, of_error
from shopsight.serve.service import Service

DECISION_BYTES = 1_000_000
LISTED_LABELS = 5_000
_Name = Annotated[str, Field(max_length=4096)]
_Label = Annotated[str, Field(max_length=300)]
_Reviewer = Annotated[str, Field(max_length=100)]
Made = TypeVar("Made")
Body = TypeVar("Body", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Decided(_Strict):
    """What was decided about the images of a screen, by their ids."""

    label: _Label = ""
    accepted: tuple[_Name, ...] = Field(default=(), max_length=MOST_SCREEN)
    declined: tuple[_Name, ...] = Field(default=(), max_length=MOST_SCREEN)
    dropped: tuple[_Name, ...] = Field(default=(), max_length=MOST_SCREEN)
    reviewer: _Reviewer = ""


class Undone(_Strict):
    """Who takes back a decision of their own."""

    reviewer: _Reviewer = ""


class Blind(_Strict):
    """A label that was given without a suggestion."""

    id: _Name
    label: _Label
    reviewer: _Reviewer = ""


class Wanted(_Strict):
    """A training with the labels as they are now."""

    recipe: DeskRecipe = "fast"


def add_desk(app: FastAPI, service: Service) -> None:
    """The routes of the desk that a service has."""
    desk, retraining = service.desk, service.retraining
    assert desk is not None
    assert retraining is not None

    async def work(function: Callable[[], Made]) -> Made:
        try:
            return await service.reviewing.run(function)
        except (ConfigError, ExtraMissingError) as error:
            raise of_error(422, error) from error
        except WriteError as error:
            raise RefusedError(507, f"not decided: {error.what}", fix=error.fix) from error

    def state() -> dict[str, Any]:
        labels = desk.known_labels()
        return {"counts": desk.counts(), "score": desk.score(), "labels": labels[:LISTED_LABELS]}

    @app.get("/v1/review/state", include_in_schema=False)
    async def counts() -> Response:
        return JSONResponse(await work(state))

    @app.get("/v1/review/screen", include_in_schema=False)
    async def screen(
        queue: Queue,
        most: Annotated[int, Query(ge=1, le=MOST_SCREEN)] = SCREEN_IMAGES,
        skip: Annotated[list[str] | None, Query(max_length=200)] = None,
    ) -> Response:
        def made() -> dict[str, Any]:
            found = desk.screen(queue, most=most, skip=skip or ())
            return {"queue": queue, "label": found.label, "images": desk.shown(found)}

        return JSONResponse(await work(made))

    @app.post("/v1/review/decide", include_in_schema=False)
    async def decide(request: Request) -> Response:
        given = await _body(request, service, Decided)
        await work(
            lambda: desk.decide(
                given.label,
                accepted=given.accepted,
                declined=given.declined,
                dropped=given.dropped,
                reviewer=given.reviewer,
            )
        )
        return JSONResponse(await work(state))

    @app.post("/v1/review/undo", include_in_schema=False)
    async def undo(request: Request) -> Response:
        given = await _body(request, service, Undone)
        undone = await work(lambda: desk.undo(reviewer=given.reviewer))
        return JSONResponse({**await work(state), "undone": undone is not None})

    @app.get("/v1/review/blind", include_in_schema=False)
    async def blind() -> Response:
        def made() -> dict[str, Any]:
            row = desk.blind_row()
            if row is None:
                return {"image": None}
            return {"image": desk.thumbnail(row)}

        return JSONResponse(await work(made))

    @app.post("/v1/review/blind", include_in_schema=False)
    async def decide_blind(request: Request) -> Response:
        given = await _body(request, service, Blind)
        await work(lambda: desk.decide_blind(given.id, given.label, reviewer=given.reviewer))
        return JSONResponse(await work(state))

    @app.get("/v1/review/training", include_in_schema=False)
    async def training() -> Response:
        return JSONResponse(await work(retraining.state))

    @app.post("/v1/review/training", include_in_schema=False)
    async def train(request: Request) -> Response:
        given = await _body(request, service, Wanted)
        await work(lambda: retraining.start(given.recipe))
        return JSONResponse(await work(retraining.state))

    @app.get("/v1/review/decisions.csv", include_in_schema=False)
    async def decisions() -> Response:
        content = await work(lambda: desk.write_decisions().read_bytes())
        name = "attachment; filename=decisions.csv"
        return Response(content, media_type="text/csv", headers={"Content-Disposition": name})


async def _body(request: Request, service: Service, kind: type[Body]) -> Body:
    """The JSON of a request.

    Raises:
        RefusedError: It is too large, or not as it should be.
    """
    content, _ = await service.body(request)
    if len(content) > DECISION_BYTES:
        raise RefusedError(413, f"a decision has at most {DECISION_BYTES:,} bytes")
    try:
        return kind.model_validate_json(content)
    except ValueError as error:
        raise RefusedError(422, "is no decision of a screen", fix="load the page anew") from error
