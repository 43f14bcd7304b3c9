"""Attributes beside the label: trained with gaps, predicted where they apply, measured."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight import api
from shopsight.bundle.attribute_info import ATTRIBUTES_FILE
from shopsight.bundle.read import read_bundle, read_info
from shopsight.catalog.catalog import Catalog
from shopsight.datasets.synthetic import SIZE_PX, draw_product
from shopsight.errors import BundleError, CatalogError, ConfigError
from shopsight.evaluation.predictions import Predictions
from shopsight.io.json_files import read_json
from shopsight.progress import use_listener
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.training.attribute_plan import AttributePlan, attribute_notes, plan_attributes
from tests.helpers import Recorder, edit_json, run_command

COLORS = {"red": (205, 40, 40), "green": (40, 170, 60), "blue": (40, 60, 205)}
LABELS = ("bag", "dress", "shirt")
PROBE = ("training.mode=probe", "framing.search=false", "preprocess.size_px=96")


def cloth_of(color: str, striped: bool) -> np.ndarray:
    """A cloth of the color, with white stripes or without."""
    cloth = np.full((SIZE_PX, SIZE_PX, 3), COLORS[color], np.float32)
    if striped:
        cloth[np.arange(SIZE_PX) // 6 % 2 == 0] = 245
    return cloth


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products in two photos: a color with 40 % missing; a pattern, never of bags; tags."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(5)
    rows = []
    for label in LABELS:
        for number in range(50):
            color, striped = list(COLORS)[number % 3], bool(rng.integers(2))
            spelled = color.upper() if number % 10 == 0 else color
            cells = [
                "" if rng.random() < 0.4 else spelled,
                "" if label == "bag" or rng.random() < 0.4 else ("plain", "striped")[striped],
                "; ".join([color, "striped"] if striped else [color]),
                "linen" if label == "shirt" and number < 8 else "",
            ]
            for view in range(2):
                name = f"{label}-{number}-{view}.png"
                cloth = cloth_of(color, striped)
                pixels = draw_product(label, number=number, view=view, cloth=cloth)
                Image.fromarray(pixels).save(folder / name)
                rows.append([name, label, f"{label}-{number}", color, str(striped), *cells])
    table = folder / "shop.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        header = ["image", "category", "product", "true", "is_striped"]
        writer.writerow([*header, "color", "pattern", "tags", "fabric"])
        writer.writerows(rows)
    return table


NAMES = ("color", "pattern", "tags", "fabric")


@pytest.fixture(scope="module")
def run(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe with attributes. Do not change it."""
    out = tmp_path_factory.mktemp("attributes") / "run"
    api.train(shop, out=out, attributes=NAMES, settings=PROBE)
    return out


def truth_of(shop: Path) -> pl.DataFrame:
    return pl.read_csv(shop, infer_schema_length=0)


def test_heads_of_the_bundle(run: Path) -> None:
    info = read_info(run / "model")
    assert info.attributes is not None
    heads = {head.name: head for head in info.attributes.heads}
    assert list(heads) == ["color", "pattern", "tags"]
    assert heads["color"].values == ("blue", "green", "red")
    assert heads["color"].labels is None
    assert heads["pattern"].values == ("plain", "striped")
    assert heads["pattern"].labels == ("dress", "shirt")
    assert not heads["pattern"].several
    assert heads["tags"].values == ("blue", "green", "red", "striped")
    assert heads["tags"].several
    assert heads["tags"].thresholds.keys() == set(heads["tags"].values)
    assert all(head.num_train > 60 and head.num_val > 0 for head in heads.values())
    assert all(head.temperature != 1.0 for head in heads.values())


def test_predictions_as_columns_and_only_where_they_apply(
    run: Path, shop: Path, tmp_path: Path
) -> None:
    for suffix in ("csv", "parquet"):
        out = tmp_path / f"out.{suffix}"
        list(api.predict(run, str(shop), out=out))
        table = pl.read_csv(out) if suffix == "csv" else pl.read_parquet(out)
        names = ["color", "pattern", "tags"]
        cells = [cell for name in names for cell in (name, f"{name} confidence")]
        assert table.columns[-4 - len(cells) : -4] == cells
        truth = truth_of(shop)
        assert (table["color"] == truth["true"]).mean() > 0.95
        assert (table["label"] == truth["category"]).mean() > 0.95
        bags = table.filter(pl.col("label") == "bag")
        assert bags["pattern"].null_count() == len(bags) > 90
        assert bags["pattern confidence"].null_count() == len(bags)
        others = table.with_columns(true=truth["is_striped"]).filter(pl.col("label") != "bag")
        striped = (
            pl.when(pl.col("true") == "True").then(pl.lit("striped")).otherwise(pl.lit("plain"))
        )
        assert others.select((pl.col("pattern") == striped).mean()).item() > 0.95
        exact = (
            truth["tags"].str.split("; ").list.sort() == table["tags"].str.split("; ").list.sort()
        )
        assert exact.mean() > 0.9
        assert table["color confidence"].is_between(0.34, 1.0).all()


