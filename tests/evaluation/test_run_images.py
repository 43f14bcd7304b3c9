"""A run's images are compared with the hashes in its catalog before they are scored again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shopsight import api
from shopsight.errors import CatalogError, ChangedFilesError, ConfigError
from shopsight.read_options import ReadOptions
from shopsight.runs.run_folder import RunFolder
from tests.helpers import Outcome, ProductPhotos, run_command

CHANGED = ("changed-file",)


def place(run: RunFolder, photos: Path) -> None:
    """Let a copy of a run lead to a copy of the photos, as if it had been trained on those."""
    for training in run.trainings():
        path = training.catalog_file
        audited = training.audited_catalog()
        moved = audited.catalog.with_table(audited.catalog.table)
        object.__setattr__(moved, "root", photos.as_posix())
        audited.with_catalog(moved).write(path)


@pytest.fixture
def photos(product_photos: ProductPhotos, tmp_path: Path) -> Path:
    return shutil.copytree(product_photos.folder, tmp_path / "photos")


@pytest.fixture
def run(own_run: Path, photos: Path) -> RunFolder:
    """A finished run whose photos may be changed."""
    place(RunFolder(own_run), photos)
    return RunFolder(own_run)


def image_of_test(run: RunFolder, number: int = 0) -> Path:
    catalog = run.catalog()
    return Path(catalog.take(catalog.rows_of("test")).refs()[number])


def replace_by_another_class(image: Path) -> None:
    other = next(
        folder for folder in image.parents[1].iterdir() if folder.name != image.parent.name
    )
    image.write_bytes(sorted(other.iterdir())[-1].read_bytes())


def swap_unnoticed(image: Path) -> None:
    """Change the content, but neither size nor modification time."""
    data, stat = bytearray(image.read_bytes()), image.stat()
    data[-3] ^= 1
    image.write_bytes(data)
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def content(run: RunFolder) -> dict[str, bytes]:
    names = (run.scores_file, run.report_file, run.catalog_file, run.predictions_file("test"))
    return {file.name: file.read_bytes() for file in names}


@pytest.mark.parametrize("change", [replace_by_another_class, swap_unnoticed, Path.unlink])
@pytest.mark.parametrize("mode", ["auto", "off"])
def test_an_image_that_is_another_is_named_and_nothing_is_written(
    run: RunFolder, change: Callable[[Path], None], mode: str
) -> None:
    run.write_recipe(run.recipe().replace(cache={"mode": mode}))
    before = content(run)
    image = image_of_test(run)
    change(image)
    with pytest.raises(ChangedFilesError, match=image.name):
        api.evaluate(run.path)
    assert content(run) == before


def test_what_is_accepted_is_scored_as_it_is_now(run: RunFolder) -> None:
    whole = api.evaluate(run.path)
    replace_by_another_class(image_of_test(run, 0))
    swap_unnoticed(image_of_test(run, 1))
    image_of_test(run, 2).unlink()
    found = api.evaluate(run.path, accept=CHANGED)
    assert len(found.predictions) == len(whole.predictions) - 1
    rows = found.predictions.table["row"].to_list()
    # Rows are still those of the run's catalog.
    names = run.catalog().table["image"].gather(rows).to_list()
    assert found.predictions.table["image"].to_list() == names
    before = dict(whole.predictions.table.select("row", "confidence").iter_rows())
    after = dict(found.predictions.table.select("row", "confidence").iter_rows())
    differing = [row for row in rows if before[row] != after[row]]
    assert run.catalog().rows_of("test")[0] in differing
    assert set(differing) <= set(run.catalog().rows_of("test")[:2].tolist())


def test_a_class_that_vanished_is_named_where_that_is_accepted(
    run: RunFolder, said: list[str]
) -> None:
    catalog = run.catalog()
    hats = catalog.take((catalog.table["label"] == "hat").arg_true().to_list())
    for ref in hats.refs():
        Path(ref).unlink()
    found = api.evaluate(run.path, accept=CHANGED)
    assert "hat" not in found.predictions.table["label"].to_list()
    assert any(line.endswith("; no image is left of hat") for line in said)


def test_a_changed_training_image_is_named_too(run: RunFolder) -> None:
    catalog = run.catalog()
    Path(catalog.take(catalog.rows_of("train")).refs()[0]).unlink()
    with pytest.raises(ChangedFilesError, match=r"1 of 60 images \(0 changed, 1 vanished\)"):
        api.evaluate(run.path)


def test_the_command_exits_with_1_and_says_what_to_do(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    def shopsight(*words: object) -> Outcome:
        return run_command(capsys, words)

    image_of_test(run).unlink()
    done = shopsight("evaluate", run.path)
    assert done.code == 1
    assert "--accept changed-file" in done.err
    assert f"shopsight evaluate {run.path} --images-root" in done.err
    assert shopsight("evaluate", run.path, "--accept", "changed-file").code == 0
    assert shopsight("evaluate", run.path, "--accept", "changed-files").code == 2
    run.report_file.unlink()
    resumed = shopsight("train", "--resume", run.path)
    assert resumed.code == 1
    assert f"shopsight train --resume {run.path} --images-root" in resumed.err
    accepted = shopsight("train", "--resume", run.path, "--accept", "changed-file")
    assert accepted.code == 0
    assert "1 vanished, e.g. " in accepted.err
    assert "nothing is left to resume" in shopsight("train", "--resume", run.path).err


def test_folds_are_compared_too(tiny_folds_run: Path, photos: Path, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(tiny_folds_run, tmp_path / "folds"))
    place(run, photos)
    image = Path(run.catalog().refs()[7])
    image.unlink()
    with pytest.raises(ChangedFilesError, match=image.name):
        api.evaluate(run.path)
    assert len(api.evaluate(run.path, accept=CHANGED).predictions) == 59


@pytest.mark.parametrize("place_now", ["elsewhere", "deep/er/elsewhere"])
def test_a_run_is_pointed_at_photos_that_moved(
    run: RunFolder, photos: Path, tmp_path: Path, place_now: str
) -> None:
    before = api.evaluate(run.path)
    moved = tmp_path / place_now
    moved.parent.mkdir(parents=True, exist_ok=True)
    photos.rename(moved)
    with pytest.raises(ChangedFilesError, match="60 of 60 images"):
        api.evaluate(run.path)
    top = tmp_path / Path(place_now).parts[0]
    found = api.evaluate(run.path, read=ReadOptions(images_root=top))
    assert found.predictions.table.equals(before.predictions.table)
    # The run knows from now on.
    assert Path(run.catalog().root) == moved
    assert api.evaluate(run.path).to_json() == before.to_json()


def test_photos_that_were_renamed_are_found_by_their_content(
    run: RunFolder, photos: Path, tmp_path: Path
) -> None:
    before = api.evaluate(run.path)
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, image in enumerate(sorted(photos.rglob("*.jpg"))):
        image.rename(flat / f"{number:04}.jpg")
    found = api.evaluate(run.path, read=ReadOptions(images_root=flat))
    assert found.metrics == before.metrics
    assert found.predictions.table["image"].to_list() != before.predictions.table["image"].to_list()


def test_photos_some_of_which_moved(run: RunFolder, photos: Path, tmp_path: Path) -> None:
    before = api.evaluate(run.path)
    (photos / "hat").rename(tmp_path / "hat")
    (tmp_path / "new").mkdir()
    (tmp_path / "hat").rename(tmp_path / "new" / "hat")
    found = api.evaluate(run.path, read=ReadOptions(images_root=tmp_path / "new"))
    assert found.metrics == before.metrics


def test_other_photos_are_not_taken_for_those_that_moved(
    run: RunFolder, photos: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(photos, tmp_path / "moved")
    image = moved / image_of_test(run).relative_to(photos)
    replace_by_another_class(image)
    shutil.rmtree(photos)
    root = run.catalog().root
    with pytest.raises(ChangedFilesError, match=f"changed: {image.parent.name}/{image.name}"):
        api.evaluate(run.path, read=ReadOptions(images_root=moved))
    assert run.catalog().root == root
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match="none of the 60 images of the run"):
        api.evaluate(run.path, read=ReadOptions(images_root=tmp_path / "empty"))
    with pytest.raises(CatalogError, match="no such folder"):
        api.evaluate(run.path, read=ReadOptions(images_root=tmp_path / "nowhere"))


def test_without_data_other_options_are_refused(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="--label would change nothing"):
        api.evaluate(run.path, read=ReadOptions(label="x"))


@pytest.fixture
def begun(run: RunFolder) -> RunFolder:
    """A run that was stopped after the first of two epochs."""
    run.write_recipe(run.recipe().replace(training={"epochs": 2}))
    state = json.loads(run.state_file.read_text(encoding="utf-8"))
    run.state_file.write_text(json.dumps(state | {"stage": "probed"}), encoding="utf-8")
    for folder in (run.model, run.predictions):
        shutil.rmtree(folder)
    run.report_file.unlink()
    return run


def test_resuming_compares_before_the_first_epoch(
    begun: RunFolder, photos: Path, tmp_path: Path
) -> None:
    history = begun.metrics_file.read_bytes()
    photos.rename(tmp_path / "moved")
    with pytest.raises(ChangedFilesError, match="60 of 60") as raised:
        api.resume(begun.path)
    assert f"shopsight train --resume {begun.path} --images-root" in str(raised.value)
    assert begun.metrics_file.read_bytes() == history
    done = api.resume(begun.path, read=ReadOptions(images_root=tmp_path / "moved"))
    assert set(done.evaluations) == {"val", "test"}


def test_resuming_without_the_images_that_vanished(begun: RunFolder, photos: Path) -> None:
    catalog = begun.catalog()
    for part in ("train", "test"):
        Path(catalog.take(catalog.rows_of(part)).refs()[0]).unlink()
    replace_by_another_class(image_of_test(begun, 1))
    with pytest.raises(ChangedFilesError, match="1 changed, 2 vanished"):
        api.resume(begun.path)
    done = api.resume(begun.path, accept=CHANGED)
    assert done.evaluations["test"].counts["images"] == len(catalog.rows_of("test")) - 1
    assert len(begun.catalog()) == 58
    assert len(begun.state()["changed_files"]["vanished"]) == 2
    assert api.evaluate(begun.path).metrics == done.evaluations["test"].metrics


def test_a_class_that_vanished_cannot_be_accepted(begun: RunFolder, photos: Path) -> None:
    shutil.rmtree(photos / "hat")
    with pytest.raises(ChangedFilesError, match="nothing is left of hat"):
        api.resume(begun.path, accept=CHANGED)


def test_a_finished_run_is_left_as_it_is(run: RunFolder, photos: Path) -> None:
    done = api.evaluate(run.path)
    before = content(run)
    shutil.rmtree(photos)
    again = api.resume(run.path)
    assert again.evaluations["test"].metrics == done.metrics
    assert content(run) == before
