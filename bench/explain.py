"""Deletion test of maps: how fast the answer goes where a map says it comes from.

    python bench/explain.py RUN --images 200

RUN is a finished run whose network has exact maps. Of its test images some are taken by chance. Of
each, the first 5, 10, 20 ... 100 % of the pixels are covered with the mean color, in the order of
the exact class-activation map (cam), of the occlusion map, and of a map of the same coarseness
that is random. What is left of the predicted label's probability is printed as its mean, and as
the area below the curve, which is smaller the better the map; both with 95 % intervals from 2,000
resamples of the images, and the area's difference to the random map image by image.

Source: Petsiuk et al. 2018, "RISE", section 4.2. Appends to --results as one JSON line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from shopsight.images.decode import header, read_bytes
from shopsight.images.model_input import preprocess_image
from shopsight.images.undo_preprocess import place_in_square
from shopsight.inference.deletion import heat_in_square, hottest_first, with_covered
from shopsight.inference.explain import cells_for, covering_color
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.read_options import ReadOptions
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import RunFolder

FRACTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
METHODS = ("cam", "occlusion", "random")
RESAMPLES = 2000


def curves(predictor: Predictor, data: bytes, rng: np.random.Generator) -> np.ndarray:
    """Of one image: the label's probability by method and fraction."""
    preprocess = predictor.preprocess
    square = preprocess_image(data, preprocess)
    number = int(predictor.predict_batch(square[None])[1].argmax())
    label, color = predictor.labels[number], covering_color(predictor)
    exact = cells_for(predictor, square, label, method="cam")[1]
    maps = {
        "cam": exact,
        "occlusion": cells_for(predictor, square, label, method="occlusion")[1],
        "random": rng.random(exact.shape).astype(np.float32),
    }
    known = header(data)
    place = place_in_square(known.width, known.height, preprocess)
    covered = []
    for method in METHODS:
        order = hottest_first(heat_in_square(maps[method], place, preprocess.size_px))
        covered += [with_covered(square, order, one, color=color) for one in FRACTIONS]
    found = predictor.probabilities(predictor.predict_batch(np.stack(covered))[1])[:, number]
    return found.reshape(len(METHODS), len(FRACTIONS))


def areas(found: np.ndarray) -> np.ndarray:
    """The area below each curve, by trapezoids."""
    steps = np.diff(FRACTIONS)
    return ((found[..., 1:] + found[..., :-1]) / 2 * steps).sum(axis=-1)


def interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """The mean of a value for each image, with its 95 % interval."""
    chosen = rng.integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("bench/results/explain.jsonl"))
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    with use_run_access(RunAccess.by_flags(ReadOptions())):
        catalog = RunFolder(options.run).catalog()
    predictor = load(options.run, device="cpu", engine="torch")
    rows = np.flatnonzero((catalog.table["split"] == "test").to_numpy())
    rows = np.sort(rng.choice(rows, min(options.images, len(rows)), replace=False))
    refs = catalog.take(rows).refs()
    found = np.stack([curves(predictor, read_bytes(one, catalog.access), rng) for one in refs])
    area = areas(found)
    row = {"run": options.run.name, "backbone": predictor.info.backbone, "images": len(rows)}
    row |= {"seed": options.seed, "fractions": list(FRACTIONS)}
    print(f"{len(rows)} test images; probability with so much covered")
    print("method    | " + " ".join(f"{100 * one:5.0f} %" for one in FRACTIONS) + " | area")
    for place, method in enumerate(METHODS):
        means = found[:, place].mean(axis=0)
        mean, low, high = interval(area[:, place], rng)
        shown = " ".join(f"{one:7.3f}" for one in means)
        print(f"{method:9} | {shown} | {mean:.3f} [{low:.3f}, {high:.3f}]")
        points = [interval(found[:, place, one], rng) for one in range(len(FRACTIONS))]
        row[method] = {"curve": points, "area": (mean, low, high)}
    for place, method in enumerate(METHODS[:-1]):
        mean, low, high = interval(area[:, place] - area[:, -1], rng)
        print(f"{method} less random: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
        row[f"{method} less random"] = (mean, low, high)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
