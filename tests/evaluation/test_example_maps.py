"""Where the model looked, in the report: over the photo as the page shows it, or why it is not."""

from __future__ import annotations

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.evaluation.evaluate import evaluate
from shopsight.evaluation.example_maps import MAP_PX, ExampleMaps, Network, map_examples
from shopsight.evaluation.examples import gallery
from shopsight.evaluation.report import write_evaluation_report, write_report
from shopsight.inference.engine import Images, Outputs
from shopsight.inference.predictor import Predictor
from shopsight.models.heads import CosineHead
from shopsight.preprocess import Preprocess
from shopsight.runs.run_folder import RunFolder
from tests.browser import chromium, in_a_browser
from tests.explanations.spots import LABELS, file_of, photo, predictor_of, spot_predictor
from tests.helpers import ProductPhotos

WIDE = (480, 320)
PLACE = (40, 20, 140, 120)
CELL = 60


def layer(uri: str) -> np.ndarray:
    """The map as the browser gets it."""
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGBA"))


def catalog_of(folder: Path, files: dict[str, bytes], **columns: list[object]) -> Catalog:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    table = pl.DataFrame({"image": list(files), "label": ["disc"] * len(files), **columns})
    return Catalog(table, name="spots", root=str(folder))


def maps_of(predictor: Predictor, catalog: Catalog, label: str | None = "disc") -> ExampleMaps:
    rows = dict.fromkeys(range(len(catalog)), label)
    return map_examples(rows, catalog, [Network(lambda: predictor)])


def warmest(pixels: np.ndarray) -> tuple[float, float]:
    """The middle of what is most opaque and seen, as fractions of width and height."""
    heat = np.where(pixels[..., 2] < 200, pixels[..., 3].astype(float), 0)
    y, x = np.nonzero(heat >= np.quantile(heat, 0.99))
    return float(x.mean() + 0.5) / pixels.shape[1], float(y.mean() + 0.5) / pixels.shape[0]


