"""A client of `shopsight serve`, with the standard library alone.

    from shopsight.client import Client

    with Client("http://127.0.0.1:8000") as service:
        for one in service.predict(["a.jpg", "b.jpg"]):
            print(one.predicted, one.labels[0].probability)

One connection is kept. A service that is busy is asked again when it says so. A `Client` belongs to
one thread.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import numpy as np
from jaxtyping import Float32

from shopsight.errors import ServiceError
from shopsight.io.opening import read_location

KEY_VARIABLE = "SHOPSIGHT_READ_KEY"
LONGEST_WAIT_SECONDS = 30.0
_BUSY = (429, 503)
_MOST_BYTES = 256 << 20

ImageFile = str | Path | bytes
"""A path, or the bytes of a file."""


@dataclass(frozen=True)
class LabelProbability:
    """A label and its calibrated probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class ServicePrediction:
    """What the service's model says of one image.

    Attributes:
        labels: the most probable ones, best first; empty where the image could not be read.
        predicted: the labels it gets.
        unknown: whether it is like nothing that the model knows; None where the model cannot say.
        error: why it could not be read, else None.
        reason: the error in a word.
        damaged: what is damaged in a file that decodes, else None.
    """

    labels: tuple[LabelProbability, ...]
    predicted: tuple[str, ...]
    unknown: bool | None = None
    error: str | None = None
    reason: str | None = None
    damaged: str | None = None


@dataclass(frozen=True)
class FoundItem:
    """An item of the service's index.

    Attributes:
        id: of the item.
        product: that it shows; None where the index has no products, or was searched by image.
        score: cosine; of words among images and texts a sum of ranks.
        image: path of its thumbnail at the service, where there is one.
        columns: that the index keeps.
    """

    id: str
    product: str | None
    score: float
    image: str | None
    columns: dict[str, Any] = field(default_factory=dict)


