"""Rules about images: agreement with known answers on generated images, and on folders of photos.

    python bench/image_rules.py [--seed 1] [--packshots FOLDER] [--scenes FOLDER]
    python bench/image_rules.py --speed

500 images of ten kinds are rendered, each with its answers: is it a packshot, is the ground near
white, is it pure white, does the product fill 85 %, is there a frame. They are written as JPEGs of
quality 70 to 95, PNGs and WebPs and go through the audit with rules. With `--scenes` half of the
scenes are photos from there; the folders are also judged as a whole. The limits were chosen on
seed 0, so another seed is the one to quote.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import polars as pl
from PIL import Image

from shopsight.audit.audit import AuditReport, audit
from shopsight.audit.inspect_file import inspect
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.datasets.synthetic import OUTLINES, draw_product
from shopsight.image_rules.file_measures import measure_file
from shopsight.image_rules.pixels import measure_pixels
from shopsight.image_rules.read_rules import parse_rules
from shopsight.images.decode import decode
from shopsight.images.kinds import IMAGE_SUFFIXES

EACH = 50
RULES = """
name = "bench"
as_of = 2026-11-28
rule = [
  {id = "near", check = "white-border", min = 0.98, source = "-"},
  {id = "pure", check = "white-border", white = "pure", min = 0.98, source = "-"},
  {id = "fill", check = "fill", min = 0.85, source = "-"},
  {id = "frame", check = "frame", source = "-"},
]
"""
Pixels = np.ndarray
Rng = np.random.Generator


@dataclass(frozen=True)
class Truth:
    """The answers; None where a question has none."""

    packshot: bool
    near: bool | None
    pure: bool | None
    fill: bool | None
    frame: bool = False


def outline(rng: Rng, side: int, fill: float) -> tuple[Pixels, Pixels]:
    """A product's colors and coverage (0 to 1), its longer side `fill` of the image's."""
    label = list(OUTLINES)[rng.integers(len(OUTLINES))]
    parts = OUTLINES[label](rng)
    corners = np.concatenate([points for points, _ in parts])
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = side * fill / (high - low).max()
    color = rng.uniform(15, 190, 3)
    rgb, coverage = np.zeros((side, side, 3)), np.zeros((side, side))
    for points, light in parts:
        mask = np.zeros((side, side), np.uint8)
        place = (points - (low + high) / 2) * scale + side / 2
        cv2.fillPoly(mask, [np.round(place * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        share = mask[:, :, None] / 255
        rgb = rgb * (1 - share) + np.clip(color * light, 5, 205) * share
        coverage = np.maximum(coverage, mask / 255)
    texture = cv2.resize(rng.normal(0, 10, (side // 6, side // 6)), (side, side))
    return np.clip(rgb + texture[:, :, None] * coverage[:, :, None], 0, 210), coverage


def on_ground(product: Pixels, coverage: Pixels, ground: Pixels | float) -> Pixels:
    """A product, whose colors are multiplied by its coverage, on a ground."""
    return product + np.asarray(ground) * (1 - coverage[:, :, None])


def fill_of(rng: Rng) -> float:
    """Not within two points of the limit."""
    return float(rng.uniform(0.3, 0.83) if rng.random() < 0.5 else rng.uniform(0.87, 0.97))


def white(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    fill = fill_of(rng)
    pixels = on_ground(*outline(rng, side, fill), 255.0)
    return pixels, Truth(packshot=True, near=True, pure=True, fill=fill >= 0.85)


def near_white(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    fill = fill_of(rng)
    ground = np.full((side, side, 3), rng.uniform(244, 251)) + rng.normal(0, 0.8, (side, side, 1))
    pixels = on_ground(*outline(rng, side, fill), ground)
    return pixels, Truth(packshot=True, near=True, pure=False, fill=fill >= 0.85)


def shadow(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    """On white with a soft shadow below, which belongs to neither ground nor product."""
    fill = fill_of(rng)
    product, coverage = outline(rng, side, fill)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    bottom = np.flatnonzero(coverage.any(axis=1))[-1] / side * 2 - 1
    dark = 60 * np.exp(-((x / (0.35 * fill)) ** 2) - ((y - bottom) / 0.04) ** 2)
    pixels = on_ground(product, coverage, 255.0 - dark[:, :, None])
    return pixels, Truth(packshot=True, near=True, pure=None, fill=fill >= 0.85)


def transparent(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    fill = fill_of(rng)
    product, coverage = outline(rng, side, fill)
    hidden = np.full((side, side, 3), rng.uniform(0, 255, 3))
    color = np.where(
        coverage[:, :, None] > 0, product / np.maximum(coverage, 1e-3)[..., None], hidden
    )
    pixels = np.dstack([np.clip(color, 0, 255), coverage * 255])
    return pixels, Truth(packshot=True, near=True, pure=True, fill=fill >= 0.85)


def scene(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    label = list(OUTLINES)[rng.integers(len(OUTLINES))]
    small = draw_product(label, number=int(rng.integers(10_000)), view=0)
    ground = cv2.resize(rng.uniform(0, 90, (5, 5, 3)), (128, 128), interpolation=cv2.INTER_CUBIC)
    pixels = cv2.resize(np.clip(small * 1.0 - ground, 0, 255), (side, side))
    return pixels, Truth(packshot=False, near=False, pure=False, fill=None)


def white_wall(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    """A room with a white wall: white above, or to one side, and furniture below."""
    pixels, truth = scene(rng, side)
    edge = int(side * rng.uniform(0.3, 0.75))
    pixels[:edge] = 255
    turned = np.rot90(pixels, int(rng.integers(4))) if rng.random() < 0.5 else pixels
    return np.ascontiguousarray(turned), truth


def framed(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    """A scene or a packshot within a frame of 3 px to 5 % of the side."""
    pixels, _ = (scene if rng.random() < 0.5 else white)(rng, side)
    width = int(rng.integers(3, max(4, side // 20)))
    color = rng.uniform(0, 225, 3) if rng.random() < 0.7 else np.full(3, rng.uniform(0, 60))
    inner = cv2.resize(pixels, (side - 2 * width, side - 2 * width))
    near = np.abs(inner - color).max(axis=2) < 45
    inner = np.where(near[:, :, None], (inner + 110) % 235, inner)
    whole = np.empty_like(pixels)
    whole[:] = color
    whole[width:-width, width:-width] = inner
    return whole, Truth(packshot=False, near=False, pure=False, fill=None, frame=True)


def white_on_white(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    """A product of levels 246 to 254 on 255, with darker details in the middle of it."""
    fill = fill_of(rng)
    product, coverage = outline(rng, side, fill)
    pale = 255 - (255 - product) / 210 * rng.uniform(3, 9)
    pixels = pale * (coverage > 0)[:, :, None] + 255.0 * (coverage == 0)[:, :, None]
    label = max(4, side // 12)
    middle = slice(side // 2 - label, side // 2 + label)
    pixels[middle, middle] = rng.uniform(60, 180)
    return pixels, Truth(packshot=True, near=True, pure=True, fill=fill >= 0.85)


def cut(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    """A product on white that goes beyond the lower edge, as persons do."""
    pixels, _ = white(rng, side)
    covered = np.flatnonzero((pixels.min(axis=2) < 240).any(axis=1))
    top, bottom = covered[0], covered[-1]
    keep = int(top + (bottom - top) * rng.uniform(0.5, 0.8))
    whole = np.full_like(pixels, 255.0)
    whole[side - keep :] = pixels[:keep]
    return whole, Truth(packshot=True, near=None, pure=None, fill=None)


def colored(rng: Rng, side: int) -> tuple[Pixels, Truth]:
    """A product on one color that is not white."""
    ground = np.clip(rng.uniform(60, 228) + rng.uniform(-25, 0, 3), 0, 228)
    pixels = on_ground(*outline(rng, side, fill_of(rng)), np.full((side, side, 3), ground))
    return pixels, Truth(packshot=False, near=False, pure=False, fill=None)


KINDS: dict[str, Callable[[Rng, int], tuple[Pixels, Truth]]] = {
    "pure white": white,
    "near white": near_white,
    "white with shadow": shadow,
    "transparent": transparent,
    "white on white": white_on_white,
    "cut by an edge": cut,
    "one color": colored,
    "scene": scene,
    "white wall": white_wall,
    "framed": framed,
}


def photos_in(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def generate(folder: Path, scenes: Path | None, seed: int) -> Iterator[tuple[str, str, Truth]]:
    """Write the images; yields name, kind and answers of each."""
    rng = np.random.default_rng(seed)
    photos = photos_in(scenes)
    for kind, make in KINDS.items():
        for number in range(EACH):
            side = int(rng.choice([300, 500, 800, 1200]))
            pixels, truth = make(rng, side)
            image = Image.fromarray(np.clip(np.round(pixels), 0, 255).astype(np.uint8))
            name = f"{kind.replace(' ', '-')}-{number:02d}"
            if kind == "scene" and photos and number % 2:
                path = photos[int(rng.integers(len(photos)))]
                name += path.suffix
                (folder / name).write_bytes(path.read_bytes())
            elif kind == "transparent":
                name += ".png" if number % 2 else ".webp"
                image.save(folder / name, lossless=True)
            elif number % 5 == 0:
                name += ".png"
                image.save(folder / name)
            else:
                name += ".jpg"
                image.save(folder / name, quality=int(rng.integers(70, 96)))
            yield name, kind, truth


def judged(folder: Path, names: list[str]) -> AuditReport:
    catalog = Catalog(pl.DataFrame({"image": names}), "bench", root=str(folder))
    rules = parse_rules(RULES, key="bench", where="bench")
    return audit(catalog, remember=False, rules=[rules])


def answers(report: AuditReport, rule: str) -> list[bool | None]:
    """Whether each image keeps a rule; None where that cannot be said."""
    assert report.rules is not None
    number = [one.rule.id for one in report.rules.rules].index(rule)
    kept: list[bool | None] = [True] * len(report.files)
    for row in report.rules.broken.filter(rule=number)["row"]:
        kept[row] = False
    for row in report.rules.unsure.filter(rule=number)["row"]:
        kept[row] = None
    return kept


def agreement(scenes: Path | None, seed: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = list(generate(folder, scenes, seed))
        report = judged(folder, [name for name, _, _ in made])
        assert report.rules is not None
        shots = [shot == "packshot" for shot in report.rules.facts["shot"]]
        questions = {
            "packshot": shots,
            "frame": [kept is False for kept in answers(report, "frame")],
        }
        questions |= {rule: answers(report, rule) for rule in ("near", "pure", "fill")}
        print(f"{len(made)} images; right / cannot tell / wrong")
        print("kind".ljust(20), *(question.rjust(14) for question in questions))
        total: dict[str, Counter[str]] = {question: Counter() for question in questions}
        for kind in KINDS:
            rows = [row for row, (_, each, _) in enumerate(made) if each == kind]
            cells = []
            for question, said in questions.items():
                counts: Counter[str] = Counter()
                for row in rows:
                    truth = getattr(made[row][2], question)
                    if truth is None:
                        counts["no answer" if said[row] is None else "free"] += 1
                    elif said[row] is None:
                        counts["unsure"] += 1
                    else:
                        counts["right" if said[row] == truth else "wrong"] += 1
                        if said[row] != truth:
                            print(
                                f"  wrong: {made[row][0]}: {question}", report.rules.facts.row(row)
                            )
                total[question] += counts
                asked = counts["right"] + counts["unsure"] + counts["wrong"]
                text = f"{counts['right']}/{counts['unsure']}/{counts['wrong']}"
                cells.append((text if asked else f"({counts['no answer']} unsure)").rjust(14))
            print(kind.ljust(20), *cells)
        print("all".ljust(20), *(
            f"{c['right']}/{c['unsure']}/{c['wrong']}".rjust(14) for c in total.values()
        ))  # fmt: skip


def folder_shots(folder: Path, wanted: str) -> None:
    """How many photos of a folder are what they are known to be."""
    catalog = open_catalog(str(folder))
    names = [str(Path(ref)) for ref in catalog.refs()]
    report = judged(folder, names)
    assert report.rules is not None
    facts = report.rules.facts
    border = int((facts["near_white"] >= 0.98).sum())
    print(
        f"{folder.name}: {len(facts)} photos, {dict(Counter(facts['shot']))}, wanted {wanted}; "
        f"near-white border {border}, framed {int((facts['frame_px'] > 0).sum())}"
    )


def speed() -> None:
    """Seconds of one core for an image: a plain audit, and what the rules add."""
    rng = np.random.default_rng(0)
    for side in (500, 1000, 2000):
        pixels, _ = white(rng, side)
        image = Image.fromarray(np.round(pixels).astype(np.uint8))
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "a.jpg"
            image.save(path, quality=90)
            data = path.read_bytes()
            times = {
                "plain audit": timed(partial(inspect, str(path))),
                "rules": timed(partial(measure_file, data)),
                "decoding": timed(partial(decode, data)),
                "at half the size": timed(partial(measured_at, data, side // 2)),
            }
        print(f"{side} px:", ", ".join(f"{name} {t * 1000:.1f} ms" for name, t in times.items()))


def measured_at(data: bytes, side: int) -> object:
    return measure_pixels(decode(data, at_least_px=side))


def timed(action: Callable[[], object]) -> float:
    spent = []
    for _ in range(9):
        begin = time.process_time()
        action()
        spent.append(time.process_time() - begin)
    return median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packshots", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.speed:
        speed()
        return
    agreement(options.scenes, options.seed)
    if options.packshots:
        folder_shots(options.packshots, "packshot")
    if options.scenes:
        folder_shots(options.scenes, "scene")


if __name__ == "__main__":
    main()
