from __future__ import annotations

import re
from pathlib import Path

import pytest

from shopsight.datasets.open import open_catalog
from tests.helpers import ProductPhotos, Shopsight

NET = "shopsight:fashion_cnn"
LITE = "embedded:tf_efficientnet_lite0"


def test_profile(shopsight: Shopsight) -> None:
    done = shopsight("profile", NET, "--batch", "1")
    assert done.code == 0
    assert "0.02236 GMACs" in done.out
    assert "0.04471 GFLOPs" in done.out
    assert "images/s" in done.out
    assert "blocks.0.0" not in done.out
    layers = shopsight("profile", NET, "--batch", "", "--per-layer")
    assert "blocks.0.0" in layers.out
    assert "images/s" not in layers.out
    whole = shopsight("profile", NET, "--batch", "", "--per-layer", "--json").json
    assert whole["parameters"] == 142_474
    assert whole["flops"] == 2 * whole["macs"]
    assert whole["rows"][0]["receptive_field"] == 3
    assert "rows" not in shopsight("profile", NET, "--batch", "", "--json").json


def test_profile_mistakes(shopsight: Shopsight) -> None:
    unknown = shopsight("profile", "timm:resnet1800")
    assert unknown.code == 2
    assert "did you mean timm:resnet" in unknown.err
    assert shopsight("profile", NET, "--batch", "one").code == 2


def test_compare_runs(shopsight: Shopsight, tiny_run: Path, own_run: Path) -> None:
    out = own_run.parent / "compared"
    done = shopsight("compare", tiny_run, own_run, "--out", out)
    assert done.code == 0, done.err
    assert "cannot tell 2 models apart" in done.out
    assert "0.14 M" in done.out
    assert (out / "compare.html").is_file()
    found = shopsight("compare", tiny_run, own_run, "--no-measure", "--json").json
    assert found["metric"] == "accuracy"
    assert found["entries"][1]["difference"]["value"] == 0.0
    assert found["entries"][0]["latency_ms"] is None


def test_compare_mistakes(shopsight: Shopsight, tiny_run: Path) -> None:
    alone = shopsight("compare", tiny_run)
    assert alone.code == 2
    assert "two runs" in alone.err
    twice = shopsight("compare", tiny_run, tiny_run)
    assert "named twice" in twice.err
    assert "fix: shopsight compare RUN OTHER_RUN" in twice.err
    assert shopsight("compare", tiny_run, tiny_run, "--backbones", NET).code == 2


@pytest.mark.slow
def test_compare_backbones_on_data(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    words = (
        "compare", product_photos.folder, "--backbones", f"{NET}, shopsight:fashion_net",
        "--recipe", "fashion-mnist-cnn", "--set", "training.epochs=1", "--out", tmp_path, "--json",
    )  # fmt: skip
    first = shopsight(*words)
    assert first.code == 0, first.err
    names = {entry["name"] for entry in first.json["entries"]}
    assert names == {"shopsight-fashion_cnn", "shopsight-fashion_net"}
    assert {entry["backbone"] for entry in first.json["entries"]} == {NET, "shopsight:fashion_net"}
    made = (tmp_path / "shopsight-fashion_cnn" / "model" / "model.json").stat().st_mtime_ns
    again = shopsight(*words)
    # Finished runs are taken as they are.
    assert (tmp_path / "shopsight-fashion_cnn" / "model" / "model.json").stat().st_mtime_ns == made
    scores = [[entry["score"] for entry in found["entries"]] for found in (first.json, again.json)]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_recommend(shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path) -> None:
    few = open_catalog(product_photos.folder).take(range(0, 60, 3))
    few.write(tmp_path / "few.csv")
    found = shopsight(
        "recommend", tmp_path / "few.csv", "--backbones", f"{LITE},{NET}", "--out", tmp_path,
        "--latency-ms", "60000",
    )  # fmt: skip
    assert found.code == 0, found.err
    assert f"take: {LITE}" in found.out
    assert f"left out: {NET}: " in found.out
    assert "no pretrained weights" in found.out


def test_nothing_is_fast_enough(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    none = shopsight(
        "recommend", product_photos.folder, "--backbones", NET, "--out", tmp_path,
        "--latency-ms", "0.001", "--json",
    )  # fmt: skip
    assert none.code == 1
    assert none.json["chosen"] is None
    assert all("ms for one image" in each["left_out"] for each in none.json["candidates"])
    assert not list(tmp_path.iterdir())


def test_too_slow_is_reported_once_with_the_fastest(
    shopsight: Shopsight, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    none = shopsight(
        "recommend", product_photos.folder, "--backbones", f"{NET},shopsight:fashion_net",
        "--out", tmp_path, "--latency-ms", "0.001",
    )  # fmt: skip
    assert none.code == 1
    assert (none.out + none.err).count(f"{NET}: ") == 1
    assert re.search(
        r"faster than 0\.001 ms; the fastest is shopsight:\w+ with \d+\.\d ms", none.out
    )


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "RUN", "DATA"],
        ["recommend", "DATA", "--latency-ms", "5", "--out", "OUT"],
        ["predict", "RUN", "DATA"],
    ],
    ids=lambda words: words[0],
)
def test_a_device_that_is_not_there_is_known_before_data_is_read(
    words: list[str], shopsight: Shopsight, tiny_run: Path, tmp_path: Path
) -> None:
    # Reading it would be another error.
    data = tmp_path / "empty.csv"
    data.touch()
    paths = {"RUN": str(tiny_run), "DATA": str(data), "OUT": str(tmp_path / "out")}
    done = shopsight(*[paths.get(word, word) for word in words], "--device", "cuda:99")
    assert done.code == 2
    assert "no device 'cuda:99' on this machine" in done.err
    assert list(tmp_path.iterdir()) == [data]
