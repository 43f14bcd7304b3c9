"""Backbones that cannot be built are found out before the first is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopsight import api
from shopsight.catalog.catalog import Catalog
from shopsight.errors import CompareError, ConfigError, WeightsError
from shopsight.evaluation.comparison import Comparison
from shopsight.io.json_files import read_json
from shopsight.runs.run_folder import RunFolder

LITE, NET, LARGER = (
    "embedded:tf_efficientnet_lite0",
    "shopsight:fashion_cnn",
    "shopsight:fashion_net",
)
SCRATCH = "fashion-mnist-cnn"
QUICK = ("training.epochs=1",)


def test_too_few_fail_before_any_training(catalog: Catalog, tmp_path: Path) -> None:
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
    assert not list(tmp_path.iterdir())


def test_the_others_are_trained_and_the_page_names_who_is_missing(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shopsight.training import resolve

    create = resolve.create_backbone

    def offline(name: str, **settings: object) -> object:
        if name == LITE:
            raise WeightsError("no network", fix="1. go online\n2. a file")
        return create(name, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(resolve, "create_backbone", offline)

    def compare() -> Comparison:
        return api.compare_backbones(
            catalog, backbones=[LITE, NET, LARGER], out=tmp_path, recipe=SCRATCH, settings=QUICK
        )

    found = compare()
    names = {"shopsight-fashion_cnn", "shopsight-fashion_net"}
    assert {entry.name for entry in found.entries} == names
    # The validation images choose, and the test images report.
    assert (found.split, found.reported_on) == ("val", "test")
    assert all(entry.reported is not None for entry in found.entries)
    assert found.left_out == {LITE: "no network (1. go online; 2. a file)"}
    assert read_json(tmp_path / "compare.json")["left_out"] == dict(found.left_out)
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert f"{LITE}: no network (1. go online; 2. a file)" in page
    # A finished run is taken as it is: not trained again, nor built.
    states = {name: RunFolder(tmp_path / name).state_file.stat().st_mtime_ns for name in names}
    assert compare().best.name == found.best.name
    assert states == {
        name: RunFolder(tmp_path / name).state_file.stat().st_mtime_ns for name in names
    }
