"""`shopsight calibrate`: what is unknown is measured, kept in the bundle, and said by `predict`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.numpy

from shopsight import api
from shopsight.bundle.read import read_bundle
from shopsight.bundle.unknown_info import SCORES, UNKNOWN_FILE
from shopsight.cli.app import main
from shopsight.errors import BundleError, ConfigError
from shopsight.inference.predictor import Prediction
from shopsight.training.unknown_scores import EmbeddedImages, fit_scores
from tests.helpers import edit_json, make_products, run_command, train_small

CLASSES = ("dress", "shoe", "hat", "bag", "glasses")


@pytest.fixture(scope="module")
def probe_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe of five classes, with 40 images to validate and 40 to test."""
    folder = tmp_path_factory.mktemp("probe")
    photos = make_products(folder / "photos", per_class=40, classes=CLASSES)
    settings = ["preprocess.size_px=64", "framing.search=false", "data.val=0.2", "data.test=0.2"]
    api.train(photos.table, out=folder / "run", recipe="fast", settings=settings)
    return folder / "run"


@pytest.fixture
def run(probe_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(probe_run, tmp_path / "run"))


def images_of(run: Path, part: str) -> list[str]:
    from shopsight.runs.run_folder import RunFolder

    catalog = RunFolder(run).catalog()
    return [catalog.refs()[row] for row in catalog.rows_of(part)]


def test_a_training_promises_by_itself(run: Path) -> None:
    info = read_bundle(run / "model").info.unknown
    assert info is not None
    assert (info.wanted, info.target, info.strangers) == ("coverage", 0.95, "held-out classes")
    # What was promised is what is scored, in the report too.
    scores = json.loads((run / "metrics.json").read_text("utf-8"))
    answered = scores["test"]["answered"]
    assert info.coverage is not None
    assert answered["coverage"]["value"] == pytest.approx(info.coverage.value)
    assert info.accuracy is not None
    assert answered["accuracy"]["value"] == pytest.approx(info.accuracy.value)
    assert answered["answered"] == round(info.coverage.value * answered["images"])
    assert scores["val"]["answered"]["coverage"]["value"] >= 0.95
    table = pl.read_parquet(run / "predictions" / "test.parquet")
    assert (table["unknown"] == (table["known_score"] < info.threshold)).all()
    page = (run / "report.html").read_text("utf-8")
    assert f"{answered['answered']:,} of {answered['images']:,} images" in page


def test_evaluate_says_how_many_are_answered(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.calibrate(run, coverage=0.7)
    done = run_command(capsys, ("evaluate", run))
    assert done.code == 0
    scored = json.loads((run / "metrics.json").read_text("utf-8"))["test"]["answered"]
    assert f"test: answers {100 * scored['coverage']['value']:.1f} %" in done.out


def test_a_service_counts_where_scores_lie(run: Path) -> None:
    pytest.importorskip("prometheus_client", reason="needs the extra `serve`")
    from shopsight.serve.metrics import ServiceMetrics
    from shopsight.serve.served_model import load_served

    metrics = ServiceMetrics()
    metrics.serve(load_served(run))
    predictions = list(api.predict(run, images_of(run, "test")))
    metrics.predicted(predictions)
    lines = dict(line.rsplit(" ", 1) for line in metrics.text().decode().splitlines())
    count = sum(one.unknown is not None and one.unknown.is_unknown for one in predictions)
    assert float(lines["shopsight_unknown_total"]) == count
    # The very images that the quantiles are of: half of them lie in the lower half.
    half = float(lines['shopsight_known_share_bucket{le="0.5"}'])
    assert float(lines["shopsight_known_share_count"]) == len(predictions)
    assert half / len(predictions) == pytest.approx(0.5, abs=0.05)


def test_a_fine_tuned_network_knows_the_classes_that_stand_for_strangers(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "shop", per_class=40, classes=CLASSES)
    train_small(photos.table, tmp_path / "run", "data.val=0.2", "data.test=0.2")
    info = read_bundle(tmp_path / "run" / "model").info.unknown
    assert info is not None
    assert (info.strangers, info.is_optimistic) == ("held-out classes", True)
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "the backbone has seen these classes: too good" in page


def test_nothing_is_promised_of_few_images(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "shop", per_class=20, classes=CLASSES[:2])
    train_small(photos.table, tmp_path / "run")
    assert read_bundle(tmp_path / "run" / "model").info.unknown is None
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text("utf-8"))
    assert "answered" not in scores["test"]


