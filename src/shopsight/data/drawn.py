"""Product pictures that shopsight draws itself, for a machine that has no real ones at hand.

What a network scores on them says that the machinery works, and nothing about real products:
every catalogue of them has `drawn` set, and every report says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFilter

from shopsight.data.catalog import Catalog
from shopsight.errors import CatalogError
from shopsight.files import atomic_folder, cache_folder
from shopsight.progress import task

SIZE_PX = 96
PER_CLASS = 200
# Raise it when the pictures change, so that nobody goes on with old ones.
VERSION = 1
# Drawn larger and reduced, so that edges are smooth.
OVERSAMPLING = 3
Point = tuple[float, float]
# A shape is polygons in a square from -1 to 1, y downwards; the generator varies its proportions.
Shape = Callable[[np.random.Generator], list[list[Point]]]


def open_drawn(root: Path | None = None) -> Catalog:
    """The drawn data set, drawn once and kept in `root` (None: in the cache)."""
    folder = root or cache_folder() / f"drawn-{VERSION}"
    names = [_name(label, number) for label in SHAPES for number in range(PER_CLASS)]
    if not all((folder / name).is_file() for name in names):
        return draw_catalog(folder)
    return _catalog(folder, names)


def draw_catalog(folder: Path | str, *, per_class: int = PER_CLASS, seed: int = 0) -> Catalog:
    """Draw `per_class` pictures of each class into `folder/<class>/`, and give their catalogue.

    The same seed gives the same pictures. What was in `folder` is replaced.

    Raises:
        CatalogError: the folder holds something else.
    """
    _refuse_to_replace(Path(folder))
    names = []
    with (
        atomic_folder(folder) as part,
        task("Drawing pictures", total=per_class * len(SHAPES)) as advance,
    ):
        for place, label in enumerate(SHAPES):
            (part / label).mkdir()
            for number in range(per_class):
                names.append(_name(label, number))
                rng = np.random.default_rng([seed, place, number])
                draw_product(label, rng).save(part / names[-1], quality=90)
                advance(1)
    return _catalog(Path(folder), names)


def _name(label: str, number: int) -> str:
    return f"{label}/{label}-{number:04d}.jpg"


def _catalog(folder: Path, names: Sequence[str]) -> Catalog:
    labels = [name.partition("/")[0] for name in names]
    table = pl.DataFrame({"image": names, "label": labels})
    told = ("these product pictures are drawn by shopsight, not photographed",)
    return Catalog(table, "drawn", str(folder.absolute()), told=told, drawn=True)


def _refuse_to_replace(folder: Path) -> None:
    strangers = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    strangers = sorted(set(strangers) - set(SHAPES))
    if strangers:
        raise CatalogError(
            "holds something else than drawn pictures, which would be replaced",
            where=str(folder),
            details=strangers,
            fix="name a folder that is empty or not there",
        )


def draw_product(label: str, rng: np.random.Generator, *, size_px: int = SIZE_PX) -> Image.Image:
    """One picture of a class of `SHAPES`; outline, place, pose and colours vary."""
    side = size_px * OVERSAMPLING
    ground = rng.integers(190, 256, 3)
    picture = Image.new("RGB", (side, side), tuple(int(value) for value in ground))
    pen = ImageDraw.Draw(picture)
    colour = rng.integers(10, 190, 3)
    turn = math.radians(rng.normal(0.0, 6.0))
    scale = side * rng.uniform(0.30, 0.42)
    centre = side / 2 + rng.uniform(-0.08, 0.08, 2) * side
    for layer, polygon in enumerate(SHAPES[label](rng)):
        shade = np.clip(colour * (1.0 - 0.18 * layer), 0, 255)
        points = [_placed(point, turn, scale, centre) for point in polygon]
        pen.polygon(points, fill=tuple(int(value) for value in shade))
    picture = picture.resize((size_px, size_px), Image.Resampling.BOX)
    if rng.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    pixels = np.asarray(picture, np.float32)
    # Light from one side, and a sensor's noise: no two pictures share a flat background.
    light = np.linspace(0.0, rng.uniform(-25, 25), size_px)[None, :, None]
    noise = rng.normal(0.0, rng.uniform(1, 6), pixels.shape)
    return Image.fromarray(np.clip(pixels + light + noise, 0, 255).astype(np.uint8))


def _placed(point: Point, turn: float, scale: float, centre: np.ndarray) -> Point:
    x, y = point
    return (
        float(centre[0] + scale * (x * math.cos(turn) - y * math.sin(turn))),
        float(centre[1] + scale * (x * math.sin(turn) + y * math.cos(turn))),
    )


def _mirrored(points: Sequence[Point]) -> list[Point]:
    """The right half of an outline, from top to bottom, closed by its mirror image."""
    return [*points, *((-x, y) for x, y in reversed(points))]


def _shirt(rng: np.random.Generator) -> list[list[Point]]:
    sleeve, waist = rng.uniform(-0.1, 0.8), rng.uniform(0.4, 0.6)
    return [
        _mirrored(
            [(0.18, -0.8), (0.5, -0.75), (1.0, sleeve), (0.75, sleeve + 0.12), (waist, -0.2),
             (waist, 0.9)]
        )
    ]  # fmt: skip


def _dress(rng: np.random.Generator) -> list[list[Point]]:
    hem, waist = rng.uniform(0.55, 0.9), rng.uniform(0.2, 0.35)
    return [_mirrored([(0.2, -0.95), (0.4, -0.9), (0.42, -0.5), (waist, -0.15), (hem, 0.95)])]


def _trousers(rng: np.random.Generator) -> list[list[Point]]:
    leg, length = rng.uniform(0.2, 0.4), rng.uniform(0.4, 1.0)
    outline = [(0.42, -0.95), (0.5, -0.4), (0.2 + leg, length), (0.2, length), (0.06, -0.3)]
    return [_mirrored(outline)]


def _bag(rng: np.random.Generator) -> list[list[Point]]:
    width, top = rng.uniform(0.6, 0.95), rng.uniform(-0.35, 0.0)
    body = _mirrored([(width * 0.85, top), (width, 0.8)])
    handle = rng.uniform(0.3, 0.5)
    outer = [(handle, top), (handle * 0.8, -0.9), (handle * 0.5, -0.9), (handle * 0.6, top)]
    bar = _mirrored([(handle * 0.8, -0.9), (handle * 0.7, -0.75)])
    return [body, outer, [(-x, y) for x, y in outer], bar]


def _shoe(rng: np.random.Generator) -> list[list[Point]]:
    heel, toe = rng.uniform(-0.5, -0.2), rng.uniform(0.0, 0.25)
    upper = [(-0.9, heel), (-0.35, heel + 0.02), (0.1, toe), (0.9, 0.3), (0.95, 0.5), (-0.9, 0.5)]
    sole = [(-0.95, 0.5), (0.98, 0.5), (0.98, 0.65), (-0.95, 0.65)]
    side = 1.0 if rng.random() < 0.5 else -1.0
    return [[(side * x, y) for x, y in part] for part in (upper, sole)]


def _hat(rng: np.random.Generator) -> list[list[Point]]:
    crown, brim = rng.uniform(0.4, 0.6), rng.uniform(0.75, 1.0)
    arc = [math.pi * (0.5 - step / 16) for step in range(9)]
    dome = _mirrored([(crown * math.cos(angle), 0.2 - 0.8 * math.sin(angle)) for angle in arc])
    return [dome, _mirrored([(brim, 0.2), (brim * 0.9, 0.4)])]


def _umbrella(rng: np.random.Generator) -> list[list[Point]]:
    width, rise = rng.uniform(0.7, 1.0), rng.uniform(0.5, 0.8)
    arc = [math.pi * (0.5 - step / 16) for step in range(9)]
    roof = _mirrored([(width * math.cos(angle), -0.1 - rise * math.sin(angle)) for angle in arc])
    stick = [(-0.04, -0.1), (0.04, -0.1), (0.04, 0.9), (-0.04, 0.9)]
    hook = [(-0.04, 0.8), (-0.04, 0.95), (-0.25, 0.95), (-0.25, 0.7), (-0.17, 0.7), (-0.17, 0.8)]
    return [roof, stick, hook]


def _bottle(rng: np.random.Generator) -> list[list[Point]]:
    width, neck = rng.uniform(0.25, 0.45), rng.uniform(0.08, 0.16)
    shoulder = rng.uniform(-0.4, -0.1)
    body = [(neck, -0.75), (neck, shoulder - 0.15), (width, shoulder + 0.1), (width, 0.95)]
    return [_mirrored(body), _mirrored([(neck + 0.03, -0.95), (neck + 0.03, -0.75)])]


SHAPES: dict[str, Shape] = {
    "bag": _bag,
    "bottle": _bottle,
    "dress": _dress,
    "hat": _hat,
    "shirt": _shirt,
    "shoe": _shoe,
    "trousers": _trousers,
    "umbrella": _umbrella,
}
