"""`shopsight mislabels`: planted wrong labels come first, and how soon they do is measured."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight import api
from shopsight.cli.app import main
from shopsight.errors import ChangedFilesError, ConfigError
from shopsight.metrics.families import Families
from shopsight.metrics.selective import area_under_curve
from shopsight.mislabels.confused import area_error, confused_pairs
from shopsight.mislabels.label_judge import LabelJudge, open_label_judge
from shopsight.mislabels.planted import DEPTHS, plant_mistakes
from shopsight.mislabels.ranking import LEFT_OUT, rank_labels
from shopsight.runs.run_folder import RunFolder
from tests.helpers import ProductPhotos, make_products, train_small


@dataclass(frozen=True)
class Mistaken:
    """A probe on photos of which some products have a wrong label."""

    run: Path
    wrong: frozenset[str]


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Mistaken:
    folder = tmp_path_factory.mktemp("mistaken")
    photos = make_products(folder / "photos", per_class=72)
    table = pl.read_csv(photos.table)
    products = table["product"].unique(maintain_order=True)
    wrong = frozenset(products.gather(range(3, len(products), 18)).to_list())
    other = dict(zip(photos.labels, (*photos.labels[1:], photos.labels[0]), strict=True))
    label = pl.when(pl.col("product").is_in(list(wrong))).then(
        pl.col("label").replace_strict(other)
    )
    table.with_columns(label.otherwise("label").alias("label")).write_csv(photos.table)
    settings = ["preprocess.size_px=96", "cache.mode=off", "framing.search=false"]
    api.train(photos.table, out=folder / "run", recipe="fast", settings=settings)
    return Mistaken(folder / "run", wrong)


def test_wrong_labels_come_first(mistaken: Mistaken, tmp_path: Path) -> None:
    done = api.mislabels(mistaken.run, out=tmp_path / "list.csv")
    table = pl.read_csv(done.out)
    assert len(table) == 216
    assert table["rank"].to_list() == list(range(1, 217))
    first = table.head(2 * len(mistaken.wrong))
    assert set(first["group"]) == mistaken.wrong
    assert (first["label"] != first["suggested"]).all()
    assert set(table["judged"]) == {"out of fold"}
    assert (table["suspicion"].diff().drop_nulls() <= 0).all()
    # Rendered photos of three classes are easy: whatever is planted is found at once.
    for found in done.found:
        within = found.at[DEPTHS.index(0.2)]
        assert within.value >= 0.9
        assert within.low <= within.value <= within.high
        assert found.most_wrong < 0.2
    assert table["found_any"][-1] == 1.0
    assert done.notes == ()
    assert done.lines()[0].startswith("the first 22 images hold ")


def test_the_same_twice(mistaken: Mistaken, tmp_path: Path) -> None:
    files = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for file in files:
        api.mislabels(mistaken.run, out=file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_by_command(mistaken: Mistaken, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mislabels", str(mistaken.run), "--out", str(tmp_path / "list.csv"), "--json"])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 216
    assert [one["kind"] for one in found["planted"]] == ["any", "look-alike"]


def test_a_trained_backbone_has_seen_its_labels(tiny_run: Path, tmp_path: Path) -> None:
    done = api.mislabels(tiny_run, out=tmp_path / "list.csv")
    judged = dict(done.table.select("image", "judged").iter_rows())
    for image, part in RunFolder(tiny_run).catalog().table.select("image", "split").iter_rows():
        assert judged[image] == ("seen" if part == "train" else "not seen")
    assert any("trained on the labels" in note for note in done.notes)
    # 24 images that nobody saw: too few to plant mistakes among.
    assert done.found == ()
    assert any("too few labels" in note for note in done.notes)


def test_networks_of_folds_judge_what_they_did_not_see(
    tiny_folds_run: Path, tmp_path: Path
) -> None:
    judge = open_label_judge(RunFolder(tiny_folds_run), device="cpu")
    assert set(judge.judges) == {"out of fold"}
    assert not judge.learns
    fold = RunFolder(tiny_folds_run).catalog().table["fold"].to_numpy()
    near = judge.neighbors
    assert (near >= 0).any()
    assert (fold[np.where(near < 0, 0, near)] == fold[:, None])[near >= 0].all()
    done = api.mislabels(tiny_folds_run, out=tmp_path / "list.csv")
    assert len(done.table) == len(fold)


def test_several_labels_are_refused(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=12)
    table = pl.read_csv(photos.table).with_columns(pl.col("label") + "|nice")
    table.write_csv(photos.table)
    run = train_small(photos.table, tmp_path / "run", "training.loss=bce")
    with pytest.raises(ConfigError, match="several labels each"):
        api.mislabels(run, out=tmp_path / "list.csv")


def test_what_is_no_run(tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run folder"):
        api.mislabels(tiny_run / "model", out=tmp_path / "list.csv")
    with pytest.raises(ConfigError, match="no name of a CSV"):
        api.mislabels(tiny_run, out=tmp_path / "list")


def test_images_that_changed(product_photos: ProductPhotos, tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=20)
    run = train_small(photos.table, tmp_path / "run")
    first = sorted(photos.folder.rglob("*.jpg"))[0]
    first.write_bytes(sorted(product_photos.folder.rglob("*.jpg"))[-1].read_bytes())
    with pytest.raises(ChangedFilesError):
        api.mislabels(run, out=tmp_path / "list.csv")


def judge_of(probabilities: np.ndarray, given: np.ndarray, neighbors: np.ndarray) -> LabelJudge:
    from shopsight.catalog.catalog import Catalog

    count = len(given)
    catalog = Catalog(pl.DataFrame({"image": [f"{row}.jpg" for row in range(count)]}), "one")
    return LabelJudge(
        catalog=catalog,
        labels=tuple("abcdefgh"[: probabilities.shape[1]]),
        given=given,
        families=Families.alone(count),
        judges=("out of fold",) * count,
        neighbors=neighbors,
        answers=lambda targets, learned=None: probabilities,
        learns=False,
    )


def test_pairs_that_labels_confuse() -> None:
    rng = np.random.default_rng(0)
    given = np.repeat(np.arange(3), 60)
    # Of a and b the label is a coin, c is always known.
    probabilities = np.full((180, 3), 0.02)
    probabilities[:120, 0] = rng.random(120)
    probabilities[:120, 1] = 1 - probabilities[:120, 0]
    probabilities[120:, 2] = 0.9
    near = np.concatenate([rng.integers(0, 120, (120, 15)), rng.integers(120, 180, (60, 15))])
    judge = judge_of(probabilities, given, near)
    (pair,) = confused_pairs(judge, rank_labels(judge, given))
    assert set(pair.labels) == {"a", "b"}
    assert abs(pair.area - 0.5) < 0.15
    assert 0.4 < pair.neighbors < 0.6


def test_what_is_suspicious_teaches_nobody() -> None:
    rng = np.random.default_rng(0)
    given = np.repeat(np.arange(4), 50)
    probabilities = 0.1 + 0.7 * np.eye(4)[given]
    wrong = np.array([3, 60, 61, 62])
    labels = given.copy()
    labels[wrong] = (given[wrong] + 1) % 4
    near = np.stack([rng.choice(np.flatnonzero(given == one), 15) for one in given])
    near[0, 0] = wrong[0]
    looks = list[np.ndarray | None]()

    def answers(targets: np.ndarray, learned: np.ndarray | None = None) -> np.ndarray:
        assert (targets == labels).all()
        looks.append(learned)
        return probabilities

    judge = replace(judge_of(probabilities, given, near), answers=answers, learns=True)
    ranking = rank_labels(judge, labels)
    first, second = looks
    assert first is None
    assert second is not None
    assert np.flatnonzero(~second).size == round(LEFT_OUT * 200)
    assert not second[wrong].any()
    # They are judged all the same, and come first; their neighbors do without them.
    assert set(ranking.order[:4].tolist()) == set(wrong.tolist())
    assert ranking.scores.neighbors[0] == 1.0


def test_half_of_a_class_teaches_at_least() -> None:
    given = np.repeat(np.arange(2), (96, 4))
    # Nobody believes any label of the small class, neither answers nor neighbors.
    probabilities = np.tile([0.9, 0.1], (100, 1))
    judge = judge_of(probabilities, given, np.tile(np.arange(15), (100, 1)))
    looks = list[np.ndarray]()

    def answers(targets: np.ndarray, learned: np.ndarray | None = None) -> np.ndarray:
        looks.extend([] if learned is None else [learned])
        return probabilities

    rank_labels(replace(judge, answers=answers, learns=True), given)
    (learned,) = looks
    assert learned[96:].sum() == 2
    assert learned[:96].sum() == 94


def test_ten_thousand_classes_and_two() -> None:
    rng = np.random.default_rng(0)
    given = np.arange(1000) % 500
    probabilities = rng.random((1000, 500))
    judge = judge_of(probabilities[:, :8], given % 8, rng.integers(0, 1000, (1000, 15)))
    assert len(confused_pairs(judge, rank_labels(judge, judge.given))) <= 20
    two = judge_of(probabilities[:, :2], given % 2, rng.integers(0, 1000, (1000, 15)))
    found = plant_mistakes(two, rank_labels(two, two.given))
    # Of two classes any other one is the most similar one.
    assert [one.kind for one in found] == ["any", "look-alike"]
    assert found[0].at == found[1].at
    # Answers that know nothing find what chance does.
    assert found[0].at[DEPTHS.index(0.1)].value < 0.3


def test_area_under_the_curve() -> None:
    rng = np.random.default_rng(0)
    own, other = rng.integers(0, 5, 30).astype(float), rng.integers(0, 4, 20).astype(float)
    slow = np.mean([(a > b) + 0.5 * (a == b) for a in own for b in other])
    assert area_under_curve(own, other) == pytest.approx(slow)
    assert area_error(1.0, 30, 20) == 0.0
    assert 0.07 < area_error(0.7, 30, 20) < 0.08
