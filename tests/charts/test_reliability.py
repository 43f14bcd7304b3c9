from __future__ import annotations

from xml.etree import ElementTree

from shopsight.charts.reliability import ReliabilityBin, reliability_diagram

SPACE = "\N{NO-BREAK SPACE}"


def test_each_bin_says_its_figures_and_those_off_are_orange() -> None:
    chart = reliability_diagram(
        [
            ReliabilityBin(0, 0.5, 1200, 0.3, 0.25, 0.2, 0.4),
            ReliabilityBin(0.5, 1, 10, 0.9, 0.5, 0.6, 1.0),
        ]
    )
    titles = [part.text for part in ElementTree.fromstring(chart).iter("title")]
    assert titles == [
        f"1,200 images: confidence 30{SPACE}%, accuracy 25{SPACE}%; by chance 20{SPACE}% to "
        f"40{SPACE}%",
        f"10 images: confidence 90{SPACE}%, accuracy 50{SPACE}%; by chance 60{SPACE}% to "
        f"100{SPACE}%",
    ]
    hues = [part.get("class") for part in ElementTree.fromstring(chart).iter("line")]
    assert hues.count("line a") == hues.count("line b") == 1


def test_the_box_spans_what_chance_gives() -> None:
    chart = reliability_diagram([ReliabilityBin(0, 1, 10, 0.5, 0.5, 0.25, 0.75)])
    boxes = [part for part in ElementTree.fromstring(chart).iter("rect") if part.get("rx")]
    whole = next(part for part in ElementTree.fromstring(chart).iter("rect"))
    # A bar of height 50 % is as tall as a box from 25 to 75 %.
    assert boxes[0].get("height") == whole.get("height")
    assert "1 chart" not in reliability_diagram([])
