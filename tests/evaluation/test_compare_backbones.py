"""Backbones that cannot be built are found out before the first is trained."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.commands import compare as compare_command
from shopsight.config.recipe import Recipe
from shopsight.errors import CompareError, ConfigError, WeightsError
from shopsight.evaluation.compare import left_out_of
from shopsight.evaluation.predictions import Predictions
from shopsight.files import read_json, write_json

LITE, NET, LARGER = (
    "embedded:tf_efficientnet_lite0",
    "shopsight:fashion_cnn",
    "shopsight:fashion_net",
)
SCRATCH = "fashion-mnist-cnn"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backbones that were trained; what a training leaves is written in its stead."""
    names: list[str] = []

    def train(catalog: Catalog, recipe: Recipe, out: Path, **_: object) -> api.TrainResult:
        names.append(recipe.model.backbone)
        table = pl.DataFrame(
            {
                "row": range(20),
                "image": [f"{index}.jpg" for index in range(20)],
                "label": ["hat", "shoe"] * 10,
                "correct": [index > len(names) for index in range(20)],
            }
        )
        predictions = Predictions(table, ("hat", "shoe"), False, "test", "shop")
        predictions.write(out / "predictions" / "test.parquet")
        write_json(out / "run.json", {})
        return api.TrainResult(out, {}, {}, out / "report.html")

    monkeypatch.setattr(compare_command, "train_catalog", train)
    return names


def test_too_few_fail_before_any_training(
    catalog: Catalog, trained: list[str], tmp_path: Path
) -> None:
    # The nets for small images have no pretrained weights, which a probe needs.
    with pytest.raises(CompareError, match="1 of 2 backbones can be built") as caught:
        api.compare_backbones(catalog, backbones=[LITE, NET], out=tmp_path)
    assert f"{NET}: " in str(caught.value)
    assert "no pretrained weights" in str(caught.value)
    with pytest.raises(CompareError, match="1 of 1 backbones"):
        api.compare_backbones(catalog, backbones=[LITE, LITE], out=tmp_path)
    with pytest.raises(ConfigError, match="did you mean"):
        api.compare_backbones(
            catalog, backbones=[NET, LARGER, "timm:resnet1800"], out=tmp_path, recipe=SCRATCH
        )
    assert trained == []
    assert not list(tmp_path.iterdir())


def test_the_others_are_trained_and_the_page_names_who_is_missing(
    catalog: Catalog, trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shopsight.training import prepare

    create = prepare.create_backbone

    def offline(name: str, **settings: object) -> object:
        if name == LITE:
            raise WeightsError("no network", fix="1. go online\n2. a file")
        return create(name, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(prepare, "create_backbone", offline)
    words = {"backbones": [LITE, NET, LARGER], "out": tmp_path, "recipe": SCRATCH}
    found = api.compare_backbones(catalog, **words)  # type: ignore[arg-type]
    assert trained == [NET, LARGER]
    assert [entry.name for entry in found.entries] == [
        "shopsight-fashion_cnn",
        "shopsight-fashion_net",
    ]
    assert found.left_out == {LITE: "no network (1. go online; 2. a file)"}
    assert read_json(tmp_path / "compare.json")["left_out"] == dict(found.left_out)
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert f"{LITE}: no network (1. go online; 2. a file)" in page
    # What was trained is not trained, nor built, again.
    assert api.compare_backbones(catalog, **words).best.name == found.best.name  # type: ignore[arg-type]
    assert trained == [NET, LARGER]


def test_two_must_be_left() -> None:
    def build(name: str) -> None:
        if name.startswith("far"):
            raise WeightsError(f"{name} is out of reach")

    assert left_out_of(["a", "b"], build) == {}
    assert left_out_of(["a", "far", "b"], build) == {"far": "far is out of reach"}
    with pytest.raises(CompareError, match="0 of 2"):
        left_out_of(["far", "far off"], build)
