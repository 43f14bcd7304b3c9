"""An interrupted stream of predictions continues after its last recorded piece, if all is alike."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopsight.images.model_input import Box
from shopsight.inference import answer_journal
from shopsight.inference.answer_journal import AnswerJournal
from shopsight.inference.image_stream import NamedImage
from shopsight.inference.predictor import Prediction

ABOUT = {"model": "0a1b", "top": 1}


class _KilledError(BaseException):
    """What ends a process ends the block without a word."""


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_journal, "PIECE_IMAGES", 4)


@pytest.fixture
def photos(tmp_path: Path) -> list[NamedImage]:
    images = []
    for number in range(10):
        path = tmp_path / "photos" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * (number + 1))
        images.append(NamedImage(str(path), str(path), row=number, name=f"{number}"))
    return images


class Model:
    """Labels images by their number, and fails at one.

    Attributes:
        labeled: numbers of the images that it labeled.
    """

    def __init__(self, fails_at: int | None = None) -> None:
        self.labeled: list[int] = []
        self._fails_at = fails_at

    def __call__(self, images: Iterator[NamedImage]) -> Iterator[Prediction]:
        for image in images:
            number = int(Path(image.source).stem)
            if number == self._fails_at:
                raise _KilledError
            self.labeled.append(number)
            if number % 3 == 2:
                error = f"{image.source}: no bytes"
                yield Prediction(
                    image.source, (), (), (), error, "empty", row=image.row, name=image.name
                )
            else:
                labels = (f"label {number}",)
                yield Prediction(
                    image.source, labels, (0.5,), labels, None, None, "cut", image.row, image.name
                )


def nothing() -> None:
    """What is done before a piece is recorded."""


def answered(
    folder: Path,
    images: list[NamedImage],
    model: Model,
    about: dict[str, Any] = ABOUT,
) -> list[Prediction]:
    with AnswerJournal(folder / "p.csv", folder, about) as journal:
        found = [one for one, _ in journal.predictions(iter(images), model, nothing)]
        assert len(journal.answers.read_bytes().splitlines()) == len(images)
        journal.remove()
    assert list(folder.glob(".shopsight-*")) == []
    return found


def interrupted(folder: Path, images: list[NamedImage], at: int) -> None:
    with (
        pytest.raises(_KilledError),
        AnswerJournal(folder / "p.csv", folder, ABOUT) as journal,
    ):
        list(journal.predictions(iter(images), Model(at), nothing))


@pytest.mark.parametrize("at", range(10))
def test_it_continues_after_the_last_whole_piece(
    at: int, photos: list[NamedImage], tmp_path: Path, said: list[str]
) -> None:
    whole = answered(tmp_path, photos, Model())
    interrupted(tmp_path, photos, at)
    recorded = at // 4 * 4
    assert bool(list(tmp_path.glob(".shopsight-*"))) == bool(recorded)
    model = Model()
    assert answered(tmp_path, photos, model) == whole
    assert model.labeled == list(range(recorded, 10))
    if recorded:
        assert f"continuing after {recorded} images that an interrupted command did" in said


def test_what_a_killed_process_wrote_of_a_piece_is_cut_off(
    photos: list[NamedImage], tmp_path: Path
) -> None:
    interrupted(tmp_path, photos, 9)
    for suffix, content in ((".rows", b'{"image": "half'), (".done", b'{"count": 4, "e')):
        (file,) = tmp_path.glob(f"*{suffix}")
        with file.open("ab") as end:
            end.write(content)
    model = Model()
    found = answered(tmp_path, photos, model)
    assert [one.row for one in found] == list(range(10))
    assert model.labeled == [8, 9]


def test_answers_that_a_power_failure_cut_are_made_again(
    photos: list[NamedImage], tmp_path: Path
) -> None:
    interrupted(tmp_path, photos, 9)
    (rows,) = tmp_path.glob("*.rows")
    rows.write_bytes(rows.read_bytes()[: rows.stat().st_size // 2])
    model = Model()
    assert [one.row for one in answered(tmp_path, photos, model)] == list(range(10))
    assert model.labeled == list(range(4, 10))


@pytest.mark.parametrize(
    ("change", "first"),
    [("replaced", 4), ("removed", 4), ("added", 0), ("box", 4), ("cut", 4)],
)
def test_from_the_first_piece_of_other_images_on_all_is_anew(
    change: str, first: int, photos: list[NamedImage], tmp_path: Path, said: list[str]
) -> None:
    interrupted(tmp_path, photos, 9)
    sixth = Path(photos[6].source)
    if change == "replaced":
        sixth.write_bytes(b"y" * 7)
        os.utime(sixth, ns=(1, 1))
    elif change == "removed":
        del photos[6]
    elif change == "added":
        photos.insert(1, NamedImage(photos[0].source, photos[0].source, row=99))
    elif change == "cut":
        del photos[6:]
    else:
        photos[6] = NamedImage(photos[6].source, photos[6].source, box=Box(0, 0, 1, 1))
    model = Model()
    found = answered(tmp_path, photos, model)
    assert [one.source for one in found] == [one.source for one in photos]
    assert len(model.labeled) == len(photos) - first
    assert any("other images follow" in line for line in said)


def test_another_model_and_other_options_begin_anew(
    photos: list[NamedImage], tmp_path: Path, said: list[str]
) -> None:
    interrupted(tmp_path, photos, 9)
    model = Model()
    answered(tmp_path, photos, model, {**ABOUT, "top": 2})
    assert model.labeled == list(range(10))
    assert said[-1] == "an interrupted command had another model or other options: all anew"


def test_images_without_a_name_are_not_recorded(tmp_path: Path) -> None:
    """Nothing tells one from another."""
    images = [NamedImage(f"{number}", np.zeros((2, 2), np.uint8)) for number in range(10)]
    interrupted(tmp_path, images, 9)
    assert list(tmp_path.iterdir()) == []


def test_pieces_behind_an_image_that_was_not_copied_are_not_recorded(
    photos: list[NamedImage], tmp_path: Path
) -> None:
    def copied() -> None:
        with AnswerJournal(tmp_path / "p.csv", tmp_path, ABOUT) as journal:
            for prediction, _ in journal.predictions(iter(photos), Model(9), nothing):
                if prediction.row == 5:
                    journal.stop_recording()

    with pytest.raises(_KilledError):
        copied()
    model = Model()
    answered(tmp_path, photos, model)
    assert model.labeled == list(range(4, 10))


def test_a_slow_piece_is_recorded_by_time(
    photos: list[NamedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_journal, "PIECE_S", -1.0)
    interrupted(tmp_path, photos, 3)
    (done,) = tmp_path.glob("*.done")
    pieces = [json.loads(line) for line in done.read_text(encoding="utf-8").splitlines()]
    assert [piece["count"] for piece in pieces[1:]] == [1, 1, 1]


def test_it_says_after_how_many_images_it_continues(
    photos: list[NamedImage], tmp_path: Path, said: list[str]
) -> None:
    interrupted(tmp_path, photos, 9)
    assert said == ["the same command continues after 8 images that are labeled"]


def test_a_piece_is_recorded_after_what_the_caller_completes(
    photos: list[NamedImage], tmp_path: Path
) -> None:
    recorded: list[int] = []
    with AnswerJournal(tmp_path / "p.csv", tmp_path, ABOUT) as journal:
        file = journal.answers.with_suffix(".done")

        def complete() -> None:
            recorded.append(len(file.read_text(encoding="utf-8").splitlines()) - 1)

        list(journal.predictions(iter(photos), Model(), complete))
        journal.remove()
    assert recorded == [0, 1, 2]


@pytest.mark.posix("not everybody may make links on Windows")
def test_links_that_somebody_put_in_its_place(photos: list[NamedImage], tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("years of work", encoding="utf-8")
    journal = AnswerJournal(tmp_path / "out.csv", tmp_path, ABOUT)
    journal.answers.symlink_to(thesis)
    journal.answers.with_suffix(".done").symlink_to(thesis)
    with journal:
        assert len(list(journal.predictions(iter(photos), Model(), lambda: None))) == len(photos)
    assert thesis.read_text(encoding="utf-8") == "years of work"
