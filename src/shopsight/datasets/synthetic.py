"""Product images that shopsight renders itself, for machines without real data.

Eight classes. Each product has its own cut, colors and pattern, and is shown in two views with
their own pose, ground, light and noise. Nothing here looks like a photograph, so a score on it says
that the machinery works and nothing about real products; `Catalog.synthetic` marks such images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32, Float64, UInt8

from shopsight.cache_place import cache_folder
from shopsight.catalog.catalog import Catalog
from shopsight.files import atomic_folder
from shopsight.io.parquet import read_parquet
from shopsight.progress import task

SIZE_PX = 128
PRODUCTS_PER_CLASS = 100
VIEWS = 2
JPEG_QUALITY = 90
# Raised when the same arguments would give other pixels, so that a kept folder is never outdated.
RENDER_VERSION = 1
FRACTION_BITS = 4

Points = Float64[np.ndarray, "k 2"]
# Outline and brightness of each part, back to front, in a square from -1 to 1, y downwards.
Parts = list[tuple[Points, float]]
Rng = np.random.Generator


def open_synthetic(root: Path | None = None, *, seed: int = 0) -> Catalog:
    """Read the synthetic images, rendering them the first time.

    Args:
        root: the folder to keep them in; None takes one in the cache.
        seed: another seed gives other products.
    """
    name = f"synthetic-v{RENDER_VERSION}-seed{seed}"
    folder = root or cache_folder() / "datasets" / name
    kept = folder / "images.parquet"
    if not kept.is_file():
        draw_catalog(folder, products_per_class=PRODUCTS_PER_CLASS, seed=seed)
    return _catalog(read_parquet(kept), folder)


def draw_catalog(folder: Path, *, products_per_class: int, seed: int = 0) -> Catalog:
    """Render products of each class in two views, as JPEGs.

    Args:
        folder: where the images go; what it held before is replaced.
        products_per_class: number of products of each class. The first ones do not depend on it.
        seed: the same seed gives the same pixels.
    """
    rows = []
    total = len(OUTLINES) * products_per_class
    with atomic_folder(folder) as part, task("Rendering products", total, "products") as advance:
        for label in OUTLINES:
            (part / label).mkdir()
            for number in range(products_per_class):
                for view in range(VIEWS):
                    image = f"{label}/{label}-{number:04d}-{view}.jpg"
                    pixels = draw_product(label, number=number, view=view, seed=seed)
                    write_jpeg(part / image, pixels)
                    rows.append((image, label, f"{label}-{number:04d}"))
                advance(1)
        table = pl.DataFrame(rows, schema=["image", "label", "group"], orient="row")
        table.write_parquet(part / "images.parquet")
    return _catalog(table, folder)


def draw_product(
    label: str,
    *,
    number: int,
    view: int,
    seed: int = 0,
    cloth: Float32[np.ndarray, "s s 3"] | None = None,
) -> UInt8[np.ndarray, "s s 3"]:
    """Render one image: a pure function of its arguments.

    Args:
        label: a key of `OUTLINES`.
        number: which product of the class.
        view: which view of the product; pose, ground and light differ.
        seed: another seed gives other products.
        cloth: color and pattern of the product, as large as the image; None: its own.

    Returns:
        RGB pixels of 128 x 128.
    """
    code = list(OUTLINES).index(label)
    product = np.random.default_rng((seed, code, number))
    parts = OUTLINES[label](product)
    if cloth is None:
        cloth = _cloth(product)
    look = np.random.default_rng((seed, code, number, view + 1))
    image = _ground(look)
    pose = _pose(look)
    for outline, brightness in parts:
        _paint(image, outline @ pose[:, :2].T + pose[:, 2], cloth * np.float32(brightness))
    return _light(image, look)


def _catalog(table: pl.DataFrame, folder: Path) -> Catalog:
    notes = "synthetic images, not photographs: scores on them say nothing about real products"
    return Catalog(table, "synthetic", str(folder), notes=(notes,), synthetic=True)


def write_jpeg(path: Path, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write pixels as a JPEG, in a folder that is put in place when all are there."""
    import cv2

    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    path.write_bytes(data.tobytes())


