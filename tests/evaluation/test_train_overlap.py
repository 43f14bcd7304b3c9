"""A model that is scored on images it was trained on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from shopsight.audit.file_info import inspect_all
from shopsight.catalog.catalog import Catalog
from shopsight.config.sections import EvaluationSettings
from shopsight.evaluation.evaluate import evaluate
from shopsight.evaluation.report import write_evaluation_report
from shopsight.evaluation.train_overlap import run_of, seen_in_training
from shopsight.files import write_text
from shopsight.images.thumbnails import write_thumbs
from shopsight.inference.predictor import Predictor

QUICK = EvaluationSettings(bootstrap_resamples=200)


@pytest.fixture
def run(tmp_path: Path, catalog: Catalog) -> Path:
    """A run folder whose catalog has the files' hashes, and their thumbnails."""
    hashes = [hashlib.sha256(Path(ref).read_bytes()).hexdigest() for ref in catalog.refs()]
    hashed = catalog.with_table(catalog.table.with_columns(pl.Series("sha256", hashes)))
    hashed.write(tmp_path / "run" / "catalog.parquet")
    thumbs = inspect_all(catalog.refs()).thumbs
    write_thumbs(tmp_path / "run" / "audit" / "thumbs.parquet", hashed.table["sha256"], thumbs)
    write_text(tmp_path / "run" / "model" / "model.json", "{}")
    return tmp_path / "run"


def copied(catalog: Catalog, folder: Path, copy: Callable[[str, Path], object]) -> Catalog:
    """Copies of the catalog's files under other names, in another order and unsplit."""
    rows = []
    for place, (label, ref) in enumerate(zip(catalog.table["label"], catalog.refs(), strict=True)):
        copy(ref, folder / f"{place}.jpg")
        rows.append({"image": f"{place}.jpg", "label": label})
    return Catalog(pl.DataFrame(rows[::-1]), name="copied", root=str(folder))


@pytest.fixture
def moved(tmp_path: Path, catalog: Catalog) -> Catalog:
    return copied(catalog, tmp_path, shutil.copyfile)


def test_files_are_known_by_their_content(run: Path, catalog: Catalog, moved: Catalog) -> None:
    seen = seen_in_training([*moved.refs(), moved.refs()[0]], run)
    assert seen is not None
    fitted = [split != "test" for split in catalog.table["split"]]
    assert seen.files.tolist() == [*fitted[::-1], fitted[-1]]
    assert not seen.copies.any()


def test_copies_are_known_by_their_looks(run: Path, catalog: Catalog, tmp_path: Path) -> None:
    copies = []
    for place, ref in enumerate(catalog.refs()):
        copies.append(str(tmp_path / f"{place}.webp"))
        with Image.open(ref) as image:
            half = image.resize((image.width // 2, image.height // 2))
            half.save(copies[-1], quality=80)
    seen = seen_in_training(copies, run)
    assert seen is not None
    fitted = [split != "test" for split in catalog.table["split"]]
    assert seen.copies.tolist() == fitted
    assert not seen.files.any()
    (run / "audit" / "thumbs.parquet").unlink()
    without = seen_in_training(copies, run)
    assert without is not None
    assert not without.either.any()


def test_the_note_tells_of_copies(
    run: Path, catalog: Catalog, tmp_path: Path, predictor: Predictor
) -> None:
    def encode_anew(ref: str, path: Path) -> None:
        with Image.open(ref) as image:
            image.save(path, quality=60)

    encoded_anew = copied(catalog, tmp_path, encode_anew)
    found = evaluate(predictor, encoded_anew, split="all", settings=QUICK, run=run)
    fitted = 60 - len(catalog.rows_of("test"))
    assert found.seen is not None
    assert (found.seen.seen, found.seen.copies) == (fitted, fitted)
    assert f"({fitted} as copies: encoded anew or resized): the score" in found.seen.note
    assert found.to_json()["seen"]["copies"] == fitted


def test_the_score_is_that_of_the_unseen(
    run: Path, catalog: Catalog, moved: Catalog, predictor: Predictor
) -> None:
    found = evaluate(predictor, moved, split="all", settings=QUICK, run=run)
    test = len(catalog.rows_of("test"))
    own = evaluate(predictor, catalog, split="test", settings=QUICK)
    everything = evaluate(predictor, moved, split="all", settings=QUICK)
    assert found.seen is not None
    assert (found.seen.images, found.seen.seen, found.seen.unseen) == (60, 60 - test, test)
    assert found.score.value == own.score.value != everything.score.value
    assert found.seen.score_on_all == everything.score.value
    assert found.counts["images"] == len(found.predictions) == test
    assert f"{60 - test} of 60 images were among those" in found.seen.note
    assert found.to_json()["seen"]["note"] == found.seen.note
    page = write_evaluation_report(found, moved, run / "other.html").read_text(encoding="utf-8")
    assert "The model was trained on some of these images." in page
    assert f"that of the other {test}" in page


def test_all_seen_and_none_seen(
    run: Path, catalog: Catalog, moved: Catalog, predictor: Predictor
) -> None:
    seen = seen_in_training(moved.refs(), run)
    assert seen is not None
    known = moved.take(seen.either.nonzero()[0])
    found = evaluate(predictor, known, split="all", settings=QUICK, run=run)
    assert found.counts["images"] == len(known)
    assert found.seen is not None
    assert found.seen.note.startswith(f"all {len(known)} images")
    page = write_evaluation_report(found, known, run / "other.html").read_text(encoding="utf-8")
    assert "The model was trained on all of these images." in page
    new = moved.take((~seen.either).nonzero()[0])
    found = evaluate(predictor, new, split="all", settings=QUICK, run=run)
    assert found.seen is not None
    assert found.seen.note == ""
    page = write_evaluation_report(found, new, run / "other.html").read_text(encoding="utf-8")
    assert "the model was trained on none of them" in page


def test_every_image_of_the_folds_was_trained_on(run: Path, moved: Catalog) -> None:
    table = pl.read_parquet(run / "catalog.parquet").drop("split").with_columns(fold=pl.lit(0))
    table.write_parquet(run / "catalog.parquet")
    seen = seen_in_training(moved.refs(), run)
    assert seen is not None
    assert seen.files.all()


def test_a_run_without_hashes_cannot_be_asked(
    run: Path, catalog: Catalog, moved: Catalog, predictor: Predictor
) -> None:
    catalog.write(run / "catalog.parquet")
    found = evaluate(predictor, moved, split="all", settings=QUICK, run=run)
    assert found.seen is None
    assert found.counts["images"] == 60


def test_only_a_bundle_inside_its_run_knows_it(run: Path, tmp_path: Path) -> None:
    assert run_of(run) == run_of(run / "model") == run
    write_text(tmp_path / "alone" / "model.json", "{}")
    assert run_of(tmp_path / "alone") is None
    write_text(tmp_path / "elsewhere" / "model" / "model.json", "{}")
    assert run_of(tmp_path / "elsewhere" / "model") is None
