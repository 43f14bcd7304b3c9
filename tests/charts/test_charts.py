"""Charts: scales in closed form, drawings as XML that holds what it should."""

from __future__ import annotations

import base64
import io
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from PIL import Image

from shopsight.charts import bars, curves, matrix, scatter, svg

finite = st.floats(-1e6, 1e6, allow_nan=False)
SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing: Markup) -> ET.Element:
    return ET.fromstring(str(drawing))


def texts(drawing: Markup) -> list[str]:
    return [element.text or "" for element in parsed(drawing).iter("text")]


@given(finite, st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_round_and_inside(low: float, span: float, count: int) -> None:
    found = svg.ticks(low, low + span, count)
    step = svg.round_step(span / count)
    power = 10.0 ** math.floor(math.log10(step) + 1e-9)
    assert round(step / power, 6) in (1, 2, 5, 10)
    assert all(low - step * 1e-6 <= tick <= low + span + step * 1e-6 for tick in found)
    assert len(found) <= count + 1


@given(finite, finite)
def test_a_round_span_holds_its_values(a: float, b: float) -> None:
    low, high = svg.round_span(min(a, b), max(a, b))
    assert low < high
    slack = 1e-6 * (high - low)
    assert low - slack <= min(a, b)
    assert max(a, b) <= high + slack


def test_scales_meet_their_ends() -> None:
    plain = svg.Scale(0, 10, 100, 0)
    assert (plain(0), plain(10), plain(5)) == (100, 0, 50)
    log = svg.Scale(1, 100, 0, 200, log=True)
    assert log(10) == pytest.approx(100)
    assert log.ticks() == [1, 2, 5, 10, 20, 50, 100]
    assert svg.Scale(1, 3, 0, 1, whole=True).ticks(8) == [1, 2, 3]
    assert svg.Scale(4, 4, 0, 10)(4) == 5


def test_numbers_are_short() -> None:
    assert [svg.number(v) for v in (0.30000001, 0, 1500, 12500, 3_600_000, 2.5e9)] == [
        "0.3",
        "0",
        "1500",
        "12.5k",
        "3.6M",
        "2.5G",
    ]
    assert svg.percent(0.875) == "87.5\N{NO-BREAK SPACE}%"


def test_curves_skip_what_is_not_known() -> None:
    chart = curves.line_chart(
        [
            curves.Curve("training", [1, 2, 3], [0.9, None, 0.3]),
            curves.Curve("validation", [1, 2, 3], [float("nan"), 0.8, 0.6], "b"),
        ],
        x_title="epoch",
        y_title="loss",
        from_zero=True,
        marks=[curves.Mark(3, "kept")],
    )
    root = parsed(chart)
    dots = [c for c in root.iter("circle") if c.find("title") is not None]
    assert len(dots) == 4
    assert {"training", "validation", "kept", "1", "2", "3"} <= set(texts(chart))
    assert curves.line_chart([curves.Curve("a", [1], [None])], x_title="", y_title="") == ""


def test_one_epoch_is_a_dot() -> None:
    chart = curves.line_chart(
        [curves.Curve("a", [1], [0.5])], x_title="epoch", y_title="accuracy", percent=True
    )
    assert len(list(parsed(chart).iter("circle"))) == 1


def test_names_are_escaped() -> None:
    name = "<script>alert('x')</script> & co"
    cell = np.array([0]), np.array([1]), np.array([3])
    drawings = [
        curves.line_chart(
            [curves.Curve(name, [1, 2], [1, 2]), curves.Curve("b", [1, 2], [1, 2])],
            x_title=name,
            y_title=name,
        ),
        bars.bar_chart([bars.Bar(name, 1, name)], description=name),
        scatter.scatter_chart([scatter.Point(name, 1, 0.5)], x_title=name, y_title=name),
        matrix.confusion_chart(*cell, labels=[name, 'a "quoted" one']),
        matrix.confusion_chart(*cell, labels=[name] * 60),
    ]
    for drawing in drawings:
        assert "<script" not in drawing
        assert parsed(drawing).tag == "svg"


def test_long_bar_charts_say_what_they_leave_out() -> None:
    many = [bars.Bar(f"class {k}", 100 - k, str(100 - k)) for k in range(100)]
    words = texts(bars.bar_chart(many, description="d", limit=10))
    assert "90 more between" in words
    assert {"class 0", "class 4", "class 95", "class 99"} <= set(words)
    assert "class 50" not in words
    assert bars.bar_chart([], description="d") == ""


@given(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 0.3))
def test_the_interval_strip_keeps_all_in_its_frame(
    value: float, below: float, above: float
) -> None:
    low, high = max(value - below, 0), min(value + above, 1)
    root = parsed(bars.interval_strip(value, low, high))
    width = float(root.attrib["viewBox"].split()[2])
    xs = [float(e.attrib[a]) for e in root.iter() for a in ("x1", "x2", "cx") if a in e.attrib]
    assert all(0 <= x <= width for x in xs)


