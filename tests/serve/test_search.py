"""Search and changes of an index over HTTP."""

from __future__ import annotations

import io
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from typer.testing import CliRunner

from shopsight import api
from shopsight.cli.app import app
from shopsight.datasets.synthetic import draw_product
from shopsight.errors import EmbeddingError, LockedError, SearchError
from tests.helpers import ProductPhotos
from tests.serve.service import WRITE, Answer, Service, form

pytestmark = pytest.mark.enable_socket  # the service is on this machine


def _search(service: Service, *fields: tuple[str, bytes | str]) -> Answer:
    body, kind = form(fields)
    return service.post_image("/v1/search", body, kind)


def _change(service: Service, rows: object, files: list[bytes], key: str = WRITE) -> Answer:
    body, kind = form([("rows", json.dumps(rows)), *(("file", data) for data in files)])
    headers = {"Content-Type": kind, "Authorization": f"Bearer {key}"}
    return service.ask("POST", "/v1/index", body, headers)


def _remove(service: Service, *ids: str) -> Answer:
    query = "&".join(f"id={quote(one, safe='')}" for one in ids)
    headers = {"Authorization": f"Bearer {WRITE}"}
    return service.ask("DELETE", f"/v1/index?{query}", headers=headers)


def _jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(draw_product("hat", number=number, view=0, seed=9)).save(file, "JPEG")
    return file.getvalue()


def test_an_image_finds_itself(searched: Service, product_photos: ProductPhotos) -> None:
    path = sorted(product_photos.folder.rglob("*.jpg"))[3]
    answer = _search(searched, ("file", path.read_bytes()), ("top", "200"), ("by", "image"))
    assert answer.status == 200, answer.body
    items = answer.json()["items"]
    assert len(items) == product_photos.count
    # A net that learned for an epoch sees much alike: the scores of the first ones are equal.
    (own,) = [one for one in items if one["id"] == f"{path.parent.name}/{path.name}"]
    assert own["score"] > max(0.999, items[0]["score"] - 0.001)
    assert own["columns"]["label"] == path.parent.name
    thumbnail = searched.get(items[0]["image"])
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(thumbnail.body)).size) <= 256


def test_answers_are_those_of_the_library(searched: Service, product_photos: ProductPhotos) -> None:
    data = sorted(product_photos.folder.rglob("*.jpg"))[0].read_bytes()
    items = _search(searched, ("file", data), ("where", "label == 'hat'")).json()["items"]
    assert {item["columns"]["label"] for item in items} == {"hat"}
    products = [item["product"] for item in items]
    assert len(set(products)) == len(products)
    by_query = searched.post_image("/v1/search?top=2&by=image", data).json()["items"]
    assert len(by_query) == 2


def test_words_find_items(searched: Service) -> None:
    """By the extra `words`: the net has no text encoder."""
    body = json.dumps({"text": "a hat", "top": 3}).encode()
    answer = searched.post_image("/v1/search", body, "application/json")
    assert answer.status == 200, answer.body
    assert len(answer.json()["items"]) == 3
    assert searched.get("/v1/models").json()["index"]["by_text"] is True


@pytest.mark.parametrize(
    ("fields", "status", "what"),
    [
        ([], 400, "nothing to look for"),
        ([("text", "  ")], 400, "nothing to look for"),
        ([("text", "a hat"), ("top", "0")], 422, "top"),
        ([("text", "a hat"), ("top", "many")], 422, "top"),
        ([("text", "a hat"), ("by", "shop")], 422, "by"),
        ([("text", "a hat"), ("depth", "3")], 422, "depth"),
        ([("text", "a hat"), ("where", "color == 'red'")], 422, "color"),
        ([("text", "a hat"), ("where", "label ==")], 422, ""),
        ([("file", b"no image")], 422, "this service reads"),
        ([("file", b"a"), ("file", b"b")], 422, "two images"),
    ],
)
def test_a_wrong_search_is_said(
    searched: Service, fields: list[tuple[str, bytes | str]], status: int, what: str
) -> None:
    answer = _search(searched, *fields)
    assert answer.status == status, answer.body
    assert what in answer.error()


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 100_000, b'{"text": 5}', b"\xff"])
def test_wrong_json(searched: Service, body: bytes) -> None:
    assert searched.post_image("/v1/search", body, "application/json").status in (400, 422)