def test_promise_is_measured_and_kept_in_the_bundle(run: Path) -> None:
    before = read_bundle(run / "model").info
    done = api.calibrate(run, coverage=0.8, sets=0.9)
    assert [one.score for one in done.report.judged]
    assert {one.score for one in done.report.judged} == set(SCORES)
    info = read_bundle(run / "model").info.unknown
    assert info is not None
    assert info.score == done.report.judged[0].score
    assert (info.wanted, info.target, info.strangers) == ("coverage", 0.8, "held-out classes")
    assert not info.is_optimistic
    assert info.coverage is not None
    assert info.coverage.num_images == len(images_of(run, "test"))
    assert info.sets is not None
    assert info.sets.reached is not None
    assert done.report.by_class
    # Nothing else of the bundle changed.
    after = read_bundle(run / "model").info
    assert after.model_copy(update={"unknown": before.unknown}) == before
    # What is promised is what `predict` does.
    predictions = list(api.predict(run, images_of(run, "test")))
    answered = [one for one in predictions if one.unknown and not one.unknown.is_unknown]
    assert len(answered) / len(predictions) == pytest.approx(info.coverage.value)
    sizes = [len(one.unknown.label_set) for one in predictions if one.unknown]
    assert np.mean(sizes) == pytest.approx(info.sets.mean_size)
    for one in predictions:
        assert one.unknown is not None
        assert one.unknown.label_set[0] == one.labels[0]


def test_accuracy_is_reached_on_validation_images(run: Path) -> None:
    api.calibrate(run, accuracy=0.95)
    images = images_of(run, "val")
    catalog_labels = {image: Path(image).parent.name for image in images}
    predictions = list(api.predict(run, images))
    answered = [one for one in predictions if one.unknown and not one.unknown.is_unknown]
    right = [one.labels[0] == catalog_labels[one.source] for one in answered]
    assert np.mean(right) >= 0.95


