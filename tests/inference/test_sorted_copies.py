from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from shopsight import files
from shopsight.inference import sorted_copies
from shopsight.inference.predictor import Prediction
from shopsight.inference.sorted_copies import SortedCopies
from shopsight.safe_names import unique_names

NAMES = unique_names(["hats/caps", "Shirt", "shirt", "aux"])


def of(source: Path, label: str) -> Prediction:
    return Prediction(str(source), (label,), (1.0,), (label,))


def same_name(folder: Path, contents: list[bytes], name: str = "1.jpg") -> list[Prediction]:
    """Images of one label and one name, each in a folder of its own."""
    predictions = []
    for number, content in enumerate(contents):
        source = folder / str(number) / name
        source.parent.mkdir(parents=True)
        source.write_bytes(content)
        predictions.append(of(source, "aux"))
    return predictions


def add_all(copies: SortedCopies, predictions: Iterable[Prediction]) -> list[Path | None]:
    found = [copies.add(one) for one in predictions]
    assert copies.settle() == []
    return found


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.posix("needs a question mark in a name")
def test_labels_that_some_file_system_confuses_get_folders_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    source.write_bytes(b"one")
    for label in ("Shirt", "shirt", "aux"):
        add_all(SortedCopies(tmp_path / "sorted", NAMES), [of(source, label)])
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("sorted/*/*")}
    assert found == {
        "sorted/Shirt/photo.jpg",
        "sorted/shirt (2)/photo.jpg",
        "sorted/%61ux/photo.jpg",
    }


@pytest.mark.posix("needs a question mark in a name")
def test_a_copy_of_a_file_with_an_unsafe_name_gets_a_safe_one(tmp_path: Path) -> None:
    source = tmp_path / "what?.jpg"
    source.write_bytes(b"one")
    add_all(SortedCopies(tmp_path / "sorted", NAMES), [of(source, "aux")])
    assert (tmp_path / "sorted" / "%61ux" / "what%3F.jpg").is_file()


def test_images_are_sorted_by_label_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "sorted"
    copies = SortedCopies(folder, NAMES)
    for number, content in enumerate((b"one", b"two", b"one")):
        source = tmp_path / str(number) / "photo.jpg"
        source.parent.mkdir()
        source.write_bytes(content)
        copies.add(of(source, "hats/caps"))
    assert list((folder / "hats%2Fcaps").glob("*.jpg")) == [], "all appear together"
    assert copies.settle() == []
    found = {path.name: path.read_bytes() for path in (folder / "hats%2Fcaps").iterdir()}
    assert found == {"photo.jpg": b"one", "photo-2.jpg": b"two"}
    assert copies.add(Prediction("c.jpg", error="c.jpg: no bytes", reason="empty")) is None


@pytest.mark.posix("paths of more than 260 characters")
def test_a_long_name_is_shortened_for_its_number(tmp_path: Path) -> None:
    name = "a" * 251 + ".jpg"
    for number, content in enumerate((b"one", b"two", b"three")):
        source = tmp_path / str(number) / name
        source.parent.mkdir()
        source.write_bytes(content)
        add_all(SortedCopies(tmp_path / "out", NAMES), [of(source, "aux")])
    found = {path.name: path.read_bytes() for path in (tmp_path / "out" / "%61ux").iterdir()}
    assert found == {
        name: b"one",
        "a" * 249 + "-2.jpg": b"two",
        "a" * 249 + "-3.jpg": b"three",
    }


def test_names_are_the_same_after_an_interruption(tmp_path: Path) -> None:
    contents = [b"%d" % (number % 7) for number in range(20)]
    predictions = same_name(tmp_path / "data", contents)
    at_once = SortedCopies(tmp_path / "once", NAMES)
    once = add_all(at_once, predictions)
    names = ["1.jpg", *(f"1-{number}.jpg" for number in range(2, 8))]
    assert [path and path.name for path in once] == [names[number % 7] for number in range(20)]
    for predicted in (predictions[:5], predictions, predictions):
        again = SortedCopies(tmp_path / "again", NAMES)
        found = add_all(again, predicted)
        assert [path and path.name for path in found] == [
            path and path.name for path in once[: len(predicted)]
        ]
    assert contents_of(tmp_path / "again" / "%61ux") == contents_of(tmp_path / "once" / "%61ux")


