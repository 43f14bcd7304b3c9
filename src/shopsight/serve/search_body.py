"""What a search asks for: from a form, from JSON, or from the bytes of an image."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shopsight.search.query_terms import MOST_CHARACTERS
from shopsight.serve.image_bodies import image_body
from shopsight.serve.limits import Limits
from shopsight.serve.refusals import RefusedError

JSON_TYPE = "application/json"
MOST_RESULTS = 200


class SearchWords(BaseModel):
    """A search but for its image.

    Attributes:
        text: words to look for; beside an image both are one query.
        top: results.
        where: a filter, see docs/where.md.
        by: "product" or "image"; None is the product where the index has any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(default=None, max_length=MOST_CHARACTERS)
    top: int = Field(default=10, ge=1, le=MOST_RESULTS)
    where: str | None = Field(default=None, max_length=MOST_CHARACTERS)
    by: str | None = Field(default=None, pattern="^(product|image)$")


@dataclass(frozen=True)
class SearchBody:
    """A search.

    Attributes:
        words: everything but the image.
        image: the bytes of the image to look for; None looks for words alone.
    """

    words: SearchWords
    image: bytes | None


def search_body(
    body: bytes, content_type: str, query: Mapping[str, str], limits: Limits
) -> SearchBody:
    """Read a search; what the address says counts for what the body leaves out.

    Raises:
        RefusedError: It asks for nothing, for two images, or for what there is not.
    """
    image, given = None, dict[str, Any](query)
    if content_type.partition(";")[0].strip().lower() == JSON_TYPE:
        given |= _object(body)
    else:
        form = image_body(body, content_type, limits)
        if len(form.images) > 1:
            raise RefusedError(422, "two images", fix="one search for each image")
        image = form.images[0] if form.images else None
        given |= {name: value for name, value in form.fields.items() if value.strip()}
    words = _words(given)
    if image is None and not (words.text and words.text.strip()):
        raise RefusedError(400, "nothing to look for", fix="send a field file, or a field text")
    return SearchBody(words, image)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is no JSON", fix='{"text": "red dress"}') from None
    if not isinstance(found, dict):
        raise RefusedError(400, "the body is no JSON object", fix='{"text": "red dress"}')
    return found


def _words(given: Mapping[str, Any]) -> SearchWords:
    try:
        return SearchWords.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise RefusedError(
            422, f"{name}: {first['msg']}", fix="text, top, where, by (product or image)"
        ) from None