class Client:
    """Asks a service.

    Args:
        address: such as "http://127.0.0.1:8000".
        key: to read or to write; None: that of the environment, SHOPSIGHT_READ_KEY, if there is
            one.
        timeout_s: for an answer.
        retries: how often a service that is busy is asked again.

    Raises:
        ServiceError: It is no address of a service. Of every method: the service refuses, does not
            answer, or answers what is no answer; `status` is that of HTTP.
    """

    def __init__(
        self, address: str, *, key: str | None = None, timeout_s: float = 60.0, retries: int = 3
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(
                "is no address of a service", where=address, fix="http://127.0.0.1:8000"
            )
        self._address, self._prefix = address.rstrip("/"), parts.path.rstrip("/")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, _port(parts, address), timeout=timeout_s)
        self._key = os.environ.get(KEY_VARIABLE) if key is None else key
        self._retries = retries

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def models(self) -> dict[str, Any]:
        """The model that answers, the index that is searched, and the limits."""
        return self._ask("GET", "/v1/models")

    def predict(self, images: Sequence[ImageFile], *, top: int = 5) -> list[ServicePrediction]:
        """Label images, in one request."""
        found = self._post_form(f"/v1/predict?top={top}", images)
        return [_prediction(one) for one in found["predictions"]]

    def embed(self, images: Sequence[ImageFile]) -> list[Float32[np.ndarray, "w"] | None]:
        """Embeddings of images, in one request; None of one that could not be read."""
        found = self._post_form("/v1/embed", images)["embeddings"]
        vectors = [one["vector"] for one in found]
        return [None if one is None else np.array(one, np.float32) for one in vectors]

    def search(
        self,
        image: ImageFile | None = None,
        text: str | None = None,
        *,
        top: int = 10,
        where: str | None = None,
        by: str | None = None,
    ) -> list[FoundItem]:
        """The items nearest to an image, to words, or to both as one query."""
        fields = {"text": text, "top": str(top), "where": where, "by": by}
        given = {name: value for name, value in fields.items() if value is not None}
        images = [] if image is None else [image]
        found = self._post_form("/v1/search", images, given)["items"]
        return [
            FoundItem(one["id"], one.get("product"), one["score"], one["image"], one["columns"])
            for one in found
        ]

    def add(self, rows: Sequence[Mapping[str, Any]], images: Sequence[ImageFile]) -> dict[str, Any]:
        """Put items into the index: rows with an `id`, and an image for each; needs a write key."""
        return self._post_form("/v1/index", images, {"rows": json.dumps([*map(dict, rows)])})

    def remove(self, ids: Sequence[str]) -> dict[str, Any]:
        """Take items, or all items of products, out of the index; needs a write key."""
        return self._ask("DELETE", f"/v1/index?{urlencode([('id', one) for one in ids])}")

    def thumbnail(self, item: str) -> bytes:
        """A JPEG of an item."""
        return self._send("GET", f"/v1/items/{quote(item, safe='')}/thumbnail", None, {})

    def _post_form(
        self, path: str, images: Sequence[ImageFile], fields: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        boundary = uuid.uuid4().hex
        body = _form(boundary, [_bytes_of(one) for one in images], fields or {})
        kind = f"multipart/form-data; boundary={boundary}"
        return self._ask("POST", path, body, {"Content-Type": kind})

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        data = self._send(method, path, body, headers or {})
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ServiceError(
                "the answer is no JSON: no shopsight serves there", where=self._address
            )
        return found

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> bytes:
        """The body of an answer; a busy service is asked again when it says so."""
        for left in range(self._retries, -1, -1):
            status, answered, data = self._exchange(method, path, body, headers)
            if status < 400:
                return data
            if status not in _BUSY or not left:
                break
            wait = answered.get("Retry-After", "1")
            time.sleep(min(float(wait) if wait.isdigit() else 1.0, LONGEST_WAIT_SECONDS))
        raise self._refusal(status, data)

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        keys = {} if self._key is None else {"Authorization": b"Bearer " + self._key.encode()}
        # A service closes connections that are idle: then a new one is made, once.
        was_open = self._connection.sock is not None
        for may_retry in (was_open, False):
            try:
                self._connection.request(
                    method,
                    self._prefix + path,
                    body,
                    {**headers, **keys},
                )
                answer = self._connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if not may_retry or isinstance(error, TimeoutError):
                    raise self._unreachable(error) from error
        raise AssertionError("unreachable")

    def _unreachable(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"the service does not answer: {getattr(error, 'strerror', None) or error!r}",
            where=self._address,
            fix="shopsight serve MODEL",
        )

    def _refusal(self, status: int, data: bytes) -> ServiceError:
        what, fix = f"refused with status {status}", None
        try:
            error = json.loads(data)["error"]
            what, fix = str(error["what"]), error["fix"] and str(error["fix"])
        except (ValueError, KeyError, TypeError):
            pass
        return ServiceError(what, status=status, where=self._address, fix=fix)


def _port(parts: Any, address: str) -> int | None:
    try:
        port: int | None = parts.port
    except ValueError as error:
        raise ServiceError("is no address of a service", where=address) from error
    return port


def _bytes_of(image: ImageFile) -> bytes:
    if isinstance(image, bytes):
        return image
    return read_location(str(image), most_bytes=_MOST_BYTES)


def _form(boundary: str, images: Sequence[bytes], fields: Mapping[str, str]) -> bytes:
    """A form; files have no names in it, which the service would not look at."""
    parts = list[bytes]()
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts += [head.encode(), value.encode(), b"\r\n"]
    for image in images:
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        parts += [head.encode(), image, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _prediction(one: Mapping[str, Any]) -> ServicePrediction:
    error = one["error"] or {}
    return ServicePrediction(
        labels=tuple(
            LabelProbability(each["label"], each["probability"]) for each in one["labels"]
        ),
        predicted=tuple(one["predicted"]),
        unknown=one["unknown"],
        error=error.get("what"),
        reason=error.get("reason"),
        damaged=one["damaged"],
    )
