"""Screens, decisions, the journal, the blind check, and what is written."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shopsight.audit.row_decisions import dropped_rows, with_new_labels
from shopsight.catalog.catalog import Catalog
from shopsight.desk.desk import Desk
from shopsight.desk.journal import Journal
from shopsight.desk.suggestions import Suggestions, suggest
from shopsight.errors import ConfigError
from shopsight.inference.load import load
from tests.helpers import ProductPhotos

LABELS = ("bag", "hat", "shoe")


def suggestions(
    count: int = 12,
    *,
    given: list[str | None] | None = None,
    suggested: list[tuple[int, ...]] | None = None,
    confidence: list[float] | None = None,
    unknown: list[int] | None = None,
    copies: list[int] | None = None,
    vectors: np.ndarray | None = None,
) -> Suggestions:
    names = [f"{number}.jpg" for number in range(count)]
    given = given or ["bag"] * count
    suggested = suggested or [(1, 0, 2)] * count
    kinds = tuple(
        "unreadable"
        if not some
        else "unlabeled"
        if label is None
        else "agreed"
        if LABELS[some[0]] == label
        else "doubtful"
        for some, label in zip(suggested, given, strict=True)
    )
    sure = np.array(confidence or np.linspace(0.99, 0.5, count))
    return Suggestions(
        catalog=Catalog(pl.DataFrame({"image": names}), "photos", "/nowhere"),
        ids=tuple(names),
        given=tuple(given),
        labels=LABELS,
        suggested=tuple(suggested),
        confidence=sure,
        kinds=kinds,  # type: ignore[arg-type]
        suspicion=sure,
        unknown=np.isin(np.arange(count), unknown or []),
        copies=np.arange(count) if copies is None else np.array(copies),
        vectors=np.empty((count, 0), np.float32) if vectors is None else vectors,
    )


def ids(desk: Desk, rows: tuple[int, ...]) -> list[str]:
    return [desk.suggestions.ids[row] for row in rows]


def test_a_screen_is_of_one_class_and_the_most_doubted_come_first(tmp_path: Path) -> None:
    of = [(1, 0, 2)] * 7 + [(2, 1, 0)] * 5
    desk = Desk(suggestions(suggested=of), tmp_path)
    screen = desk.screen("doubtful", most=5)
    assert (screen.label, screen.rows) == ("hat", (0, 1, 2, 3, 4))
    desk.decide("hat", accepted=ids(desk, screen.rows))
    # Two hats are left, and five shoes: the fuller screen comes first.
    assert desk.screen("doubtful", most=5).label == "shoe"
    assert desk.screen("doubtful", most=5, skip=["shoe"]).rows == (5, 6)
    assert desk.counts()["decided"] == 5


def test_what_is_not_of_a_class_comes_under_the_next_and_is_left_at_last(tmp_path: Path) -> None:
    desk = Desk(suggestions(2, given=[None, None]), tmp_path)
    for label in ("hat", "bag", "shoe"):
        screen = desk.screen("unlabeled")
        assert (screen.label, screen.rows) == (label, (0, 1))
        desk.decide(label, accepted=[], declined=ids(desk, screen.rows))
    assert desk.screen("unlabeled").rows == ()
    assert desk.screen("left").rows == (0, 1)
    desk.decide("scarf", accepted=["0.jpg"], dropped=["1.jpg"])
    assert desk.counts()["left"] == 0
    assert "scarf" in desk.known_labels()
    assert desk.decisions().rows() == [
        ("0.jpg", "keep", "scarf", None, "0.jpg"),
        ("1.jpg", "drop", None, None, "1.jpg"),
    ]


def test_each_reviewer_undoes_their_own_and_the_later_decision_counts(tmp_path: Path) -> None:
    desk = Desk(suggestions(2), tmp_path)
    desk.decide("hat", accepted=["0.jpg", "1.jpg"], reviewer="ann")
    desk.decide("shoe", accepted=["1.jpg"], reviewer="bo")
    assert desk.decisions()["new_label"].to_list() == ["hat", "shoe"]
    assert desk.undo(reviewer="ann") is not None
    assert desk.decisions()["new_label"].to_list() == ["shoe"]
    assert desk.undo(reviewer="ann") is None
    assert desk.undo(reviewer="bo") is not None
    assert desk.decisions().is_empty()
    # One screen is one action, whatever was decided on it.
    desk.decide("hat", accepted=["0.jpg"], declined=["1.jpg"], reviewer="ann")
    assert desk.screen("doubtful").label == "bag"
    desk.undo(reviewer="ann")
    assert desk.screen("doubtful").rows == (0, 1)
    # Both are kept.
    assert [one.outcome for one in Journal(tmp_path / "journal.jsonl").decisions] == [
        "label", "label", "undo", "undo", "label", "not", "undo",
    ]  # fmt: skip


def test_a_desk_goes_on_where_it_was_and_a_line_cut_short_is_none(tmp_path: Path) -> None:
    first = Desk(suggestions(), tmp_path)
    first.decide("hat", accepted=["0.jpg"], declined=["1.jpg"])
    journal = tmp_path / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"number": 3, "outcome": "label", "ids": ["2.j')
    again = Desk(suggestions(), tmp_path)
    assert again.counts() == first.counts()
    assert again.decisions().equals(first.decisions())
    again.decide("hat", accepted=["2.jpg"])
    assert len(Journal(journal).decisions) == 3
    journal.write_text("no decision\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 1 is no decision"):
        Desk(suggestions(), tmp_path)


def test_a_full_disk_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shopsight.desk import journal
    from shopsight.errors import WriteError

    desk = Desk(suggestions(), tmp_path)
    desk.decide("hat", accepted=["0.jpg"])
    before = (tmp_path / "journal.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal.os, "fsync", full)
    with pytest.raises(WriteError, match="the disk is full"):
        desk.decide("hat", accepted=["1.jpg"])
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    assert desk.counts()["decided"] == 1


def test_decisions_about_images_that_are_not_there_are_refused(tmp_path: Path) -> None:
    desk = Desk(suggestions(), tmp_path)
    with pytest.raises(ConfigError, match="not in the catalog"):
        desk.decide("hat", accepted=["other.jpg"])
    with pytest.raises(ConfigError, match="named twice"):
        desk.decide("hat", accepted=["1.jpg"], dropped=["1.jpg"])
    for label in ("", "x" * 301, "a\nb"):
        with pytest.raises(ConfigError, match="a label has"):
            desk.decide(label, accepted=["1.jpg"])
    assert desk.counts()["decided"] == 0
    # A catalog that lost an image: what was decided of it stays in the journal, and does no harm.
    desk.decide("hat", accepted=["11.jpg"])
    assert Desk(suggestions(5), tmp_path).counts()["decided"] == 0


def test_copies_with_several_labels_get_one(tmp_path: Path) -> None:
    given = ["hat", "bag", "hat", "shoe", "shoe", "bag"]
    desk = Desk(suggestions(6, given=given, copies=[0, 0, 0, 1, 1, 2]), tmp_path)
    counts = desk.counts()
    assert (counts["conflicting"], counts["duplicates"]) == (3, 2)
    screen = desk.screen("conflicting")
    assert (screen.label, screen.rows, screen.marks) == ("hat", (0, 1, 2), ("yes",) * 3)
    assert desk.screen("conflicting", skip=["hat"]).rows == ()
    desk.decide("bag", accepted=ids(desk, (0, 1, 2)))
    assert desk.counts()["conflicting"] == 0
    # Now they have one label, and somebody has looked at them.
    screen = desk.screen("duplicates")
    assert (screen.label, screen.rows, screen.marks) == ("shoe", (3, 4), ("yes", "drop"))
    desk.decide("shoe", accepted=["3.jpg"], dropped=["4.jpg"])
    assert desk.counts()["duplicates"] == 0
    found = dict(desk.decisions().select("id", "decision").iter_rows())
    assert found["3.jpg"] == "keep"
    assert found["4.jpg"] == "drop"


def test_a_conflict_that_somebody_left_as_it_is_does_not_come_again(tmp_path: Path) -> None:
    desk = Desk(suggestions(2, given=["hat", "bag"], copies=[0, 0]), tmp_path)
    desk.decide("hat", accepted=["0.jpg"])
    assert desk.counts()["conflicting"] == 2
    desk.decide("bag", accepted=["1.jpg"])
    assert desk.counts()["conflicting"] == 0


def test_what_the_model_does_not_know_waits_by_itself(tmp_path: Path) -> None:
    desk = Desk(suggestions(4, unknown=[1, 3], confidence=[0.9, 0.8, 0.7, 0.3]), tmp_path)
    screen = desk.screen("unknown")
    # The least sure one first; what is hardly likely begins clicked away.
    assert (screen.rows, screen.marks) == ((3, 1), ("not", "yes"))
    desk.decide("hat", accepted=["1.jpg"], declined=["3.jpg"])
    assert desk.counts()["unknown"] == 1


def test_photos_that_look_alike_are_labeled_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    looks = np.eye(3, 8, dtype=np.float32)
    vectors = np.repeat(looks, 20, axis=0) + rng.normal(0, 0.05, (60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    desk = Desk(suggestions(60, given=[None] * 60, vectors=vectors), tmp_path)
    names = ("scarf", "glove", "belt")
    for number in range(3):
        screen = desk.screen("alike", most=12)
        looks_there = {row // 20 for row in screen.rows}
        assert len(looks_there) == 1
        assert len(screen.rows) == 12
        desk.decide(names[looks_there.pop()], accepted=ids(desk, screen.rows))
        assert desk.counts()["decided"] == 12 * (number + 1)
    # What is left of each is suggested the label of its like.
    screen = desk.screen("alike", most=5)
    assert screen.label == names[screen.rows[0] // 20]
    assert not Desk(suggestions(5), tmp_path / "labeled").counts()["alike"]


def test_the_labels_as_they_are_now_are_a_catalog(
    product_photos: ProductPhotos, tmp_path: Path
) -> None:
    names = sorted(
        path.relative_to(product_photos.folder).as_posix()
        for path in product_photos.folder.rglob("*.jpg")
    )[:6]
    catalog = Catalog(pl.DataFrame({"image": names}), "shop", str(product_photos.folder))
    own = suggestions(6, given=["hat", "bag", None, None, "shoe", "shoe"])
    desk = Desk(replace(own, catalog=catalog, ids=tuple(names)), tmp_path / "desk")
    desk.decide("scarf", accepted=names[2:3])
    desk.decide("bag", accepted=names[4:5], dropped=names[:1])
    desk.write_catalog(tmp_path / "now.parquet")
    found = Catalog.read(tmp_path / "now.parquet")
    assert found.table["image"].to_list() == [names[row] for row in (1, 2, 4, 5)]
    assert found.table["label"].to_list() == ["bag", "scarf", "bag", "shoe"]
    assert all(Path(ref).is_file() for ref in found.refs())
    empty = Desk(suggestions(2, given=[None, None]), tmp_path / "empty")
    with pytest.raises(ConfigError, match="no image has a label yet"):
        empty.write_catalog(tmp_path / "none.parquet")


def test_the_blind_check_measures_what_people_said_without_a_suggestion(tmp_path: Path) -> None:
    desk = Desk(suggestions(40), tmp_path)
    assert desk.score() == {"images": 0, "of": 40}
    for number in range(10):
        row = desk.blind_row()
        assert row is not None
        name = desk.suggestions.ids[row]
        # The given label is "bag"; the person sees a hat on two of ten.
        desk.decide_blind(name, "hat" if number < 2 else "bag")
    score = desk.score()
    assert (score["images"], score["right"], score["more_to_halve"]) == (10, 8, 30)
    assert score["low"] == pytest.approx(0.490, abs=0.001)
    assert score["high"] == pytest.approx(0.943, abs=0.001)
    # What is decided later counts: the label of one of the two is corrected.
    wrong = next(row for row, label in desk._board.blind.items() if label == "hat")
    desk.decide("hat", accepted=[desk.suggestions.ids[wrong]])
    assert desk.score()["right"] == 9
    other = Desk(suggestions(400), tmp_path / "other")
    outside = next(row for row in range(400) if row not in other._holdout)
    with pytest.raises(ConfigError, match="not of the holdout"):
        other.decide_blind(f"{outside}.jpg", "hat")


def test_a_hundred_thousand_images_stay_fluid(tmp_path: Path) -> None:
    count = 100_000
    rng = np.random.default_rng(0)
    of = [tuple(row) for row in rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1).tolist()]
    desk = Desk(suggestions(count, suggested=of), tmp_path)
    screen = desk.screen("doubtful")
    desk.decide(screen.label, accepted=ids(desk, screen.rows))
    began = time.process_time()
    for _ in range(10):
        screen = desk.screen("doubtful")
        desk.decide(screen.label, accepted=ids(desk, screen.rows))
        desk.counts()
    # Not a benchmark: a loop over all images in Python would take ten times as long.
    assert time.process_time() - began < 5.0
    assert desk.counts()["decided"] == 11 * 24


def test_suggestions_of_a_folder_and_of_a_run(
    tiny_run: Path, product_photos: ProductPhotos
) -> None:
    predictor = load(tiny_run)
    of_folder = suggest(product_photos.folder, predictor)
    assert len(of_folder) == product_photos.count
    assert set(of_folder.kinds) <= {"agreed", "doubtful"}
    of_run = suggest(tiny_run, predictor)
    assert set(of_run.given) <= {"dress", "hat", "shoe"}
    assert all(len(some) == 3 for some in of_run.suggested)
    assert of_run.vectors.shape == (len(of_run), 0)


def test_suggestions_of_photos_without_labels(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    from shutil import copyfile

    files = sorted(product_photos.folder.rglob("*.jpg"))[::2]
    for number, file in enumerate(files):
        copyfile(file, tmp_path / f"{number:03}.jpg")
    copyfile(files[0], tmp_path / "again.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    found = suggest(tmp_path, load(tiny_run))
    row = {Path(name).name: at for at, name in enumerate(found.ids)}
    assert found.kinds[row["broken.jpg"]] == "unreadable"
    assert found.copies[row["again.jpg"]] == found.copies[row["000.jpg"]]
    lengths = np.linalg.norm(found.vectors, axis=1)
    assert lengths[row["broken.jpg"]] == 0
    assert np.delete(lengths, row["broken.jpg"]) == pytest.approx(1, abs=1e-3)
    same = found.vectors[row["again.jpg"]] @ found.vectors[row["000.jpg"]]
    assert same == pytest.approx(1, abs=1e-3)


def test_decisions_are_what_training_takes(product_photos: ProductPhotos, tmp_path: Path) -> None:
    folder = product_photos.folder
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.jpg"))
    images = [name.as_posix() for name in names]
    catalog = Catalog(pl.DataFrame({"image": images}), "shop", str(folder))
    truth = [name.parts[0] for name in names]
    own = suggestions(len(names), given=[None] * len(names), suggested=[(0, 1, 2)] * len(names))
    desk = Desk(replace(own, catalog=catalog, ids=tuple(images)), tmp_path / "desk")
    for label in sorted(set(truth)):
        of = [name for name, one in zip(images, truth, strict=True) if one == label]
        desk.decide(label, accepted=of[1:], dropped=of[:1])
    path = desk.write_decisions()
    labeled = with_new_labels(path, catalog)
    assert dropped_rows(path, labeled).sum() == 3
    found = labeled.table["label"].to_list()
    # The first of each class was left out.
    first = [truth.index(label) for label in sorted(set(truth))]
    assert [found[row] for row in first] == [None] * 3
    assert [one for one in found if one] == [
        label for row, label in enumerate(truth) if row not in first
    ]
