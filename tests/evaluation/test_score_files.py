"""Scores of many labels in files: written by image, read by label, the same numbers."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.errors import DamagedFileError, WriteError
from shopsight.evaluation import headline, predict_catalog, score_files
from shopsight.evaluation.compare import COMPARED
from shopsight.evaluation.paired_scores import paired_scores
from shopsight.evaluation.predictions import Predictions
from shopsight.evaluation.score import score
from shopsight.evaluation.score_files import FiledScores, ScoreFile, new_score_file
from tests.evaluation.conftest import FittedOn

QUICK = EvaluationSettings()


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_files, "TILE_IMAGES", 8)


def filed(table: np.ndarray, batch: int) -> ScoreFile:
    with new_score_file(*table.shape) as writer:
        for start in range(0, len(table), batch):
            writer.add(table[start : start + batch])
    return writer.file


@pytest.mark.parametrize("images", [1, 7, 8, 9, 40])
def test_labels_come_back_whatever_the_batches_were(images: int, tmp_path: Path) -> None:
    table = np.random.default_rng(images).random((images, 5)).astype(np.float32)
    with use_cache_dir(tmp_path):
        for batch in (1, 3, 8, 100):
            file = filed(table, batch)
            assert file.path.stat().st_size == file.num_bytes == table.nbytes
            assert file.of_labels(0, 5).tolist() == table.T.tolist()
            assert file.of_labels(2, 4).tolist() == table.T[2:4].tolist()


def test_rows_are_chosen_over_several_files(tmp_path: Path) -> None:
    table = np.random.default_rng(0).random((30, 3)).astype(np.float32)
    with use_cache_dir(tmp_path):
        files = [filed(table[:11], 4), filed(table[11:], 4)]
    rows = np.array([29, 0, 11, 10, 10])
    assert FiledScores(files, rows).of_labels(1, 3).tolist() == table[rows, 1:].T.tolist()


def test_a_file_goes_with_the_last_who_holds_it(tmp_path: Path) -> None:
    with use_cache_dir(tmp_path / "cache"):
        file, kept = (filed(np.ones((3, 2), np.float32), 3) for _ in range(2))
    kept.keep(tmp_path / "kept.scores")
    path = file.path
    assert path.is_file()
    del file, kept
    gc.collect()
    assert not path.exists()
    assert (tmp_path / "kept.scores").is_file()
    assert not list((tmp_path / "cache" / "scores").iterdir())


def test_a_full_disk_is_told_before_anything_is_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_files, "free_bytes", lambda _: 10**9)
    with (
        use_cache_dir(tmp_path),
        pytest.raises(WriteError, match=r"10,000 scores of 1,000,000 images take 40") as raised,
        new_score_file(1_000_000, 10_000),
    ):
        pass
    assert raised.value.fix == "--cache-dir FOLDER on a disk with more room"
    assert not list(tmp_path.iterdir())


class Both(NamedTuple):
    table: Predictions
    file: Predictions


@pytest.fixture
def both(several: Catalog, fitted_on: FittedOn, tmp_path: Path) -> Both:
    """The same predictions with their scores in the table, and in files."""
    predictor = fitted_on(several)
    table = predict_catalog.predict_catalog(predictor, several, split="test")
    with pytest.MonkeyPatch.context() as patch, use_cache_dir(tmp_path / "cache"):
        patch.setattr(predict_catalog, "MOST_SCORES_IN_TABLE", 10)
        file = predict_catalog.predict_catalog(predictor, several, split="test")
    return Both(table, file)


def test_the_numbers_are_those_of_the_table(both: Both) -> None:
    assert "scores" not in both.file.table.columns
    assert both.file.score_table() == pytest.approx(both.table.score_table(), abs=1e-6)
    found, expected = score(both.file, QUICK), score(both.table, QUICK)
    assert found.metrics == pytest.approx(expected.metrics, abs=1e-5)
    columns = ["recall", "average_precision"]
    assert found.per_class[columns].to_numpy() == pytest.approx(
        expected.per_class[columns].to_numpy(), abs=1e-5
    )


def test_they_survive_the_file_and_replace_the_former_ones(both: Both, tmp_path: Path) -> None:
    path = tmp_path / "run" / "test.parquet"
    for _ in range(2):
        both.file.write(path)
        back = Predictions.read(path)
        assert back.table.equals(both.file.table)
        assert back.score_table().tolist() == both.file.score_table().tolist()
    assert len(list(path.parent.iterdir())) == 2
    other = path.with_name("val.parquet")
    Predictions.read(path).write(other)
    assert len(list(path.parent.iterdir())) == 3
    both.table.write(other)
    assert score(Predictions.read(other), QUICK).headline == "mean_average_precision"
    assert not list(path.parent.glob("val-*"))
    few = Predictions.read(other, COMPARED)
    assert set(few.table.columns) == {"row", "image", "group", "label", "correct", "scores"}


def test_damaged_scores_are_refused_before_they_are_read(both: Both, tmp_path: Path) -> None:
    path = tmp_path / "run" / "test.parquet"
    both.file.write(path)
    (scores,) = path.parent.glob("*.scores")
    data = scores.read_bytes()
    scores.write_bytes(data[:-4])
    with pytest.raises(DamagedFileError, match=r"the scores of these predictions are .* bytes"):
        Predictions.read(path)
    scores.unlink()
    with pytest.raises(DamagedFileError, match="the scores of these predictions are missing"):
        Predictions.read(path)


def test_folds_with_files_are_put_together(
    several: Catalog, fitted_on: FittedOn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = fitted_on(several)
    splits = ("test", "train", "val")
    tables = [predict_catalog.predict_catalog(predictor, several, split=s) for s in splits]
    monkeypatch.setattr(predict_catalog, "MOST_SCORES_IN_TABLE", 10)
    with use_cache_dir(tmp_path / "cache"):
        files = [predict_catalog.predict_catalog(predictor, several, split=s) for s in splits]
    whole = Predictions.concat(files)
    whole.write(tmp_path / "out-of-fold.parquet")
    back = Predictions.read(tmp_path / "out-of-fold.parquet")
    expected = Predictions.concat(tables).score_table()
    assert back.score_table() == pytest.approx(expected, abs=1e-6)
    one = score(back, QUICK).folds
    other = score(Predictions.concat(tables), QUICK).folds
    assert one is not None
    assert other is not None
    assert one.mean == pytest.approx(other.mean, abs=1e-5)


def test_scores_in_files_are_compared_like_those_in_tables(both: Both) -> None:
    found = paired_scores([both.table, both.file])
    one, other = found.scores
    assert one.value == pytest.approx(other.value)
    assert one.low < one.value < one.high
    assert headline.headline_value(both.file) == pytest.approx(other.value)