points = st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=15)


@given(points)
def test_nothing_beats_the_pareto_front(pairs: list[tuple[int, int]]) -> None:
    placed = [scatter.Point(str(k), x, y) for k, (x, y) in enumerate(pairs)]
    front = scatter.pareto_front(placed)
    for point in placed:
        beaten = any(
            other.x <= point.x and other.y >= point.y and (other.x, other.y) != (point.x, point.y)
            for other in placed
        )
        same = any((f.x, f.y) == (point.x, point.y) for f in front)
        assert same != beaten
    assert [p.x for p in front] == sorted(p.x for p in front)


def test_a_scatter_names_every_point_once() -> None:
    placed = [
        scatter.Point("small", 1.2, 0.7, 0.65, 0.75),
        scatter.Point("middle", 12, 0.86),
        scatter.Point("large", 150, 0.91, 0.9, 0.92),
    ]
    chart = scatter.scatter_chart(placed, x_title="latency, ms", y_title="accuracy", log_x=True)
    assert [t for t in texts(chart) if t in {"small", "middle", "large"}] == [
        "large",
        "middle",
        "small",
    ]
    assert len([e for e in parsed(chart).iter("line") if e.attrib["class"] == "whisker"]) == 2
    assert scatter.scatter_chart([], x_title="", y_title="") == ""


def cells(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), 20)
    predicted = np.where(rng.random(len(truth)) < 0.8, truth, rng.integers(0, classes, len(truth)))
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth, predicted), 1)
    rows, columns = np.nonzero(table)
    return rows, columns, table[rows, columns]


def test_a_small_matrix_writes_its_counts() -> None:
    rows, columns, count = cells(10)
    chart = matrix.confusion_chart(rows, columns, count, labels=[f"c{k}" for k in range(10)])
    written = [t for t in texts(chart) if t.isdigit()]
    assert sum(int(t) for t in written) == 200
    titles = [t.text for t in parsed(chart).iter("title")]
    assert len(titles) == len(count)
    assert f"c{rows[0]}, predicted c{columns[0]}: {count[0]} of 20" in str(titles[0])


@pytest.mark.parametrize("classes", [41, 200])
def test_a_large_matrix_is_a_image_of_its_cells(classes: int) -> None:
    rows, columns, count = cells(classes)
    chart = matrix.confusion_chart(rows, columns, count, labels=[f"c{k}" for k in range(classes)])
    assert len(chart) < 120_000
    href = next(parsed(chart).iter("image")).attrib["href"]
    image = Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2]))).convert("RGBA")
    assert image.size == (classes, classes)
    pixels = np.asarray(image)
    seen = np.zeros((classes, classes), bool)
    seen[rows, columns] = True
    assert ((pixels[..., 3] > 0) == seen).all()
    wrong = rows != columns
    assert (pixels[rows[wrong], columns[wrong], :3] == matrix.WRONG_RGB).all()
    assert (pixels[rows[~wrong], columns[~wrong], :3] == matrix.RIGHT_RGB).all()


def test_the_most_confused_classes_are_found() -> None:
    truth, predicted = np.array([0, 1, 2, 3, 3]), np.array([0, 2, 1, 3, 4])
    count = np.array([100, 5, 4, 100, 1])
    found = matrix.most_confused(truth, predicted, count, classes=6, most=3)
    assert found.tolist() == [1, 2, 3]
    chart = matrix.confusion_of(found, truth, predicted, count, labels=list("abcdef"))
    assert sorted(t for t in texts(chart) if t.isdigit()) == ["100", "4", "5"]
    assert not len(matrix.most_confused(truth[:1], predicted[:1], count[:1], classes=6))
