"""A model of labels that are paths: trained, scored by level, asked for the deepest sure path."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight import api
from shopsight.errors import ConfigError
from shopsight.io.json_files import read_json
from shopsight.label_tree import LabelTree
from shopsight.runs.run_folder import RunFolder
from tests.helpers import make_products, run_command, train_small

PATH_OF = {
    "dress": "Apparel > Clothing, all > Dresses",
    "skirt": "Apparel > Clothing, all > Skirts",
    "shoe": "Apparel > Shoes",
    "hat": "Apparel",
    "bag": "Bags",
}
COUNTS = {"dress": 20, "skirt": 20, "shoe": 20, "hat": 20, "bag": 20}


def shop(folder: Path, counts: dict[str, int]) -> Path:
    """A table of rendered products whose labels are paths."""
    rows = ["image,category,product"]
    for label, count in counts.items():
        made = make_products(folder / label, per_class=count, classes=(label,))
        lines = made.table.read_text(encoding="utf-8").splitlines()[1:]
        for line in lines:
            image, _, product = line.split(",")
            rows.append(f'{label}/{image},"{PATH_OF[label]}",{product}')
    table = folder / "shop.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return table


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop(tmp_path_factory.mktemp("shop"), COUNTS)


@pytest.fixture(scope="module")
def run(products: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("paths") / "run"
    return train_small(products, out, "training.epochs=4", "data.test=0.3")


def test_the_head_is_flat_over_the_labels_that_are_used(run: Path) -> None:
    info = api.load(run).info
    assert info.labels == tuple(sorted(PATH_OF.values()))


def test_scores_by_level_are_in_the_run_the_report_and_the_command(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = read_json(RunFolder(run).scores_file)["test"]
    metrics = {name: one["value"] for name, one in scores["metrics"].items()}
    assert metrics["level_1_accuracy"] >= metrics["level_2_accuracy"] >= metrics["accuracy"]
    assert "level_3_accuracy" not in metrics
    assert scores["metrics"]["hierarchical_f1"]["low"] < metrics["hierarchical_f1"]
    for level in scores["levels"]:
        right = [one for one in level["confusion"] if one["label"] == one["predicted"]]
        accuracy = sum(one["images"] for one in right) / scores["counts"]["images"]
        assert accuracy == pytest.approx(metrics[f"level_{level['level']}_accuracy"])
    assert [level["classes"] for level in scores["levels"]] == [2, 4]
    page = RunFolder(run).report_file.read_text(encoding="utf-8")
    for words in ("Accuracy, level 1", "Recall, hierarchical", "Level 2", "Whole labels"):
        assert words in page
    shown = run_command(capsys, ("evaluate", run)).out
    assert "level 1 accuracy" in shown
    assert "hierarchical f1" in shown


def test_labels_without_paths_have_no_levels(tiny_run: Path) -> None:
    scores = read_json(RunFolder(tiny_run).scores_file)["test"]
    assert "levels" not in scores
    assert not [name for name in scores["metrics"] if "level" in name or "hierarch" in name]


def test_the_deepest_path_is_that_of_the_probabilities(run: Path, products: Path) -> None:
    model = api.load(run)
    tree = LabelTree.of(model.labels)
    assert tree is not None
    every = len(model.labels)
    for confidence in (0.5, 0.8, 1.0):
        found = list(api.predict(model, str(products), top=every, confidence=confidence))
        assert len(found) == sum(COUNTS.values())
        for one in found:
            given = dict(zip(one.labels, one.probabilities, strict=True))
            row = np.array([[given[label] for label in model.labels]])
            node, value = tree.deepest(row, confidence)
            assert one.node == (tree.nodes[node[0]] if node[0] >= 0 else "")
            assert one.node_probability == pytest.approx(value[0], abs=1e-6)
    assert {one.node for one in api.predict(model, str(products))} == {None}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_the_deepest_path_has_columns_where_it_is_asked_for(
    run: Path, products: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"found{suffix}"
    run_command(capsys, ("predict", run, products, "--confidence", "0.8", "--out", out))
    read = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".jsonl": pl.read_ndjson}[suffix]
    table = read(out)
    assert table.columns[-6:-4] == ["node", "node_probability"]
    expected = list(api.predict(run, str(products), confidence=0.8))
    assert table["node"].fill_null("").to_list() == [one.node for one in expected]
    assert table["node_probability"].to_list() == pytest.approx(
        [one.node_probability for one in expected], abs=1e-5
    )
    run_command(capsys, ("predict", run, products, "--out", out))
    assert "node" not in read(out).columns


def test_the_command_prints_the_path(
    run: Path, products: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run_command(capsys, ("predict", run, products, "--confidence", "0.5")).out.splitlines()
    expected = list(api.predict(run, str(products), confidence=0.5))
    for line, one in zip(lines, expected, strict=True):
        assert f": {one.node or 'no path is sure enough'}" in line
        assert "; labels: " in line


def test_confidences_that_nothing_can_be_said_for(run: Path, tiny_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"0\.4 is not between 0\.5 and 1"):
        api.predict(run, "x.jpg", confidence=0.4)
    with pytest.raises(ConfigError, match="labels are paths such as"):
        api.predict(tiny_run, "x.jpg", confidence=0.9)


def test_rare_paths_are_folded_for_the_run_and_for_other_data(
    tmp_path: Path, said: list[str]
) -> None:
    data = shop(tmp_path / "tail", {"dress": 20, "skirt": 2, "hat": 20, "bag": 20})
    run = train_small(data, tmp_path / "run", "data.on_rare=parent")
    line = "rare: folded 1 of 4 classes, 2 images, into 1 path above, e.g. "
    assert any(one.startswith(line) for one in said)
    above = "Apparel > Clothing, all"
    assert RunFolder(run).state()["rare"]["folded"] == {PATH_OF["skirt"]: "Apparel"}
    assert above not in api.load(run).labels
    other = api.evaluate(run, data)
    assert other.predictions.labels == ("Apparel", PATH_OF["dress"], "Bags")
    assert any(one.startswith("as in training, 2 images of 1 class are labeled") for one in said)


def test_a_csv_guards_what_a_spreadsheet_would_run(run: Path, products: Path) -> None:
    out = products.parent / "cells.csv"
    list(api.predict(run, str(products), confidence=0.9, out=out))
    with out.open(encoding="utf-8", newline="") as file:
        assert all(not row["node"].startswith(("=", "+", "-", "@")) for row in csv.DictReader(file))