def test_strangers_are_unknown(run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    from PIL import Image

    (tmp_path / "noise").mkdir()
    for number in range(30):
        pixels = rng.integers(0, 255, (80, 80, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "noise" / f"{number}.png")
    done = api.calibrate(run, negatives=tmp_path / "noise", coverage=0.9)
    info = done.report.part.info
    assert info.strangers == "negatives"
    assert info.accepted == 0.0
    predictions = list(api.predict(run, tmp_path / "noise"))
    assert all(one.unknown and one.unknown.is_unknown for one in predictions)


def test_negatives_that_are_known_products(run: Path, tmp_path: Path) -> None:
    before = read_bundle(run / "model").info.unknown
    (tmp_path / "others").mkdir()
    shutil.copy(images_of(run, "train")[0], tmp_path / "others" / "one.jpg")
    with pytest.raises(ConfigError, match="are known products"):
        api.calibrate(run, negatives=tmp_path / "others")
    assert read_bundle(run / "model").info.unknown == before


def test_written_predictions(run: Path, tmp_path: Path) -> None:
    api.calibrate(run, sets=0.8)
    images = images_of(run, "test")[:6]
    rows: dict[str, list[Prediction]] = {}
    for suffix in ("csv", "parquet", "jsonl"):
        rows[suffix] = list(api.predict(run, images, out=tmp_path / f"out.{suffix}"))
    table = pl.read_csv(tmp_path / "out.csv")
    assert set(table["unknown"]) <= {"yes", "no"}
    parquet = pl.read_parquet(tmp_path / "out.parquet")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    for number, one in enumerate(rows["csv"]):
        assert one.unknown is not None
        assert (table["unknown"][number] == "yes") == one.unknown.is_unknown
        assert parquet["unknown"][number] == one.unknown.is_unknown
        assert parquet["label_set"][number].to_list() == list(one.unknown.label_set)
        assert lines[number]["known_score"] == pytest.approx(one.unknown.score, abs=1e-5)
        assert table["label_set"][number] == "|".join(one.unknown.label_set)


def test_command(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(run), "--coverage", "0.9", "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unknown"]["target"] == 0.9
    assert found["curve"][0]["coverage"] == 1.0
    with pytest.raises(SystemExit):
        main(["calibrate", str(run)])
    assert "strangers (held-out classes)" in capsys.readouterr().out


def test_labeled_images_instead_of_the_run(run: Path, tmp_path: Path) -> None:
    photos = make_products(tmp_path / "more", per_class=40, classes=CLASSES, seed=7)
    bundle = Path(shutil.copytree(run / "model", tmp_path / "alone"))
    with pytest.raises(ConfigError, match="without its run"):
        api.calibrate(bundle)
    done = api.calibrate(bundle, photos.table, coverage=0.9)
    assert done.report.part.info.is_optimistic
    assert read_bundle(bundle).unknown is not None


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"accuracy": 0.9, "coverage": 0.9}, "either an accuracy or a coverage"),
        ({"accuracy": 1.5}, "not between 0 and 1"),
        ({"sets": 0.0}, "not between 0 and 1"),
        ({"sets": 0.999}, "promise no sets"),
    ],
)
def test_figures_out_of_range(run: Path, given: dict[str, float], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        api.calibrate(run, **given)  # type: ignore[arg-type]


def test_a_trained_backbone_is_optimistic(tiny_run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    from shopsight.runs.run_folder import RunFolder

    if len(RunFolder(copied).catalog().rows_of("val")) < 20:
        with pytest.raises(ConfigError, match="too few to choose a threshold"):
            api.calibrate(copied)
        return
    assert api.calibrate(copied).report.part.info.is_optimistic


def test_a_folds_run_has_no_validation_part(tiny_folds_run: Path) -> None:
    with pytest.raises(ConfigError, match="no validation part"):
        api.calibrate(tiny_folds_run)


def test_two_classes_have_nothing_to_take_away(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=60, classes=("hat", "shoe"))
    settings = ["preprocess.size_px=64", "framing.search=false", "data.val=0.3"]
    api.train(photos.table, out=tmp_path / "run", recipe="fast", settings=settings)
    done = api.calibrate(tmp_path / "run")
    info = done.report.part.info
    assert (info.score, info.strangers, info.accepted) == ("gated", "none", None)
    assert any("too few classes" in note for note in done.notes)


def test_several_labels_are_refused(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=12)
    table = pl.read_csv(photos.table).with_columns(pl.col("label") + "|nice")
    table.write_csv(photos.table)
    run = train_small(photos.table, tmp_path / "run", "training.loss=bce")
    with pytest.raises(ConfigError, match="several labels"):
        api.calibrate(run)


def test_ten_thousand_classes() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(300, 16)).astype(np.float32)
    logits = rng.normal(size=(300, 10_000)).astype(np.float32)
    images = EmbeddedImages(embeddings, logits, rng.integers(0, 10_000, 300))
    for part in fit_scores(images, images, temperature=1.0).values():
        assert np.isfinite(part.scores(embeddings, logits)).all()
        assert not part.misfits(16, 0) or "golden" in part.misfits(16, 0)[0]


def damaged(run: Path, change: str) -> None:
    path = run / "model" / UNKNOWN_FILE
    if change == "gone":
        path.unlink()
    elif change == "bytes":
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        tensors = safetensors.numpy.load_file(path)
        name = next(name for name in tensors if name != "golden")
        tensors[name] = tensors[name] * 2 if change == "numbers" else tensors[name][..., :1]
        safetensors.numpy.save_file(tensors, path)
        from shopsight.files import sha256_file

        info = json.loads((run / "model" / "model.json").read_text("utf-8"))
        info["unknown"]["sha256"] = sha256_file(path)
        edit_json(run / "model" / "model.json", unknown=info["unknown"])


@pytest.mark.parametrize("change", ["gone", "bytes", "numbers", "shape"])
def test_damage_is_found(run: Path, tmp_path: Path, change: str) -> None:
    from PIL import Image

    (tmp_path / "noise").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise" / "0.png")
    api.calibrate(run, negatives=tmp_path / "noise")
    part = read_bundle(run / "model").unknown
    assert part is not None
    if len(part.tensors) == 1 and change in ("numbers", "shape"):
        pytest.skip("the largest probability has no numbers of its own")
    damaged(run, change)
    with pytest.raises(BundleError):
        read_bundle(run / "model")


def test_limits_of_the_description(run: Path) -> None:
    api.calibrate(run)
    file = run / "model" / "model.json"
    info = json.loads(file.read_text("utf-8"))
    for name, value in (("threshold", float("1e30")), ("score", "other"), ("neighbors", 0)):
        edit_json(file, unknown={**info["unknown"], name: value})
        with pytest.raises(BundleError):
            read_bundle(run / "model")
