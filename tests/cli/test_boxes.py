"""Boxes of a catalog are looked at where `framing.boxes` asks for them, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight import api
from shopsight.bundle.read import read_bundle
from shopsight.catalog.catalog import BOX_COLUMNS
from shopsight.datasets.synthetic import draw_product
from shopsight.errors import CatalogError, ConfigError, ImageError
from shopsight.images.model_input import Box
from shopsight.inference.image_stream import NamedImage
from shopsight.inference.load import load
from shopsight.runs.run_folder import RunFolder
from tests.helpers import CLASSES, Shopsight

LITE0 = "embedded:tf_efficientnet_lite0"
SIDE = 128
BOXES = "framing.boxes=true"


def two_on_a_photo(folder: Path, *, photos: int = 24, seed: int = 0) -> Path:
    """Photos with a product left and one of the next class right, and a table of their boxes."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(photos):
        pair = CLASSES[number % len(CLASSES)], CLASSES[(number + 1) % len(CLASSES)]
        shown = [draw_product(one, number=number, view=0, seed=seed) for one in pair]
        name = f"{number:03d}.png"
        Image.fromarray(np.concatenate(shown, axis=1)).save(folder / name)
        for place, label in enumerate(pair):
            rows.append((name, label, *(SIDE * place, 0, SIDE, SIDE)))
    table = pl.DataFrame(rows, schema=["image", "label", *BOX_COLUMNS], orient="row")
    table.write_csv(folder / "boxes.csv")
    return folder / "boxes.csv"


def trained(data: Path, out: Path, *settings: str) -> Path:
    api.train(
        data,
        out=out,
        recipe="fast",
        settings=[f"model.backbone={LITE0}", "preprocess.size_px=96", *settings],
    )
    return out


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_on_a_photo(tmp_path_factory.mktemp("scenes") / "photos")


@pytest.fixture(scope="module")
def boxed_run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of boxes. Do not change it."""
    return trained(table, tmp_path_factory.mktemp("boxed") / "run", BOXES)


@pytest.fixture(scope="module")
def whole_run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of whole photos, of each of which the table has one row. Do not change it."""
    home = tmp_path_factory.mktemp("whole")
    one = pl.read_csv(table).unique("image", keep="first", maintain_order=True)
    one.write_csv(table.parent / "first.csv")
    return trained(table.parent / "first.csv", home / "run")


def test_the_bundle_says_it_and_knows_both_products_of_a_photo(
    boxed_run: Path, table: Path, tmp_path: Path
) -> None:
    written = json.loads((boxed_run / "model" / "model.json").read_text(encoding="utf-8"))
    assert written["preprocess"]["boxes"] is True
    assert RunFolder(boxed_run).recipe().framing.boxes
    assert load(boxed_run).preprocess.boxes
    rows = pl.read_csv(table)
    found = list(api.predict(boxed_run, table))
    right = [one.labels[0] == label for one, label in zip(found, rows["label"], strict=True)]
    assert np.mean(right) > 0.9
    # Other photos, by their own boxes.
    other = two_on_a_photo(tmp_path / "others", photos=8, seed=5)
    assert api.evaluate(boxed_run, other).metrics["accuracy"] > 0.8


def test_whole_images_are_written_and_hashed_as_before(whole_run: Path) -> None:
    written = json.loads((whole_run / "model" / "model.json").read_text(encoding="utf-8"))
    assert "boxes" not in written["preprocess"]
    assert not load(whole_run).preprocess.boxes
    assert not set(BOX_COLUMNS) & set(RunFolder(whole_run).catalog().table.columns)


def test_a_training_without_the_setting_says_that_boxes_are_not_used(
    table: Path, tmp_path: Path, said: list[str]
) -> None:
    one = pl.read_csv(table).unique("image", keep="first", maintain_order=True)
    one.write_csv(table.parent / "one-each.csv")
    run = trained(table.parent / "one-each.csv", tmp_path / "run")
    lines = [line for line in said if "box" in line]
    assert any(
        "24 rows of" in line and "not used, --set framing.boxes=true" in line for line in lines
    )
    assert len(RunFolder(run).catalog()) == 24