@pytest.mark.parametrize("resize", ["pad", "crop", "squash"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_map_lies_over_the_upright_photo(resize: str, orientation: int, tmp_path: Path) -> None:
    upright = photo("disc", *WIDE, PLACE if resize != "crop" else (100, 20, 200, 120))
    # Orientation 6 is turned by a quarter to the right when it is shown.
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose.ROTATE_90)
    catalog = catalog_of(tmp_path, {"a.jpg": file_of(stored, orientation=orientation)})
    found = maps_of(spot_predictor(resize), catalog)  # type: ignore[arg-type]
    pixels = layer(found.of_row[0].image)
    assert pixels.shape[:2] == (round(MAP_PX * 320 / 480), MAP_PX)
    x, y = warmest(pixels)
    left = 100 if resize == "crop" else 40
    assert (left - CELL) / 480 < x < (left + 100 + CELL) / 480
    assert y < (120 + CELL) / 320
    if resize == "crop":
        assert (pixels[:, :4, :3] > 240).all(), "what was cut off is white"
    side = "center" if resize == "crop" else "left"
    assert f"strongest at the top {side}" in found.of_row[0].words


def test_a_box_has_a_map_of_its_own_part(tmp_path: Path) -> None:
    columns = {"box_x": [200.0], "box_y": [100.0], "box_w": [200.0], "box_h": [200.0]}
    data = file_of(photo("disc", *WIDE, (310, 210, 390, 290)))
    found = maps_of(spot_predictor(), catalog_of(tmp_path, {"a.jpg": data}, **columns))  # type: ignore[arg-type]
    pixels = layer(found.of_row[0].image)
    assert pixels.shape[:2] == (MAP_PX, MAP_PX)
    x, y = warmest(pixels)
    assert x > 0.5
    assert y > 0.5
    assert "bottom right" in found.of_row[0].words


def test_an_image_that_is_gone_has_no_map(tmp_path: Path) -> None:
    data = file_of(photo("disc", *WIDE, PLACE))
    catalog = catalog_of(tmp_path, {"a.jpg": data, "b.jpg": data})
    (tmp_path / "a.jpg").unlink()
    found = maps_of(spot_predictor(), catalog)
    assert set(found.of_row) == {1}
    assert not found.note


def test_each_row_is_answered_by_its_own_network(tmp_path: Path) -> None:
    data = file_of(photo("disc", *WIDE, PLACE))
    catalog = catalog_of(tmp_path, {"a.jpg": data, "b.jpg": data})
    predictor, opened = spot_predictor(), list[int]()

    def opens(number: int) -> Predictor:
        opened.append(number)
        return predictor

    networks = [
        Network(lambda number=number: opens(number), frozenset({number}))  # type: ignore[misc]
        for number in range(3)
    ]
    found = map_examples({1: "disc"}, catalog, networks)
    assert opened == [1]
    assert set(found.of_row) == {1}


def test_without_a_label_the_most_probable_one_is_explained(tmp_path: Path) -> None:
    data = file_of(photo("stripes", *WIDE, PLACE))
    found = maps_of(spot_predictor(), catalog_of(tmp_path, {"a.jpg": data}), None)
    assert "speaks for stripes" in found.of_row[0].words


def test_a_network_without_exact_maps_says_how_to_get_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    predictor = predictor_of(CosineHead(1280, 2), Preprocess(size_px=128), LABELS)
    data = file_of(photo("disc", *WIDE, PLACE))
    found = maps_of(predictor, catalog_of(tmp_path, {"a.jpg": data}))
    assert not found.of_row
    assert "too slow for a report" in found.note
    assert "shopsight explain MODEL" in found.note


def test_an_engine_without_maps_says_so_too(tmp_path: Path) -> None:
    predictor = spot_predictor()

    class Plain:
        """An engine that gives outputs alone, as an export of a foreign network."""

        name = predictor.engine.name
        precision = predictor.engine.precision

        def run(self, images: Images) -> Outputs:
            return predictor.engine.run(images)

    plain = Predictor(Plain(), predictor.info)
    data = file_of(photo("disc", *WIDE, PLACE))
    assert "no exact map" in maps_of(plain, catalog_of(tmp_path, {"a.jpg": data})).note


def test_the_report_of_other_data_shows_maps_with_words(tmp_path: Path) -> None:
    # Each photo has the other one's label, which markup must not break.
    names = {"a.jpg": photo("disc", *WIDE, PLACE), "b.jpg": photo("stripes", *WIDE, PLACE)}
    catalog = catalog_of(tmp_path, {name: file_of(one) for name, one in names.items()})
    labels = ["stripes", "<script>alert(1)</script>"]
    catalog = catalog.with_table(catalog.table.with_columns(label=pl.Series(labels)))
    predictor = spot_predictor()
    info = predictor.info.model_copy(update={"labels": ("<script>alert(1)</script>", "stripes")})
    predictor = Predictor(predictor.engine, info)
    found = evaluate(predictor, catalog, split="all")
    path = write_evaluation_report(found, catalog, tmp_path / "page.html", predictor=predictor)
    source = path.read_text(encoding="utf-8")
    words = re.findall(r'<img class="map" src="data:image/webp;base64,[^"]+" alt="([^"]+)"', source)
    assert len(words) == 2
    assert "What speaks for &lt;script&gt;alert(1)&lt;/script&gt; is strongest" in words[0]
    assert '<label for="maps">' in source
    assert "<script>alert" not in source
    assert max(map(len, re.findall(r'class="map" src="([^"]+)"', source))) < 3_000


@pytest.mark.parametrize("folds", [(), ("folds.count=2", "folds.final=ensemble")])
def test_the_report_of_a_run_shows_maps(
    folds: tuple[str, ...], product_photos: ProductPhotos, tmp_path: Path
) -> None:
    settings = ("framing.search=false", "preprocess.size_px=96", "cache.mode=off", *folds)
    out = tmp_path / "run"
    api.train(product_photos.folder, out=out, recipe="fast", settings=settings)
    run = RunFolder(out)
    source = run.report_file.read_text(encoding="utf-8")
    assert source.count('class="map"') == source.count('<span class="said') > 0
    assert str(run.path) not in source


def test_a_run_without_maps_says_why(tiny_run: Path, tmp_path: Path) -> None:
    # Its network flattens its last feature map.
    page = write_report(RunFolder(tiny_run), out=tmp_path / "page.html").read_text(encoding="utf-8")
    assert "too slow for a report" in page
    assert 'class="map"' not in page


def test_a_run_without_its_bundle_says_why(own_run: Path) -> None:
    shutil.rmtree(RunFolder(own_run).model)
    page = write_report(RunFolder(own_run)).read_text(encoding="utf-8")
    assert "Where the model looked is not shown" in page
    assert str(own_run) not in page


@in_a_browser
def test_a_browser_shows_the_maps_and_switches_them_off(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, {"a.jpg": file_of(photo("disc", *WIDE, PLACE))})
    predictor = spot_predictor()
    found = evaluate(predictor, catalog, split="all")
    path = write_evaluation_report(found, catalog, tmp_path / "page.html", predictor=predictor)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto(path.as_uri())
        box, frame = page.get_by_label("Show where the model looked"), page.locator(".frame").first
        assert box.is_checked()
        frame.scroll_into_view_if_needed()
        page.wait_for_function("() => [...document.images].every((one) => one.complete)")
        shown = frame.screenshot()
        box.press("Space")
        hidden = frame.screenshot()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    with Image.open(io.BytesIO(shown)) as one, Image.open(io.BytesIO(hidden)) as other:
        middles = [np.asarray(each.convert("RGB"), float)[40:-40, 8:-8] for each in (one, other)]
    blueness = [(each[..., 2] - each[..., 0]).mean() for each in middles]
    assert blueness[0] > blueness[1] + 20


def test_without_networks_there_are_no_maps(catalog: Catalog, predictor: Predictor) -> None:
    found = evaluate(predictor, catalog, split="all").predictions
    shown = gallery(found, catalog)
    assert not shown.ramp
    assert not shown.note
    assert not any(one.map for one in shown.mistakes)