def _cloth(rng: Rng) -> Float32[np.ndarray, "s s 3"]:
    """Color and pattern of a product, as large as the image."""
    base, second = rng.uniform(20, 235, (2, 3)).astype(np.float32)
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX].astype(np.float32)
    period = rng.uniform(8, 22)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    kind = rng.integers(4)
    if kind == 0:
        mark = (along % period) < period * rng.uniform(0.2, 0.6)
    elif kind == 1:
        near = np.hypot(along % period - period / 2, across % period - period / 2)
        mark = near < period * rng.uniform(0.15, 0.35)
    else:
        mark = np.zeros((SIZE_PX, SIZE_PX), bool)
    cloth: Float32[np.ndarray, "s s 3"] = np.where(mark[:, :, None], second, base)
    return cloth


def _ground(rng: Rng) -> Float32[np.ndarray, "s s 3"]:
    top, bottom = rng.uniform(170, 255, (2, 3))
    if rng.random() < 0.3:
        # A colored wall or floor, as in photos by private sellers.
        top, bottom = rng.uniform(60, 200, (2, 3))
    weight = np.linspace(0, 1, SIZE_PX)[:, None, None]
    rows = (top * (1 - weight) + bottom * weight).astype(np.float32)
    ground: Float32[np.ndarray, "s s 3"] = np.repeat(rows, SIZE_PX, axis=1)
    return ground


def _pose(rng: Rng) -> Float64[np.ndarray, "2 3"]:
    """From the -1..1 square to pixels: scale, stretch, turn, mirror and shift."""
    angle = np.deg2rad(rng.normal(0, 9))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = SIZE_PX / 2 * rng.uniform(0.55, 0.9)
    stretch = np.diag([rng.choice([-1.0, 1.0]) * rng.uniform(0.88, 1.12), 1.0])
    shift = SIZE_PX / 2 + rng.uniform(-0.08, 0.08, 2) * SIZE_PX
    return np.column_stack([turn @ stretch * scale, shift])


def _paint(
    image: Float32[np.ndarray, "s s 3"], outline: Points, cloth: Float32[np.ndarray, "s s 3"]
) -> None:
    import cv2

    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    fixed = np.round(outline * (1 << FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, FRACTION_BITS)
    coverage = mask[:, :, None] / np.float32(255)
    image += (cloth - image) * coverage


def _light(image: Float32[np.ndarray, "s s 3"], rng: Rng) -> UInt8[np.ndarray, "s s 3"]:
    import cv2

    y, x = np.mgrid[-1 : 1 : SIZE_PX * 1j, -1 : 1 : SIZE_PX * 1j].astype(np.float32)
    slope = rng.normal(0, 0.12, 2).astype(np.float32)
    light = np.float32(rng.uniform(0.75, 1.15)) * (1 + slope[0] * x + slope[1] * y)
    tint = rng.normal(1, 0.04, 3).astype(np.float32)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 7))
    lit = image * light[:, :, None] * tint + noise
    if rng.random() < 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), float(rng.uniform(0.5, 1.4)))
    pixels: UInt8[np.ndarray, "s s 3"] = np.clip(np.round(lit), 0, 255).astype(np.uint8)
    return pixels