def test_rows_that_only_boxes_tell_apart_are_refused_without_them(
    table: Path, whole_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(CatalogError, match="24 photos have rows of several labels") as error:
        trained(table, tmp_path / "run")
    assert "framing.boxes=true" in str(error.value.fix)
    assert error.value.details
    with pytest.raises(CatalogError, match="24 photos have rows of several labels"):
        api.evaluate(whole_run, table)


def test_the_audit_follows_whether_boxes_are_used(table: Path, said: list[str]) -> None:
    assert api.audit(table).counts["label-conflict"] == 24
    assert any("--boxes audits the part in each box" in line for line in said)
    assert "label-conflict" not in api.audit(table, boxes=True).counts


def test_a_model_of_whole_images_says_that_boxes_are_not_used(
    whole_run: Path, table: Path, said: list[str]
) -> None:
    found = list(api.predict(whole_run, table))
    assert [line for line in said if line.startswith("boxes of the table: not used")]
    # Both rows of a photo have one answer: that for the whole photo.
    assert found[0].probabilities == found[1].probabilities
    photo = list(api.predict(whole_run, table.parent / "000.png"))
    assert photo[0].labels == found[0].labels
    api.evaluate(whole_run, table.parent / "first.csv")
    assert any("24 rows of first.csv with a box: not used" in line for line in said)


def test_a_model_of_boxes_answers_no_image_without_one(
    shopsight: Shopsight, boxed_run: Path, table: Path, tmp_path: Path
) -> None:
    photo = table.parent / "000.png"
    for words in (("predict",), ("explain",)):
        out = ("--out", tmp_path / "why") if words == ("explain",) else ()
        shown = shopsight(*words, boxed_run, photo, *out)
        assert shown.code == 2, words
        assert "000.png" in shown.err
        assert "trained on the parts of images in their boxes" in shown.err
        assert "box_x, box_y, box_w, box_h" in shown.err
    bare = pl.read_csv(table).drop(BOX_COLUMNS).unique("image", keep="first")
    bare.write_csv(table.parent / "bare.csv")
    with pytest.raises(CatalogError, match="the images have none"):
        api.evaluate(boxed_run, table.parent / "bare.csv")
    with pytest.raises(CatalogError, match="the images have none"):
        api.embed(boxed_run, table.parent / "bare.csv", out=tmp_path / "vectors")
    predictor = load(boxed_run)
    with pytest.raises(ImageError, match="this image has none"):
        list(predictor.predict([photo.read_bytes()]))
    # A crop that somebody made is a box of its whole size.
    box = NamedImage(str(photo), photo, box=Box(0, 0, SIDE, SIDE), boxed="asked")
    assert next(predictor.predict(box)).labels[0] == CLASSES[0]


def test_a_row_without_a_box_among_others_is_an_error_of_its_own(
    boxed_run: Path, table: Path, tmp_path: Path
) -> None:
    rows = pl.read_csv(table).with_row_index()
    gap = pl.col("index") == 3
    some = rows.with_columns(pl.when(~gap).then(pl.col(name)) for name in BOX_COLUMNS)
    some.drop("index").write_csv(table.parent / "gap.csv")
    found = list(api.predict(boxed_run, table.parent / "gap.csv"))
    assert [at for at, one in enumerate(found) if one.error] == [3]
    assert found[3].reason == "no box"
    with pytest.raises(CatalogError, match="1 of 48 rows has no box"):
        api.evaluate(boxed_run, table.parent / "gap.csv")
    with pytest.raises(CatalogError, match="1 of 48 rows has no box"):
        trained(table.parent / "gap.csv", tmp_path / "run", BOXES)


def test_boxes_without_columns_are_refused(tmp_path: Path, table: Path) -> None:
    bare = pl.read_csv(table).drop(BOX_COLUMNS).unique("image", keep="first")
    bare.write_csv(table.parent / "plain.csv")
    with pytest.raises(CatalogError, match="the images have none"):
        trained(table.parent / "plain.csv", tmp_path / "run", BOXES)


def test_a_framing_is_searched_within_the_boxes(table: Path, tmp_path: Path) -> None:
    needed = ("framing.sizes=[1.0]", "framing.images=100", "framing.crops=[0.75]")
    api.train(
        table,
        out=tmp_path / "run",
        recipe="fast",
        settings=[f"model.backbone={LITE0}", *needed, BOXES],
    )
    run = RunFolder(tmp_path / "run")
    assert run.state()["framing"]["tried"]
    assert load(run.path).preprocess.boxes
    # What the search computed is what the probe read: whole photos would give other features.
    assert api.evaluate(run.path).metrics["accuracy"] > 0.8


def test_folds_and_their_ensemble_look_at_boxes(table: Path, tmp_path: Path) -> None:
    folds = ("folds.count=2", "folds.final=ensemble")
    run = trained(table, tmp_path / "run", BOXES, *folds)
    assert read_bundle(run / "model").info.preprocess.boxes
    assert api.evaluate(run).metrics["accuracy"] > 0.8
    assert next(api.predict(run, table)).error is None


def test_a_teacher_and_its_student_see_the_same(
    boxed_run: Path, table: Path, tmp_path: Path
) -> None:
    teacher = f"distill.teacher={boxed_run}"
    with pytest.raises(ConfigError, match="the teacher was trained on boxes") as error:
        trained(table.parent / "first.csv", tmp_path / "run", teacher, "training.mode=finetune")
    assert error.value.fix == "--set framing.boxes=true"


def test_an_index_of_boxes(
    shopsight: Shopsight, table: Path, boxed_run: Path, whole_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("qdrant_edge")
    # By a backbone that nobody trained, boxes are looked at where that is asked for.
    made = shopsight("index", "build", LITE0, table, "--boxes", "--out", tmp_path / "index")
    assert made.code == 0, made.err
    photo = table.parent / "000.png"
    box = f"{SIDE},0,{SIDE},{SIDE}"
    shown = shopsight("search", tmp_path / "index", photo, "--box", box, "--json")
    assert shown.code == 0, shown.err
    assert shown.json[0]["results"][0]["id"].startswith("000.png#128.0,")
    refused = shopsight("search", tmp_path / "index", photo)
    assert refused.code == 2
    assert "--box" in refused.err or "box" in refused.err
    moved = shopsight("index", "migrate", tmp_path / "index", "--model", whole_run)
    assert moved.code == 2
    assert "trained on whole images" in moved.err
    assert shopsight("index", "migrate", tmp_path / "index", "--model", boxed_run).code == 0
    # Without the flag, rows of one photo would be one image twice.
    twice = shopsight("index", "build", LITE0, table, "--out", tmp_path / "other")
    assert twice.code == 2
    assert "only their boxes tell apart" in twice.err
