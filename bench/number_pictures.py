"""The pictures of docs/numbers.md: one for each number of a report, drawn from figures given here.

python bench/number_pictures.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shopsight.charts import svg
from shopsight.metrics.intervals import wilson

FOLDER = Path(__file__).parents[1] / "docs" / "images"
WIDTH_PX = 460.0
SIDE_PX, STEP_PX = 14.0, 18.0
# Colors of templates/style.css: an image in a page does not see the page's.
STYLE = """<style>
:root { --line: #e3e2dd; --ink: #1d1d1b; --muted: #65645f; --a: #2f5fd0; --b: #d9772b; }
@media (prefers-color-scheme: dark) { :root { --line: #303238; --ink: #ececea; --muted: #a5a59f;
  --a: #82a6ff; --b: #f0a560; } }
.chart { font: 12px ui-sans-serif, system-ui, sans-serif; fill: var(--ink); }
.small { fill: var(--muted); font-size: 11.5px; }
.right { fill: var(--a); } .wrong { fill: var(--b); } .empty { fill: var(--line); }
.frame { fill: none; stroke: var(--line); stroke-width: 1.5; }
.bar { stroke: var(--a); stroke-width: 6; } .axis { stroke: var(--line); stroke-width: 1.5; }
.dashed { stroke: var(--muted); stroke-dasharray: 3 4; fill: none; }
</style>"""


def main() -> None:
    for draw in PICTURES:
        parts, height_px = draw()
        name = f"number-{draw.__name__.replace('_', '-')}"
        drawn = svg.drawing(
            [STYLE, *parts],
            width_px=WIDTH_PX,
            height_px=height_px,
            description=str(draw.__doc__).strip(),
        )
        path = FOLDER / f"{name}.svg"
        text = str(drawn).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")
        print(path)


Picture = tuple[list[str], float]


def accuracy() -> Picture:
    """88 of 100 squares are blue: right; 12 are orange: wrong."""
    parts = squares(10, 10, ["right"] * 88 + ["wrong"] * 12, columns=25)
    return [*parts, svg.text(10, 100, "88 of 100 photos right: 88 %", "small")], 110


def interval() -> Picture:
    """Accuracies of 40 other samples of 100 photos, and the interval of one of them around 88 %."""
    random = np.random.default_rng(3)
    x = svg.Scale(0.7, 1.0, 20, WIDTH_PX - 20)
    parts, stacked = [], dict[float, int]()
    for value in random.binomial(100, 0.88, 40) / 100:
        stacked[value] = stacked.get(value, 0) + 1
        parts.append(svg.circle(x(value), 79 - 8 * stacked[value], 3.2, "wrong"))
    low, high = (float(ends[0]) for ends in wilson(np.array([88]), np.array([100])))
    parts += axis(x, 84)
    parts.append(svg.line(x(low), 118, x(high), 118, "bar"))
    parts.append(svg.circle(x(0.88), 118, 6, "right"))
    words = f"ours: 88 %, interval {100 * low:.0f} to {100 * high:.0f} %"
    parts.append(svg.text(x(low), 138, words, "small"))
    parts.append(svg.text(20, 11, "each dot: the same model on 100 other photos", "small"))
    return parts, 148


def families() -> Picture:
    """Twelve photos of four products: all photos of a product are right, or all are wrong."""
    parts = []
    for index, kind in enumerate(("right", "right", "wrong", "right")):
        left = 20 + 106 * index
        parts.append(svg.rect(left, 14, 92, 44, "frame", radius_px=8))
        parts += squares(left + 13, 29, [kind] * 3, columns=3, step_px=26)
        parts.append(svg.text(left + 46, 76, f"product {index + 1}", "small", anchor="middle"))
    return [*parts, svg.text(20, 102, "12 photos, but 4 observations", "small")], 112


def balanced_accuracy() -> Picture:
    """A class of 40 photos with 38 right, and a class of 10 with 4 right."""
    parts = squares(90, 10, ["right"] * 38 + ["wrong"] * 2, columns=20)
    parts += squares(90, 60, ["right"] * 4 + ["wrong"] * 6, columns=20)
    parts += [svg.text(20, 30, "shirt"), svg.text(20, 71, "scarf")]
    words = "accuracy 42 of 50 = 84 %; balanced (95 % + 40 %) / 2 = 68 %"
    return [*parts, svg.text(20, 102, words, "small")], 112


def recall() -> Picture:
    """Of 20 scarves 16 were found; of 18 photos called scarf, 16 are scarves."""
    parts = squares(90, 10, ["right"] * 16 + ["wrong"] * 4, columns=20)
    parts += squares(90, 44, ["right"] * 16 + ["wrong"] * 2, columns=20)
    parts += [svg.text(10, 22, "scarves"), svg.text(10, 56, "called scarf")]
    words = "recall 16 of 20 = 80 %; precision 16 of 18 = 89 %; F1, between them, 84 %"
    return [*parts, svg.text(10, 84, words, "small")], 94


def calibration() -> Picture:
    """Stated confidence against the fraction that is right: below the diagonal is too sure."""
    x, y = svg.Scale(0.5, 1.0, 60, 230), svg.Scale(0.5, 1.0, 160, 20)
    stated = [0.55, 0.65, 0.75, 0.85, 0.95]
    true = [0.54, 0.60, 0.68, 0.76, 0.88]
    parts = [svg.line(x(0.5), y(0.5), x(1), y(1), "dashed")]
    parts += [svg.line(60, 160, 230, 160, "axis"), svg.line(60, 160, 60, 20, "axis")]
    for said, right in zip(stated, true, strict=True):
        parts.append(svg.line(x(said), y(said), x(said), y(right), "axis"))
        parts.append(svg.circle(x(said), y(right), 5, "right"))
    parts.append(svg.text(145, 180, "confidence", "small", anchor="middle"))
    parts.append(svg.text(50, 90, "right", "small", anchor="end"))
    parts.append(svg.text(250, 60, "of the photos with 95 %", "small"))
    parts.append(svg.text(250, 76, "confidence, 88 % are right:", "small"))
    parts.append(svg.text(250, 92, "7 points too sure", "small"))
    return parts, 190


def comparison() -> Picture:
    """Three models behind the best one: one clearly, two by less than chance explains."""
    x = svg.Scale(-0.1, 0.02, 120, WIDTH_PX - 20)
    parts = [svg.line(x(0), 10, x(0), 104, "dashed")]
    rows = [("model B", -0.012, 0.016), ("model C", -0.02, 0.024), ("model D", -0.06, 0.02)]
    for index, (name, value, half) in enumerate(rows):
        y = 24 + 30 * index
        parts.append(svg.text(20, y + 4, name))
        parts.append(svg.line(x(value - half), y, x(value + half), y, "bar"))
        parts.append(svg.circle(x(value), y, 6, "right"))
    parts.append(svg.text(x(0), 122, "the best, A", "small", anchor="middle"))
    parts.append(svg.text(20, 144, "A, B and C cannot be told apart; D is worse", "small"))
    return parts, 154


def decisions() -> Picture:
    """Training photos fit the weights, validation photos choose, test photos only measure."""
    parts = []
    for index, (part, use) in enumerate(
        (("train", "fit the weights"), ("validation", "choose settings"), ("test", "measure"))
    ):
        left = 20 + 145 * index
        parts.append(svg.rect(left, 14, 130, 56, "frame", radius_px=8))
        parts.append(svg.text(left + 65, 38, part, anchor="middle"))
        parts.append(svg.text(left + 65, 57, use, "small", anchor="middle"))
    return [*parts, svg.text(310, 90, "the score to quote", "small")], 100


PICTURES: tuple[Callable[[], Picture], ...] = (
    accuracy,
    interval,
    families,
    balanced_accuracy,
    recall,
    calibration,
    comparison,
    decisions,
)


def squares(
    left_px: float, top_px: float, kinds: Sequence[str], *, columns: int, step_px: float = STEP_PX
) -> list[str]:
    """A square for each photo, row by row."""
    return [
        svg.rect(
            left_px + step_px * (index % columns),
            top_px + step_px * (index // columns),
            SIDE_PX,
            SIDE_PX,
            kind,
            radius_px=3,
        )
        for index, kind in enumerate(kinds)
    ]


def axis(x: svg.Scale, y_px: float) -> list[str]:
    """A line with percentages."""
    parts = [svg.line(x.start_px, y_px, x.end_px, y_px, "axis")]
    for value in x.ticks(4):
        parts.append(svg.text(x(value), y_px + 16, svg.percent(value), "small", anchor="middle"))
    return parts


if __name__ == "__main__":
    main()
