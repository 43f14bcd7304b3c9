"""Several framings of an image are averaged, alike in training, bundle, engines and maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsight import api
from shopsight.bundle.read import read_bundle
from shopsight.config.recipe import parse_recipe
from shopsight.errors import ConfigError
from shopsight.images.model_input import preprocess_image
from shopsight.inference.load import load
from shopsight.loading.cache import geometry_folder
from shopsight.preprocess import Preprocess
from shopsight.runs.run_folder import RunFolder
from tests.helpers import ProductPhotos

LITE0 = "embedded:tf_efficientnet_lite0"
PART = 0.6


@pytest.fixture(scope="module")
def averaged(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model looks at the middle of each photo too. Do not change it."""
    out = tmp_path_factory.mktemp("averaged") / "run"
    settings = [f"model.backbone={LITE0}", "preprocess.size_px=96", f"framing.average=[{PART}]"]
    api.train(product_photos.folder, out=out, recipe="fast", settings=settings)
    return out


def test_the_bundle_says_and_does_it(averaged: Path, product_photos: ProductPhotos) -> None:
    written = json.loads((averaged / "model" / "model.json").read_text(encoding="utf-8"))
    assert written["preprocess"]["average"] == [PART]
    predictor = load(averaged, engine="torch", precision="32")
    (photo, *_) = sorted(product_photos.folder.rglob("*.jpg"))
    square = preprocess_image(photo.read_bytes(), predictor.preprocess)
    # The same network without averaging, on the square and on its middle, enlarged by hand.
    side = round(PART * 96)
    first = (96 - side) // 2
    cut = square[first : first + side, first : first + side]
    middle = np.asarray(Image.fromarray(cut).resize((96, 96), Image.Resampling.BILINEAR))
    model = predictor.engine.model  # type: ignore[attr-defined]
    model.preprocess = model.preprocess.model_copy(update={"average": ()})
    each = predictor.predict_batch(np.stack([square, middle]))[0]
    model.preprocess = predictor.preprocess
    found = predictor.predict_batch(square[None])[0][0]
    # Apart from the rounding of the middle to eight bits, it is the mean of both, and neither.
    apart = np.linalg.norm(found - each.mean(0))
    assert apart < 0.2 * np.linalg.norm(found)
    assert apart < 0.4 * min(np.linalg.norm(found - one) for one in each)


def test_scores_and_temperature_are_of_the_averaged_answers(averaged: Path) -> None:
    run = RunFolder(averaged)
    scored = api.evaluate(averaged)
    assert scored.metrics["accuracy"] > 0.9
    table = scored.predictions.table
    images = [str(Path(run.catalog().root) / name) for name in table["image"]]
    answers = list(api.predict(averaged, images))
    assert [one.labels[0] for one in answers] == table["predicted"].to_list()
    assert read_bundle(averaged / "model").info.temperature == pytest.approx(
        run.state()["temperature"]["value"]
    )
    assert load(averaged).verify().ok


def test_its_cost_is_said(averaged: Path, product_photos: ProductPhotos, said: list[str]) -> None:
    card = (averaged / "model" / "README.md").read_text(encoding="utf-8")
    assert "its middle 60 %; 2 views of each image are averaged, which cost 2 times one" in card
    report = (averaged / "report.html").read_text(encoding="utf-8")
    assert "its middle 60 % (2 x the cost)" in report


def test_exported_it_answers_alike_and_its_maps_are_made_by_covering(
    averaged: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    (photo, *_) = sorted(product_photos.folder.rglob("*.jpg"))
    with pytest.raises(ConfigError, match="it averages several views of an image"):
        api.explain(averaged, photo, out=tmp_path / "cam", method="cam")
    explained = api.explain(averaged, photo, out=tmp_path / "why")
    assert explained.images[0].method == "occlusion"
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    api.export(averaged)
    exact = load(averaged, engine="torch", precision="32")
    fast = load(averaged, engine="onnxruntime", precision="32")
    one, other = (next(model.embed(photo)).vector for model in (exact, fast))
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one, other, atol=1e-3 * np.abs(one).max())


def test_pixels_are_cached_once_for_all_views(tmp_path: Path) -> None:
    plain = Preprocess()
    views = plain.model_copy(update={"average": (0.5,)})
    assert geometry_folder(tmp_path, plain, "raw") == geometry_folder(tmp_path, views, "raw")


@pytest.mark.parametrize("average", ["[1.0]", "[0.1]", "[0.5, 0.6, 0.7, 0.8, 0.9]"])
def test_parts_that_are_none_are_refused(average: str) -> None:
    with pytest.raises(ConfigError, match=r"framing\.average"):
        parse_recipe(f"[framing]\naverage = {average}\n", where="recipe")