def test_a_gap_that_a_user_made_is_filled_and_files_of_others_stay(tmp_path: Path) -> None:
    predictions = same_name(tmp_path / "data", [b"one", b"two", b"three", b"four"])
    folder = tmp_path / "out" / "%61ux"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(b"of the user")
    (folder / "1-3.jpg").write_bytes(b"three")
    copies = SortedCopies(tmp_path / "out", NAMES)
    add_all(copies, predictions)
    expected = {"1.jpg": b"of the user", "1-2.jpg": b"one", "1-3.jpg": b"three"}
    expected |= {"1-4.jpg": b"two", "1-5.jpg": b"four"}
    assert contents_of(folder) == expected
    (folder / "1-4.jpg").unlink()
    (found,) = add_all(copies, [predictions[1]])
    assert found is not None
    assert found.read_bytes() == b"two", "a copy that vanished is made again"


def test_contents_of_the_same_digest_are_different_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_copies, "_digest", lambda _: 0)
    copies = SortedCopies(tmp_path / "out", NAMES)
    add_all(copies, same_name(tmp_path / "data", [b"one", b"two", b"three", b"two"]))
    assert set(contents_of(tmp_path / "out" / "%61ux").values()) == {b"one", b"two", b"three"}


def test_each_file_is_read_once_however_many_share_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = same_name(tmp_path / "data", [b"%d" % number for number in range(60)])
    read: list[Path] = []
    plain_read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or plain_read(path))
    folder = tmp_path / "out"
    for _ in range(2):
        copies = SortedCopies(folder, NAMES)
        add_all(copies, predictions)
    copied = [path for path in read if path.is_relative_to(folder)]
    # The second time each is compared with its copy; the plain one is looked at thrice.
    assert len(copied) <= 60 + 5


def test_names_that_differ_in_case_alone_are_as_the_file_system_takes_them(tmp_path: Path) -> None:
    upper = same_name(tmp_path / "upper", [b"one"], "A.jpg")
    lower = same_name(tmp_path / "lower", [b"two"], "a.jpg")
    add_all(SortedCopies(tmp_path / "out", NAMES), [*upper, *lower])
    found = contents_of(tmp_path / "out" / "%61ux")
    assert sorted(found.values()) == [b"one", b"two"]


def test_a_file_that_appeared_meanwhile_stays(tmp_path: Path) -> None:
    copies = SortedCopies(tmp_path / "out", NAMES)
    for one in same_name(tmp_path / "data", [b"one", b"two"]):
        copies.add(one)
    folder = tmp_path / "out" / "%61ux"
    (folder / "1.jpg").write_bytes(b"of the user")
    (error,) = copies.settle()
    assert (error.what, error.where) == (
        "a file of this name appeared meanwhile",
        str(folder / "1.jpg"),
    )
    assert contents_of(folder) == {"1.jpg": b"of the user", "1-2.jpg": b"two"}


def test_temporary_names_that_chance_makes_equal_are_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([1, 1, 2, 1, 2, 3])
    monkeypatch.setattr(
        files, "part_beside", lambda path: path.with_name(f".shopsight-{next(drawn)}.part")
    )
    contents = [b"one", b"two", b"three"]
    add_all(SortedCopies(tmp_path / "out", NAMES), same_name(tmp_path / "data", contents))
    found = contents_of(tmp_path / "out" / "%61ux")
    assert found == {"1.jpg": b"one", "1-2.jpg": b"two", "1-3.jpg": b"three"}