def _polygon(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


def _mirrored(*points: tuple[float, float]) -> Points:
    """A symmetric outline from its right half, top to bottom."""
    right = np.array(points, dtype=np.float64)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _ellipse(x: float, y: float, width: float, height: float) -> Points:
    angle = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
    return np.column_stack([x + width * np.cos(angle), y + height * np.sin(angle)])


def _shirt(rng: Rng) -> Parts:
    wide, long = rng.uniform(0.42, 0.6), rng.uniform(0.6, 0.95)
    sleeve = rng.uniform(0.25, 1.2)
    cuff = rng.uniform(0.1, 0.2)
    body = _mirrored((0.2, -0.8), (wide, -0.7), (wide, long), (0.0, long))
    end = (wide + 0.3 * min(sleeve, 1.0), -0.65 + sleeve)
    right = _polygon((wide - 0.12, -0.72), (wide, -0.7), end, (end[0] - cuff, end[1] + 0.05))
    neck = _mirrored((0.2, -0.81), (0.0, rng.uniform(-0.7, -0.45)))
    return [(right, 0.88), (right * (-1, 1), 0.88), (body, 1.0), (neck, 0.6)]


def _trousers(rng: Rng) -> Parts:
    hip, hem = rng.uniform(0.32, 0.48), rng.uniform(0.14, 0.34)
    long = rng.uniform(0.1, 0.95)
    crotch = rng.uniform(-0.3, -0.1)
    outer = hip * (1 - (long + 0.9) / 2) + (hem + 0.12) * (long + 0.9) / 2
    leg = _polygon(
        (0.0, -0.9), (hip * 0.85, -0.9), (outer + 0.04, long), (outer - hem, long), (0.0, crotch)
    )
    belt = _mirrored((hip * 0.86, -0.92), (hip * 0.88, -0.8), (0.0, -0.8))
    return [(leg, 1.0), (leg * (-1, 1), 0.93), (belt, 0.7)]


def _dress(rng: Rng) -> Parts:
    waist, hem = rng.uniform(0.2, 0.32), rng.uniform(0.4, 0.75)
    belt_y = rng.uniform(-0.25, 0.05)
    long = rng.uniform(0.55, 0.95)
    top = rng.uniform(0.22, 0.36)
    body = _mirrored((top * 0.6, -0.75), (top, -0.7), (waist, belt_y), (hem, long), (0.0, long))
    belt = _mirrored((waist, belt_y - 0.03), (waist + 0.02, belt_y + 0.05), (0.0, belt_y + 0.05))
    parts = [(body, 1.0), (belt, rng.uniform(0.5, 1.0))]
    if rng.random() < 0.5:
        strap = _polygon(
            (top * 0.6, -0.75), (top * 0.75, -0.95), (top * 0.55, -0.95), (top * 0.4, -0.72)
        )
        return [(strap, 0.9), (strap * (-1, 1), 0.9), *parts]
    drop = rng.uniform(0.15, 0.6)
    sleeve = _polygon(
        (top - 0.08, -0.72), (top, -0.7), (top + 0.25, -0.7 + drop), (top + 0.1, -0.62 + drop)
    )
    return [(sleeve, 0.88), (sleeve * (-1, 1), 0.88), *parts]


def _skirt(rng: Rng) -> Parts:
    waist, hem = rng.uniform(0.24, 0.4), rng.uniform(0.42, 0.85)
    top, long = rng.uniform(-0.75, -0.45), rng.uniform(0.2, 0.85)
    body = _mirrored((waist, top), (hem, long), (0.0, long + rng.uniform(0.0, 0.08)))
    belt = _mirrored((waist, top - 0.02), (waist + 0.02, top + 0.1), (0.0, top + 0.1))
    folds = [
        (_polygon((x * waist, top + 0.1), (x * hem + 0.02, long), (x * hem - 0.02, long)), 0.75)
        for x in np.linspace(-0.8, 0.8, int(rng.integers(0, 6)))
    ]
    return [(body, 1.0), *folds, (belt, 0.65)]


def _shoe(rng: Rng) -> Parts:
    shaft, heel = rng.uniform(0.05, 0.75), rng.uniform(0.06, 0.4)
    toe = rng.uniform(0.1, 0.3)
    ground = 0.5
    upper = _polygon(
        (-0.85, ground - heel), (-0.8, -0.1 - shaft), (-0.3, -0.1 - shaft), (-0.1, 0.02),
        (0.5, ground - toe - 0.12), (0.85, ground - toe), (0.9, ground - 0.05),
        (0.1, ground - 0.06),
    )  # fmt: skip
    thick = rng.uniform(0.04, 0.12)
    sole = _polygon(
        (-0.88, ground - heel), (-0.5, ground - heel), (0.1, ground - 0.06), (0.92, ground - 0.06),
        (0.9, ground + thick), (0.1, ground + thick), (-0.45, ground - heel + 0.05),
        (-0.55, ground + thick), (-0.85, ground + thick),
    )  # fmt: skip
    return [(upper, 1.0), (sole, rng.choice([0.3, 0.5, 1.3]))]


def _bag(rng: Rng) -> Parts:
    wide, deep = rng.uniform(0.5, 0.85), rng.uniform(0.45, 0.8)
    narrow = wide * rng.uniform(0.7, 1.0)
    top = rng.uniform(-0.3, 0.0)
    body = _mirrored((narrow, top), (wide, top + deep), (0.0, top + deep + 0.05))
    height, thick = rng.uniform(0.25, 0.65), rng.uniform(0.05, 0.1)
    grip = narrow * rng.uniform(0.45, 0.8)
    angle = np.linspace(np.pi, 2 * np.pi, 24)
    outer = np.column_stack([grip * np.cos(angle), top + 0.05 + height * np.sin(angle)])
    inner = np.column_stack(
        [(grip - thick) * np.cos(angle), top + 0.05 + (height - thick) * np.sin(angle)]
    )
    parts = [(np.concatenate([outer, inner[::-1]]), 0.7), (body, 1.0)]
    if rng.random() < 0.6:
        flap = _mirrored(
            (narrow, top),
            (narrow * 1.02, top + deep * rng.uniform(0.25, 0.6)),
            (0.0, top + deep * 0.6),
        )
        parts.append((flap, 0.85))
    return parts


def _hat(rng: Rng) -> Parts:
    crown, high = rng.uniform(0.35, 0.55), rng.uniform(0.4, 0.8)
    brim = rng.uniform(0.0, 0.45)
    base = 0.25
    angle = np.linspace(np.pi, 2 * np.pi, 24)
    power = rng.uniform(0.45, 1.0)
    dome = np.column_stack([crown * np.cos(angle), base - high * np.abs(np.sin(angle)) ** power])
    band = _mirrored((crown, base - 0.14), (crown, base), (0.0, base + 0.02))
    parts = [(dome, 1.0), (band, rng.uniform(0.4, 0.8))]
    if rng.random() < 0.4:
        peak = _polygon(
            (crown * 0.2, base - 0.02),
            (crown + 0.45, base + 0.1),
            (crown * 0.9, base + 0.12),
            (0.0, base + 0.06),
        )
        return [*parts, (peak, 0.8)]
    return [(_ellipse(0.0, base, crown + brim, 0.08 + brim * 0.25), 0.85), *parts]


def _glasses(rng: Rng) -> Parts:
    wide, high = rng.uniform(0.25, 0.4), rng.uniform(0.16, 0.34)
    apart = wide + rng.uniform(0.06, 0.14)
    rim = rng.uniform(0.03, 0.08)
    glass = rng.uniform(0.2, 2.2)
    bridge = _mirrored((apart - wide + 0.04, -0.06), (apart - wide + 0.04, 0.0), (0.0, 0.0))
    parts: Parts = [(bridge, 1.0)]
    for side in (-1, 1):
        arm = _polygon(
            (side * (apart + wide - 0.02), -0.08), (side * 0.95, -0.25 - rng.uniform(0.0, 0.2)),
            (side * 0.97, -0.18), (side * (apart + wide - 0.02), 0.0),
        )  # fmt: skip
        parts += [
            (arm, 0.9),
            (_ellipse(side * apart, 0.0, wide, high), 1.0),
            (_ellipse(side * apart, 0.0, wide - rim, high - rim), glass),
        ]
    return parts


OUTLINES: dict[str, Callable[[Rng], Parts]] = {
    "bag": _bag,
    "dress": _dress,
    "glasses": _glasses,
    "hat": _hat,
    "shirt": _shirt,
    "shoe": _shoe,
    "skirt": _skirt,
    "trousers": _trousers,
}
