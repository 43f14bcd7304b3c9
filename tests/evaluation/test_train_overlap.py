"""A model that is scored on images it was trained on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shopsight.audit.file_info import inspect_catalog
from shopsight.catalog.catalog import Catalog
from shopsight.config.evaluation_settings import EvaluationSettings
from shopsight.evaluation.evaluate import Evaluation, evaluate
from shopsight.evaluation.report import write_evaluation_report
from shopsight.evaluation.train_overlap import seen_in_training
from shopsight.inference.predictor import Predictor
from shopsight.runs.run_folder import RunFolder

QUICK = EvaluationSettings()


@pytest.fixture
def run(own_run: Path) -> RunFolder:
    return RunFolder(own_run)


@pytest.fixture
def photos(run: RunFolder) -> Catalog:
    """The run's own images, with their split."""
    return run.catalog()


def copied(catalog: Catalog, folder: Path, copy: Callable[[str, Path], object]) -> Catalog:
    """Copies of the catalog's files under other names, in another order and unsplit."""
    folder.mkdir()
    rows = []
    for number, (label, ref) in enumerate(zip(catalog.table["label"], catalog.refs(), strict=True)):
        copy(ref, folder / f"{number}.jpg")
        rows.append({"image": f"{number}.jpg", "label": label})
    return Catalog(pl.DataFrame(rows[::-1]), name="copied", root=str(folder))


@pytest.fixture
def moved(tmp_path: Path, photos: Catalog) -> Catalog:
    return copied(photos, tmp_path / "moved", shutil.copyfile)


def page_of(found: Evaluation, catalog: Catalog, run: RunFolder) -> str:
    path = write_evaluation_report(found, catalog, run.path / "other.html")
    return path.read_text(encoding="utf-8")


def test_files_are_known_by_their_content(run: RunFolder, photos: Catalog, moved: Catalog) -> None:
    seen = seen_in_training(inspect_catalog(moved.take([*range(len(moved)), 0])), run)
    fitted = [split != "test" for split in photos.table["split"]]
    assert seen.files.tolist() == [*fitted[::-1], fitted[-1]]
    assert not seen.copies.any()


def test_copies_are_known_by_their_looks(run: RunFolder, photos: Catalog, tmp_path: Path) -> None:
    rows = []
    for number, ref in enumerate(photos.refs()):
        rows.append({"image": f"{number}.webp"})
        with Image.open(ref) as image:
            half = image.resize((image.width // 2, image.height // 2))
            half.save(tmp_path / f"{number}.webp", quality=80)
    copies = Catalog(pl.DataFrame(rows), name="copies", root=str(tmp_path))
    seen = seen_in_training(inspect_catalog(copies), run)
    fitted = [split != "test" for split in photos.table["split"]]
    assert seen.copies.tolist() == fitted
    assert not seen.files.any()
    run.thumbs_file.unlink()
    without = seen_in_training(inspect_catalog(copies), run)
    assert not without.either.any()


def test_the_note_tells_of_copies(
    run: RunFolder, photos: Catalog, tmp_path: Path, predictor: Predictor
) -> None:
    def encode_anew(ref: str, path: Path) -> None:
        with Image.open(ref) as image:
            image.save(path, quality=60)

    encoded_anew = copied(photos, tmp_path / "anew", encode_anew)
    found = evaluate(predictor, encoded_anew, split="all", settings=QUICK, run=run)
    fitted = 60 - len(photos.rows_of("test"))
    assert found.seen is not None
    assert (found.seen.seen, found.seen.copies) == (fitted, fitted)
    assert f"({fitted} as copies: encoded anew or resized): the score" in found.seen.note
    assert found.to_json()["seen"]["copies"] == fitted


def test_the_score_is_that_of_the_unseen(
    run: RunFolder, photos: Catalog, moved: Catalog, predictor: Predictor
) -> None:
    found = evaluate(predictor, moved, split="all", settings=QUICK, run=run)
    test = len(photos.rows_of("test"))
    own = evaluate(predictor, photos, split="test", settings=QUICK)
    everything = evaluate(predictor, moved, split="all", settings=QUICK)
    assert found.seen is not None
    assert (found.seen.images, found.seen.seen, found.seen.unseen) == (60, 60 - test, test)
    assert found.score.value == own.score.value != everything.score.value
    assert found.seen.score_on_all == everything.score.value
    assert found.counts["images"] == len(found.predictions) == test
    assert f"{60 - test} of 60 images were among those" in found.seen.note
    assert found.to_json()["seen"]["note"] == found.seen.note
    page = write_evaluation_report(found, moved, run.path / "other.html").read_text(
        encoding="utf-8"
    )
    assert "The model was trained on some of these images." in page
    assert f"that of the other {test}" in page


def test_all_seen_and_none_seen(
    run: RunFolder, photos: Catalog, moved: Catalog, predictor: Predictor
) -> None:
    seen = seen_in_training(inspect_catalog(moved), run)
    known = moved.take(seen.either.nonzero()[0])
    found = evaluate(predictor, known, split="all", settings=QUICK, run=run)
    assert found.counts["images"] == len(known)
    assert found.seen is not None
    assert found.seen.note.startswith(f"all {len(known)} images")
    page = write_evaluation_report(found, known, run.path / "other.html").read_text(
        encoding="utf-8"
    )
    assert "The model was trained on all of these images." in page
    new = moved.take((~seen.either).nonzero()[0])
    found = evaluate(predictor, new, split="all", settings=QUICK, run=run)
    assert found.seen is not None
    assert found.seen.note == ""
    page = page_of(found, new, run)
    assert "the model was trained on none of them" in page


def test_every_image_of_the_folds_was_trained_on(tiny_folds_run: Path) -> None:
    run = RunFolder(tiny_folds_run)
    photos = run.catalog()
    assert seen_in_training(inspect_catalog(photos), run).files.all()
    # One of its trainings has not seen its own test part.
    fold = run.fold(0)
    unseen = ~seen_in_training(inspect_catalog(photos), fold).either
    assert unseen.sum() == len(fold.catalog().rows_of("test"))