def test_items_come_and_go(searched: Service, index_folder: Path) -> None:
    size = searched.get("/v1/models").json()["index"]["size"]
    rows = [
        {"id": "new/1", "product": "p-new", "label": "hat"},
        {"id": "new/2", "product": "p-new", "label": "hat"},
    ]
    done = _change(searched, rows, [_jpeg(1), _jpeg(2)]).json()
    assert (done["added"], done["changed"], done["size"]) == (2, 0, size + 2)
    again = _change(searched, rows, [_jpeg(1), _jpeg(3)]).json()
    assert (again["added"], again["changed"], again["same"]) == (0, 1, 1)
    fields = (("file", _jpeg(3)), ("top", "200"))
    (own,) = [
        one for one in _search(searched, *fields).json()["items"] if one["product"] == "p-new"
    ]
    assert own["columns"]["label"] == "hat"
    assert searched.get(own["image"]).status == 200
    # The images are kept by their content: nothing a client names is a path.
    kept = list((index_folder / "uploads").rglob("*.jpg"))
    assert len(kept) == 3
    assert _remove(searched, "p-new").json() == {"removed": 2, "size": size}
    assert searched.get("/v1/items/new%2F1/thumbnail").status == 404


@pytest.mark.parametrize(
    ("rows", "count", "what"),
    [
        ([], 0, "0 rows for 0 files"),
        ([{"id": "a"}], 2, "1 rows for 2 files"),
        ({"id": "a"}, 1, "no list of objects"),
        ([{"label": "hat"}], 1, "no id"),
        ([{"id": 7}], 1, "no id"),
        ([{"id": "a"}, {"id": "a"}], 2, "two rows have one id"),
        ([{"id": "a", "no such": 1}], 1, "keeps no column"),
        ([{"id": "a", "label": 1}, {"id": "b", "label": "x"}], 2, "of several kinds"),
    ],
)
def test_wrong_rows_change_nothing(searched: Service, rows: object, count: int, what: str) -> None:
    size = searched.get("/v1/models").json()["index"]["size"]
    answer = _change(searched, rows, [_jpeg(number) for number in range(count)])
    assert answer.status == 422, answer.body
    assert what in answer.error()
    assert searched.get("/v1/models").json()["index"]["size"] == size


def test_an_image_that_cannot_be_read_is_not_added(searched: Service) -> None:
    answer = _change(searched, [{"id": "a"}, {"id": "b"}], [_jpeg(1), b"no image"])
    assert answer.status == 422
    assert answer.error().startswith("file 1: ")


def test_who_may_change(searched: Service) -> None:
    assert _change(searched, [{"id": "a"}], [_jpeg(1)], key="another-key-of-16").status == 401
    assert searched.ask("DELETE", "/v1/index?id=a").status == 401
    assert _remove(searched, "no such id").status == 404
    assert searched.ask("GET", "/v1/index").status == 401


@pytest.mark.parametrize(
    "item", ["..%2f..%2fetc%2fpasswd", "%2Fetc%2Fpasswd", "nothing", "%00", "a/../../b"]
)
def test_names_of_items_lead_nowhere(searched: Service, item: str) -> None:
    assert searched.get(f"/v1/items/{item}/thumbnail").status == 404


def test_no_index(service: Service, photo: bytes) -> None:
    answer = service.post_files("/v1/search", [photo])
    assert (answer.status, answer.error()) == (404, "this service has no index")


def test_an_index_has_one_owner(tiny_run: Path, index_folder: Path, searched: Service) -> None:
    assert searched.get("/readyz").status == 200
    arguments = ["serve", str(tiny_run), "--port", "0", "--index"]
    held = CliRunner().invoke(app, [*arguments, str(index_folder)])
    assert isinstance(held.exception, LockedError)
    assert "shopsight index snapshot" in str(held.exception)


def test_no_such_index(tiny_run: Path, tmp_path: Path) -> None:
    arguments = ["serve", str(tiny_run), "--port", "0", "--index"]
    result = CliRunner().invoke(app, [*arguments, str(tmp_path / "nothing")])
    assert isinstance(result.exception, SearchError)


def test_index_and_model_do_not_belong_together(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    api.build_index("embedded:tf_efficientnet_lite0", product_photos.folder, out=index)
    result = CliRunner().invoke(app, ["serve", str(tiny_run), "--port", "0", "--index", str(index)])
    assert isinstance(result.exception, EmbeddingError)
    assert "shopsight index migrate" in str(result.exception)
