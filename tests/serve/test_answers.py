"""The routes answer what the library answers, and say what is wrong."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shopsight
from shopsight.inference.predictor import Predictor
from tests.helpers import ProductPhotos, edit_json
from tests.serve.service import Service, form, serving

pytestmark = pytest.mark.enable_socket  # the service is on this machine


@pytest.fixture(scope="module")
def predictor(tiny_run: Path) -> Predictor:
    return shopsight.load(tiny_run)


def test_predictions_are_those_of_the_library(
    service: Service, predictor: Predictor, product_photos: ProductPhotos
) -> None:
    files = [path.read_bytes() for path in sorted(product_photos.folder.rglob("*.jpg"))[::5]]
    answer = service.post_files("/v1/predict?top=2", files)
    assert answer.status == 200
    found = answer.json()["predictions"]
    assert [one["index"] for one in found] == list(range(len(files)))
    for one, wanted in zip(found, predictor.predict(files, top=2), strict=True):
        assert [each["label"] for each in one["labels"]] == list(wanted.labels)
        given = [each["probability"] for each in one["labels"]]
        # Batches of other sizes round differently.
        assert given == pytest.approx(wanted.probabilities, abs=0.02)
        assert one["predicted"] == list(wanted.predicted_labels)
        assert (one["error"], one["damaged"], one["unknown"], one["map"]) == (None,) * 4
    assert "secret-name" not in answer.body.decode() + "".join(service.lines)


def test_embeddings_are_those_of_the_library(
    service: Service, predictor: Predictor, photo: bytes
) -> None:
    (one,) = service.post_image("/v1/embed", photo).json()["embeddings"]
    (wanted,) = predictor.embed([photo])
    assert wanted.vector is not None
    given = np.array(one["vector"])
    cosine = given @ wanted.vector / np.linalg.norm(given) / np.linalg.norm(wanted.vector)
    assert cosine > 0.999


def test_a_model_of_boxes_refuses_uploads(tiny_run: Path, tmp_path: Path, photo: bytes) -> None:
    bundle = shutil.copytree(tiny_run / "model", tmp_path / "bundle")
    edit_json(bundle / "model.json", preprocess={"boxes": True})
    with serving(bundle) as running:
        (one,) = running.post_image("/v1/predict", photo).json()["predictions"]
        assert one["labels"] == []
        assert one["error"]["reason"] == "no box"
        assert any("each is refused" in line for line in running.lines)


def test_a_raw_body_is_an_image(service: Service, photo: bytes) -> None:
    for kind in ("image/jpeg", "application/octet-stream", "image/png; charset=x"):
        answer = service.post_image("/v1/predict", photo, kind)
        assert answer.status == 200
        (one,) = answer.json()["predictions"]
        assert len(one["labels"]) == 3
        assert one["index"] == 0


def test_one_image_that_cannot_be_read_does_not_spoil_the_others(
    service: Service, photo: bytes
) -> None:
    files = [photo, b"", b"no image at all", photo[: len(photo) // 3], photo]
    found = service.post_files("/v1/predict", files).json()["predictions"]
    reasons = [one["error"] and one["error"]["reason"] for one in found]
    assert reasons == [None, "empty", "unsupported", "truncated", None]
    assert found[0]["labels"] == found[4]["labels"]
    assert found[1]["labels"] == found[1]["predicted"] == []
    vectors = service.post_files("/v1/embed", files).json()["embeddings"]
    assert [one["vector"] is None for one in vectors] == [False, True, True, True, False]


def test_the_model_and_the_limits_are_said(
    service: Service, predictor: Predictor, tiny_run: Path
) -> None:
    found = service.get("/v1/models").json()
    model = found["model"]
    assert model["name"] == tiny_run.name
    assert model["hash"] == predictor.info.weights_sha256
    assert model["labels"] == ["dress", "hat", "shoe"]
    assert (model["num_labels"], model["multilabel"], model["by_text"]) == (3, False, False)
    assert model["engine"].startswith("torch on cpu")
    assert found["limits"]["body_bytes"] == 20_000_000
    assert "jpeg" in found["limits"]["formats"]
    assert found["index"] is None


def test_state_metrics_and_schema(service: Service, photo: bytes) -> None:
    service.post_files("/v1/predict", [photo, b"x"])
    assert service.get("/healthz").json() == {"status": "ok"}
    assert service.get("/readyz").json() == {"status": "ready"}
    metrics = service.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    text = metrics.body.decode()
    assert 'shopsight_requests_total{route="/v1/predict",status="200"}' in text
    assert "shopsight_predicted_labels_total{label=" in text
    assert 'shopsight_decode_failures_total{reason="unsupported"}' in text
    assert "shopsight_top_probability_count" in text
    assert "shopsight_waiting_images 0.0" in text
    schema = json.loads(service.get("/openapi.json").body)
    assert {"/v1/predict", "/v1/embed", "/v1/models", "/healthz"} <= schema["paths"].keys()


def test_the_page_of_routes_names_no_other_host(service: Service) -> None:
    page = service.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    text = page.body.decode()
    assert "POST /v1/predict" in text
    assert "<script" not in text
    assert set(re.findall(r"https?://([^/'\"<\s]+)", text)) <= {"HOST:PORT"}
    assert "default-src 'none'" in page.headers["content-security-policy"]


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "what"),
    [
        ("/v1/predict", b"{}", "application/json", 415, "neither a form nor an image"),
        ("/v1/predict", b"", "image/jpeg", 400, "the body is empty"),
        ("/v1/predict", b"abc", "multipart/form-data", 400, "no boundary"),
        ("/v1/predict", b"abc", "multipart/form-data; boundary=x", 400, "damaged"),
        ("/v1/predict", b"--x\r\nContent-Dis", "multipart/form-data; boundary=x", 400, "cut off"),
        ("/v1/predict?top=0", b"x", "image/jpeg", 422, "top"),
        ("/v1/predict?top=many", b"x", "image/jpeg", 422, "top"),
    ],
)
def test_a_wrong_body_is_said(
    service: Service, path: str, body: bytes, kind: str, status: int, what: str
) -> None:
    answer = service.post_image(path, body, kind)
    assert (answer.status, what in answer.error()) == (status, True), answer.body
    assert set(answer.json()["error"]) == {"what", "fix"}


def test_a_form_without_a_file(service: Service) -> None:
    body, kind = form([("text", "a red dress")])
    answer = service.post_image("/v1/predict", body, kind)
    assert (answer.status, answer.error()) == (400, "no image in the form")


def test_what_is_not_there(service: Service) -> None:
    assert service.get("/nothing").status == 404
    assert service.get("/v1/predict").status == 405
    assert service.get("/v1/../../etc/passwd").status == 404


def test_maps_are_made_when_asked_for(service: Service, photo: bytes) -> None:
    wide = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((300, 100)).save(wide, "JPEG")
    files = [photo, b"no image", wide.getvalue()]
    found = service.post_files("/v1/predict?explain=1", files).json()["predictions"]
    assert found[1]["map"] is None
    assert (found[2]["map"]["width"], found[2]["map"]["height"]) == (32, 11)
    for one in (found[0]["map"], found[2]["map"]):
        cells = np.array(one["cells"])
        assert cells.shape == (one["height"], one["width"])
        assert (cells.min() >= 0, cells.max()) == (True, 255)
    assert service.post_files("/v1/predict?explain=1", [photo] * 9).status == 413


def test_a_hundred_files(service: Service, photo: bytes) -> None:
    answer = service.post_files("/v1/predict", [photo] * 100)
    assert (answer.status, answer.error()) == (413, "more than 64 files in one request")
    assert service.post_files("/v1/predict", [photo] * 64).status == 200


def test_a_long_thin_image(service: Service) -> None:
    (one,) = service.post_image("/v1/predict", _png(1, 40_000)).json()["predictions"]
    assert one["error"] is None
    assert len(one["labels"]) == 3


def test_too_many_pixels(service: Service) -> None:
    file = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(file, "PNG")
    (one,) = service.post_image("/v1/predict", file.getvalue()).json()["predictions"]
    assert one["error"]["reason"] == "too large"
    assert "13,000 x 13,000" in one["error"]["what"]


def test_a_photo_of_a_phone_passes(service: Service) -> None:
    """48 megapixels; the decoder makes an eighth of each side of it."""
    file = io.BytesIO()
    Image.new("RGB", (8064, 6048), (10, 90, 30)).save(file, "JPEG")
    (one,) = service.post_image("/v1/predict", file.getvalue()).json()["predictions"]
    assert one["error"] is None
