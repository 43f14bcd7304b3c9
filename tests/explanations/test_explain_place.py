"""The map lies where the evidence is: in the photo as people see it, however it was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight import api
from shopsight.images.heat_overlay import ramp_colors
from shopsight.inference.explain import explain_image
from tests.explanations.spots import LABELS, Corners, file_of, photo, spot_predictor

Resize = Literal["pad", "crop", "squash"]
WIDE, TALL = (480, 320), (300, 450)
# Within what a center crop keeps.
PLACES = {WIDE: (90, 20, 190, 120), TALL: (170, 250, 270, 350)}
CELL = 60
"""Pixels of a photo that a cell of the network covers: no map is finer."""


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def warmest(overlay: Path) -> tuple[float, float]:
    """Where the picture is most like the hot end of the ramp: the middle of the warmest pixels."""
    pixels = np.asarray(opened(overlay), np.float64)
    far = np.abs(pixels - ramp_colors(np.array(1.0))).sum(axis=2)
    y, x = np.nonzero(far <= np.quantile(far, 0.01))
    return float(x.mean()), float(y.mean())


def is_at(found: tuple[float, float], place: Corners) -> bool:
    left, top, right, bottom = place
    return left - CELL <= found[0] <= right + CELL and top - CELL <= found[1] <= bottom + CELL


@pytest.mark.parametrize("method", ["cam", "occlusion"])
@pytest.mark.parametrize("size", [WIDE, TALL])
@pytest.mark.parametrize("resize", ["pad", "crop", "squash"])
def test_the_map_is_at_the_thing(
    resize: Resize, size: tuple[int, int], method: Literal["cam", "occlusion"], tmp_path: Path
) -> None:
    place = PLACES[size]
    data = file_of(photo("disc", *size, place))
    predictor = spot_predictor(resize)
    done = api.explain(predictor, [data], out=tmp_path, method=method)
    (one,) = done.images
    assert one.label == "disc"
    assert one.method == {"cam": "class activation", "occlusion": "occlusion"}[method]
    picture = tmp_path / one.overlay
    assert opened(picture).size == size
    assert is_at(warmest(picture), place)
    # What the map names is what the answer hangs on.
    assert one.top_share is not None
    assert one.top_share > 0.2
    assert one.probability is not None
    assert one.covered_probability is not None
    assert one.covered_probability < one.probability


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (3, lambda image: image.transpose(Image.Transpose.ROTATE_180)),
        (6, lambda image: image.transpose(Image.Transpose.ROTATE_90)),
        (8, lambda image: image.transpose(Image.Transpose.ROTATE_270)),
    ],
)
def test_a_photo_that_lies_on_its_side(
    orientation: int, upright: type[Image.Image], tmp_path: Path
) -> None:
    """Stored turned, shown upright: the map too."""
    stored = upright(photo("disc", *TALL, PLACES[TALL]))  # type: ignore[call-arg, arg-type]
    data = file_of(stored, orientation=orientation)
    done = api.explain(spot_predictor(), [data], out=tmp_path)
    picture = tmp_path / done.images[0].overlay
    assert opened(picture).size == TALL
    assert is_at(warmest(picture), PLACES[TALL])


def test_the_part_in_a_box_is_explained(tmp_path: Path) -> None:
    """Two discs, and a box around the right one: what lies outside was not seen."""
    image = photo("disc", 600, 300, (40, 100, 140, 200))
    image.paste(photo("disc", 240, 300, (100, 100, 200, 200)), (360, 0))
    image.save(tmp_path / "two.png")
    table = pl.DataFrame(
        {"image": ["two.png"], "box_x": [350], "box_y": [0], "box_w": [250], "box_h": [300]}
    )
    table.write_csv(tmp_path / "table.csv")
    predictor = spot_predictor()
    looks = predictor.preprocess.model_copy(update={"boxes": True})
    predictor.info = predictor.info.model_copy(update={"preprocess": looks})
    done = api.explain(predictor, tmp_path / "table.csv", out=tmp_path / "why")
    picture = tmp_path / "why" / done.images[0].overlay
    assert is_at(warmest(picture), (460, 100, 560, 200))
    before = np.asarray(image.convert("L"), np.float64)[:, :340]
    after = np.asarray(opened(picture).convert("L"), np.float64)[:, :340]
    assert (after.mean(axis=0) > before.mean(axis=0) + 20).all()  # Pale.


def test_the_other_label_of_two(tmp_path: Path) -> None:
    """What speaks for stripes lies at the stripes, though the photo has a disc as well."""
    image = photo("disc", 480, 240, (40, 70, 140, 170))
    image.paste(photo("stripes", 200, 240, (60, 70, 160, 170)), (280, 0))
    for label, place in (("disc", (40, 70, 140, 170)), ("stripes", (340, 70, 440, 170))):
        out = tmp_path / label
        done = api.explain(spot_predictor("squash"), [file_of(image)], out=out, label=label)
        (one,) = done.images
        assert one.label == label
        assert one.predicted[0] in LABELS
        assert is_at(warmest(out / one.overlay), place)


@pytest.mark.parametrize("size", [(1, 40_000), (40_000, 1)])
def test_an_image_as_thin_as_a_thread(size: tuple[int, int], tmp_path: Path) -> None:
    Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(tmp_path / "thread.png")
    found = explain_image(spot_predictor(), (tmp_path / "thread.png").read_bytes())
    assert found.heat.shape == (size[1], size[0])
    assert np.isfinite(found.heat).any()
    done = api.explain(spot_predictor(), tmp_path / "thread.png", out=tmp_path / "why")
    (one,) = done.images
    assert one.error is None
    assert opened(tmp_path / "why" / one.overlay).size in {(1, 1600), (1600, 1)}