def test_lines_lists_and_a_command_that_goes_on(
    run: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = shop.parent / "shirt-1-0.png"
    line = run_command(capsys, ("predict", run, image)).out
    assert "; color: green" in line
    rows = json.loads(run_command(capsys, ("predict", run, image, "--json")).out)
    assert rows[0]["attributes"]["color"]["values"] == ["green"]
    whole = tmp_path / "whole.jsonl"
    list(api.predict(run, str(shop), out=whole))
    answers = api.predict(run, str(shop), out=tmp_path / "again.jsonl")
    for _ in range(3):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    again = list(api.predict(run, str(shop), out=tmp_path / "again.jsonl"))
    assert (tmp_path / "again.jsonl").read_bytes() == whole.read_bytes()
    assert [one.name for one in again[0].attributes] == ["color", "pattern", "tags"]


def test_each_attribute_is_scored_with_an_interval(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = read_json(RunFolder(run).scores_file)["test"]["attributes"]
    assert [(one["name"], one["metric"]) for one in scores] == [
        ("color", "accuracy"),
        ("pattern", "accuracy"),
        ("tags", "micro_f1"),
    ]
    color = scores[0]
    assert color["images"] + color["missing"] == len(RunFolder(run).catalog().rows_of("test"))
    assert 0.9 < color["score"]["value"] <= 1.0
    assert color["score"]["low"] < color["score"]["value"]
    assert 0.3 < color["commonest"]["share"] < 0.7
    page = RunFolder(run).report_file.read_text(encoding="utf-8")
    assert '<section id="attributes">' in page
    shown = run_command(capsys, ("evaluate", run)).out
    assert "test attribute color: accuracy" in shown
    assert "with a value (always" in shown
    # Scored anew from the file alone.
    kept = Predictions.read(RunFolder(run).predictions_file("test"))
    assert [one.name for one in kept.attributes] == ["color", "pattern", "tags"]


def test_scores_on_other_data(run: Path, shop: Path, tmp_path: Path) -> None:
    """A value that the model does not have, and a column that is not there, are said."""
    table = (
        truth_of(shop)
        .drop("pattern")
        .with_columns(
            color=pl.when(pl.col("product") == "bag-3")
            .then(pl.lit("pink"))
            .otherwise(pl.col("color"))
        )
    )
    other = tmp_path / "other"
    shutil.copytree(shop.parent, other)
    table.write_csv(other / "shop.csv")
    bundle = tmp_path / "bundle"
    shutil.copytree(run / "model", bundle)
    found = {one.name: one for one in api.evaluate(bundle, other / "shop.csv").attributes}
    assert found["color"].num_unknown == 2
    assert found["pattern"].score is None
    assert "not measured" in found["pattern"].line()
    assert found["pattern"].num_missing == len(table)


def test_what_is_left_out_and_joined_is_said(run: Path, shop: Path, tmp_path: Path) -> None:
    audited = RunFolder(run).audited_catalog()
    lines = "\n".join(attribute_notes(audited, NAMES))
    assert "'BLUE' as 'blue'" in lines
    assert "attribute fabric is left out:" in lines
    assert "and 30 are needed" in lines
    assert "attribute pattern: 2 values, one value an image" in lines
    assert "applies to 2 of 3 labels" in lines


def test_a_bundle_whose_attributes_changed(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run / "model", folder)
    assert read_bundle(folder).golden.attributes is not None
    file = folder / ATTRIBUTES_FILE
    data = bytearray(file.read_bytes())
    data[-1] ^= 0x40
    file.write_bytes(bytes(data))
    with pytest.raises(BundleError, match="the weights changed"):
        read_bundle(folder)
    file.unlink()
    with pytest.raises(BundleError, match=r"no attributes\.safetensors"):
        read_bundle(folder)


def test_heads_that_do_not_give_their_golden_outputs(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(run / "model", folder)

    heads = read_json(folder / "model.json")["attributes"]
    heads["heads"][0]["values"].append("pink")
    edit_json(folder / "model.json", attributes=heads)
    with pytest.raises(BundleError, match="attributes of shape"):
        read_bundle(folder)


def test_a_bundle_without_attributes_says_nothing_of_them(tiny_run: Path) -> None:
    written = read_json(tiny_run / "model" / "model.json")
    assert "attributes" not in written
    assert api.load(tiny_run).attributes is None


def test_columns_that_are_not_there_fail_before_training(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no column 'colour'; did you mean 'color'"):
        api.train(shop, out=tmp_path / "run", attributes=["colour"], settings=PROBE)
    with pytest.raises(ConfigError, match="attributes"):
        api.train(shop, out=tmp_path / "run", attributes=["color"], folds=3, settings=PROBE)
    assert not (tmp_path / "run").exists()


def test_no_label_names_the_way(shop: Path, tmp_path: Path) -> None:
    table = truth_of(shop).select("image", "color", "pattern")
    bare = shop.parent / "bare.csv"
    table.write_csv(bare)
    with pytest.raises(CatalogError, match="--label COLUMN"):
        api.train(bare, out=tmp_path / "run", attributes=["color"], settings=PROBE)


def test_precision_that_is_promised(shop: Path, tmp_path: Path) -> None:
    """With few validation products no threshold keeps 99 %: no value is given, and it is said."""
    out = tmp_path / "run"
    promise = "attributes.precision=0.99"
    recorder = Recorder()
    with use_listener(recorder):
        api.train(shop, out=out, attributes=["color"], settings=[*PROBE, promise])
    info = read_info(out / "model").attributes
    assert info is not None
    assert info.heads[0].least_confidence is None
    assert any("do not promise 99.0 %" in line for line in recorder.lines)
    first = next(iter(api.predict(out, str(shop))))
    assert first.attributes[0].values == ()
    assert first.attributes[0].confidence is not None


def test_attributes_follow_a_backbone_that_was_fine_tuned(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    quick = ("training.epochs=1", "training.batch_size=16")
    api.train(shop, out=out, recipe="fashion-mnist-cnn", attributes="auto", settings=quick)
    assert RunFolder(out).recipe().attributes.columns == (
        *("true", "is_striped", "color", "pattern", "tags"),
    )
    info = read_info(out / "model")
    assert info.attributes is not None
    assert [head.name for head in info.attributes.heads] == [
        *("true", "is_striped", "color", "pattern", "tags"),
    ]
    assert len(next(iter(api.predict(out, str(shop)))).attributes) == 5


def audited(labels: Sequence[str | None], cells: Sequence[str | None]) -> AuditedCatalog:
    size = len(labels)
    catalog = Catalog(
        pl.DataFrame(
            {
                "image": [f"{index}.jpg" for index in range(size)],
                "label": labels,
                "split": ["train"] * size,
                "neckline": cells,
            }
        ),
        "shop",
    )
    return AuditedCatalog(catalog, pl.Series([""] * size), np.arange(size))


def applies(labels: Sequence[str], cells: Sequence[str | None]) -> tuple[str, ...] | None:
    (plan,) = plan_attributes(audited(labels, cells), ["neckline"])
    assert isinstance(plan, AttributePlan)
    return plan.labels


def test_where_an_attribute_applies() -> None:
    shirts = (["shirt"] * 50, ["round", "v"] * 20 + [None] * 10)
    shoes = (["shoe"] * 50, [None] * 50)
    assert applies(shirts[0] + shoes[0], shirts[1] + shoes[1]) == ("shirt",)
    # One cell in 50 that is filled in by mistake changes nothing; three do.
    once = ["v", *[None] * 49]
    assert applies(shirts[0] + shoes[0], shirts[1] + once) == ("shirt",)
    assert applies(shirts[0] + shoes[0], shirts[1] + ["v", "v", "v", *[None] * 47]) is None
    # Two dresses without a value say nothing where a fifth of shirts has none; at .8^n <= .05 do.
    few = (["dress"], [None])
    assert applies(shirts[0] + few[0], shirts[1] + few[1]) is None
    assert applies(shirts[0] + few[0] * 2, shirts[1] + few[1] * 2) == ("shirt",)


def test_labels_are_counted_by_product() -> None:
    """29 products in two photos each are 29 labels."""
    size = 58
    table = pl.DataFrame(
        {
            "image": [f"{index}.jpg" for index in range(size)],
            "label": ["shirt"] * 30 + ["dress"] * 28,
            "group": [str(index // 2) for index in range(size)],
            "split": ["train"] * size,
            "color": ["red", "red", "blue", "blue"] * 14 + ["red", "red"],
        }
    )
    some = AuditedCatalog(Catalog(table, "shop"), pl.Series([""] * size), np.arange(size))
    assert plan_attributes(some, ["color"]) == ()
    (line,) = attribute_notes(some, ["color"])
    assert line == (
        "attribute color is left out: 29 products of training with a value, and 30 are needed"
    )
