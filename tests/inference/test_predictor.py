from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float32, UInt8

from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import read_bundle
from shopsight.errors import BundleError, ImageError
from shopsight.images.model_input import preprocess_image
from shopsight.inference.engine import Engine, EnginePrecision
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.models.build import build_model


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path) -> Predictor:
    return load(bundle_folder, precision="32")


def test_agrees_with_the_slow_and_obvious(
    predictor: Predictor, bundle_folder: Path, files: list[str]
) -> None:
    model = build_model(read_bundle(bundle_folder))
    for prediction, embedding in zip(
        predictor.predict(files, batch_size=7), predictor.embed(files, batch_size=7), strict=True
    ):
        pixels = preprocess_image(Path(prediction.source).read_bytes(), predictor.preprocess)
        with torch.inference_mode():
            vector = model.embed(torch.from_numpy(pixels)[None])
            expected = (model.classify(vector)[0].double() / 0.5).softmax(0)
        best = expected.argsort(descending=True)
        assert prediction.labels == tuple(predictor.labels[index] for index in best)
        assert prediction.probabilities == pytest.approx(expected[best].tolist(), abs=1e-4)
        assert prediction.predicted_labels == prediction.labels[:1]
        assert prediction.error is None
        assert embedding.vector is not None
        np.testing.assert_allclose(embedding.vector, vector[0].numpy(), atol=1e-4)


def test_order_and_count_for_any_batch_size(predictor: Predictor, files: list[str]) -> None:
    for batch_size in (1, 3, 64):
        assert [one.source for one in predictor.predict(files, batch_size=batch_size)] == files
    assert list(predictor.predict([])) == []


def test_failures_are_reported_in_place(predictor: Predictor, files: list[str]) -> None:
    mixed = [b"", files[0], b"nothing", files[1]]
    found = list(predictor.predict(mixed, top=2, batch_size=2))
    assert [one.reason for one in found] == ["empty", None, "not an image", None]
    assert found[0].error == "image 1: no bytes"
    assert found[0].labels == ()
    assert len(found[1].labels) == 2
    embedded = list(predictor.embed([b"", b""]))
    assert [one.vector for one in embedded] == [None, None]
    with pytest.raises(ImageError, match="image 3"):
        list(predictor.predict([files[0], files[0], b"x"], on_error="raise"))


def test_streams(predictor: Predictor, files: list[str]) -> None:
    endless = itertools.cycle(files)
    first = list(itertools.islice(predictor.predict(endless, batch_size=4), 10))
    assert [one.source for one in first] == files[:10]


class FixedLogits:
    """An engine of another kind: its outputs are the same for every image."""

    name = "fixed"
    precision: EnginePrecision = "32"

    def __init__(self, *logits: float) -> None:
        self.logits = np.array([logits], np.float32)

    def run(
        self, images: UInt8[np.ndarray, "b s s 3"]
    ) -> tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]:
        return np.zeros((len(images), 2), np.float32), self.logits.repeat(len(images), 0)


def test_several_labels_per_image(predictor: Predictor, files: list[str]) -> None:
    engine: Engine = FixedLogits(0.4, -0.2, 1.0)
    info = BundleInfo.model_validate(
        predictor.info.model_dump()
        | {"multilabel": True, "temperature": 1.0, "thresholds": {"hat": 0.4, "shoe": 0.9}}
    )
    (found,) = Predictor(engine, info).predict(files[0])
    assert found.labels == ("shoe", "dress", "hat")
    assert found.probabilities == pytest.approx((0.7311, 0.5987, 0.4502), abs=1e-4)
    assert found.predicted_labels == ("dress", "hat")
    with pytest.raises(BundleError, match="no golden outputs"):
        Predictor(engine, info).verify()
