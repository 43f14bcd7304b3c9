"""Classes: lost with their files, only one, without training or test images, ten thousand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.audit.audit import AuditReport, audit
from shopsight.audit.check_classes import lost_classes, single_class
from shopsight.audit.class_counts import USED_REASON, class_table, shown_classes
from shopsight.audit.gate import GateRules, gate
from shopsight.catalog.catalog import Catalog
from shopsight.errors import AuditError, ConfigError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200
"""The signature of an iPhone's photo, and no image after it."""


def catalog_of(labels: Sequence[object], **columns: Sequence[object]) -> Catalog:
    """A catalog of files that nobody looks for."""
    images = [f"{number}.jpg" for number in range(len(labels))]
    return Catalog(pl.DataFrame({"image": images, "label": labels, **columns}), "shop")


def reasons_of(*counts: tuple[int, str]) -> pl.Series:
    return pl.Series([reason for number, reason in counts for _ in range(number)], dtype=pl.String)


def details(report: AuditReport, kind: str) -> list[str]:
    return [finding.detail for finding in report.findings if finding.kind == kind]


def images_of(
    folder: Path, rows: Sequence[tuple[str, str, str | None]], **columns: Sequence[object]
) -> Catalog:
    """Write a file for each (label, state, split); the state says what becomes of it."""
    names = []
    for number, (_, state, _) in enumerate(rows):
        name = f"{number}.{'HEIC' if state == 'heic' else 'jpg'}"
        pixels = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((70, 70)).save(folder / f"{number}.jpg", quality=90)
        if state == "heic":
            (folder / name).write_bytes(HEIC)
        elif state == "damaged":
            data = bytearray((folder / name).read_bytes())
            data[len(data) * 2 // 3 : len(data) * 2 // 3 + 16] = b"\xff\xd3" * 8
            (folder / name).write_bytes(data)
        names.append(name)
    table = pl.DataFrame({"image": names, "label": [label for label, _, _ in rows], **columns})
    splits = pl.Series("split", [split for _, _, split in rows], dtype=pl.String)
    if splits.null_count() < len(splits):
        table = table.with_columns(splits)
    return Catalog(table, "shop", root=str(folder))


def look(catalog: Catalog) -> AuditReport:
    return audit(catalog, threads=1, remember=False)


@pytest.mark.parametrize(
    ("rows", "lost", "found"),
    [
        (1, 1, True),  # all of it
        (2, 1, False),
        (8, 8, True),
        (20, 2, False),  # more than a tenth, but fewer than three
        (20, 3, True),
        (30, 3, False),  # a tenth, not more
        (29, 3, True),
        (400, 40, False),
        (400, 41, True),
    ],
)
def test_a_class_is_lost_by_all_or_a_tenth_of_its_files(rows: int, lost: int, found: bool) -> None:
    catalog = catalog_of(["hat"] * rows + ["shoe"] * 50)
    reasons = reasons_of((lost, "unreadable"), (rows - lost + 50, USED_REASON))
    problems = pl.Series(["cut"] * lost + [""] * (rows - lost + 50))
    lines = [(label, f.detail) for label, f in lost_classes(catalog, reasons, problems)]
    images = "1 image" if rows == 1 else f"{rows} images"
    detail = f"'hat' loses {lost} of {images}: {lost} unreadable; such as 0.jpg: cut"
    assert lines == ([("hat", detail)] if found else [])


def test_what_the_user_excludes_counts_only_where_the_class_goes_with_it() -> None:
    catalog = catalog_of(["hat"] * 10 + ["shoe"] * 10)
    problems = pl.Series([""] * 20)
    half = reasons_of((5, "split-leak"), (15, USED_REASON))
    assert not dict(lost_classes(catalog, half, problems))
    all_of_it = reasons_of((7, "split-leak"), (3, "unreadable"), (10, USED_REASON))
    [(label, finding)] = lost_classes(catalog, all_of_it, problems)
    assert label == "hat"
    assert finding.detail.startswith("'hat' loses 10 of 10 images: 7 split-leak, 3 unreadable;")
    said = reasons_of((9, "untrained-class"), (1, "unreadable"), (10, USED_REASON))
    assert not dict(lost_classes(catalog, said, problems))


def test_the_largest_loss_comes_first() -> None:
    labels = [letter for letter in "dbacfe" for _ in range(ord(letter) - 92)]
    reasons = reasons_of((len(labels), "missing"))
    found = list(dict(lost_classes(catalog_of(labels), reasons, pl.Series([""] * len(labels)))))
    assert found == list("fedcba")


def test_each_of_several_labels_is_counted() -> None:
    catalog = catalog_of([["red", "hat"], ["red"], ["hat"], [], None])
    reasons = reasons_of((1, "missing"), (4, USED_REASON))
    table = class_table(catalog, reasons)
    assert table.to_dicts() == [
        {"label": "hat", "rows": 2, "used": 1},
        {"label": "red", "rows": 2, "used": 1},
    ]
    both = reasons_of((2, "missing"), (3, USED_REASON))
    assert list(dict(lost_classes(catalog, both, pl.Series([""] * 5)))) == ["red"]


@pytest.mark.parametrize(
    ("labels", "detail"),
    [
        (["hat"] * 3, "all 3 images are 'hat'"),
        (["hat"], "the only image is 'hat'"),
        (["hat", "hat", None], "all 2 images are 'hat'"),
        (["hat", "shoe"], None),
        ([["red"], ["red"]], "all 2 images are 'red'"),
        ([["red", "hat"], ["hat", "red"]], "all 2 images are 'hat' and 'red'"),
        ([["red"], []], None),  # red or not red
        ([["red", "hat"], ["red"]], None),
        ([None, None], None),
    ],
)
def test_one_class_only(labels: list[object], detail: str | None) -> None:
    catalog = catalog_of(pl.Series(labels, dtype=pl.List(pl.String) if [] in labels else None))
    found = [f.detail for f in single_class(catalog, reasons_of((len(labels), USED_REASON)))]
    assert found == ([] if detail is None else [detail])


def test_a_class_of_a_kind_that_is_not_read_stops_training(tmp_path: Path) -> None:
    states = [("box", "ok"), ("disc", "ok"), ("shoes", "heic")]
    catalog = images_of(tmp_path, [(label, state, None) for label, state in states for _ in "abcd"])
    report = look(catalog)
    [detail] = details(report, "lost-class")
    assert detail.startswith("'shoes' loses 4 of 4 images: 4 unreadable; such as 8.HEIC: ")
    assert report.headlines() == [f"lost-class: {detail}"]
    assert report.classes.to_dicts() == [
        {"label": "box", "rows": 4, "used": 4},
        {"label": "disc", "rows": 4, "used": 4},
        {"label": "shoes", "rows": 4, "used": 0},
    ]
    assert "images per class: 0 to 4; without a label: 0" in report.lines()
    with pytest.raises(AuditError, match="1 x lost-class") as caught:
        gate(catalog, report)
    assert "'shoes' loses 4 of 4 images" in str(caught.value)
    assert "--accept lost-class" in str(caught.value)
    for decided in ({"accept": ["lost-class"]}, {"exclude": ["lost-class"]}):
        passed = gate(catalog, report, **decided)
        assert passed.catalog.labels == ("box", "disc")
        assert passed.lost_classes == (detail,)
        assert passed.notes() == ["left out 4 of 12 images: 4 unreadable", f"lost-class: {detail}"]


def test_the_rest_of_a_lost_class_is_kept_or_excluded(tmp_path: Path) -> None:
    rows = [("box", "ok", None)] * 6 + [("hat", "ok", None)] * 3 + [("cap", "ok", None)] * 2
    catalog = images_of(tmp_path, [*rows, *[("cap", "damaged", None)] * 3])
    report = look(catalog)
    assert details(report, "lost-class")[0].startswith("'cap' loses 3 of 5 images: 3 damaged")
    with pytest.raises(AuditError, match="lost-class"):
        gate(catalog, report)
    kept = gate(catalog, report, accept=["lost-class"])
    assert kept.catalog.table["label"].to_list().count("cap") == 2
    gone = gate(catalog, report, exclude=["lost-class"])
    assert gone.catalog.labels == ("box", "hat")
    assert gone.excluded["reason"].to_list()[:2] == ["lost-class", "lost-class"]
    # Damaged files that are accepted are not lost.
    whole = gate(catalog, report, accept=["damaged"])
    assert (len(whole.catalog), whole.lost_classes) == (14, ())


def test_one_class_left_after_the_gate_is_refused(tmp_path: Path) -> None:
    catalog = images_of(tmp_path, [("box", "ok", None)] * 3 + [("hat", "heic", None)] * 3)
    report = look(catalog)
    assert [f.kind for f in report.blocking] == ["one-class", "lost-class"]
    with pytest.raises(AuditError, match="only one class to learn: all 3 images are 'box'"):
        gate(catalog, report, accept=["lost-class"])


def test_classes_of_a_given_split(tmp_path: Path) -> None:
    rows = [
        *[("disc", "ok", split) for split in ("train", "train", "val", "test")],
        *[("bars", "ok", split) for split in ("train", "train", "val")],
        *[("tri", "ok", "test")] * 2,
        *[("ring", "ok", "val")] * 2,
        # Its only training image cannot be used.
        ("cross", "heic", "train"),
        ("cross", "ok", "test"),
    ]
    catalog = images_of(tmp_path, rows)
    report = look(catalog)
    assert details(report, "untrained-class") == [
        "'ring' has 2 images in val, none in train",
        "'tri' has 2 images in test, none in train",
        "'cross' has 1 image in test, none in train",
    ]
    assert details(report, "unmeasured-class") == ["'bars' has 2 images in train, none in test"]
    first = {"label": "disc", "rows": 4, "used": 4, "train": 2, "val": 1, "test": 1}
    assert report.classes.row(0, named=True) == first
    assert report.to_json()["classes"][0] == first
    with pytest.raises(AuditError, match="3 x untrained-class") as caught:
        gate(catalog, report)
    assert "--exclude untrained-class" in str(caught.value)
    assert "--accept" not in str(caught.value)
    passed = gate(catalog, report, exclude=["untrained-class"])
    assert passed.catalog.labels == ("bars", "disc")
    assert passed.lost_classes == ()


def test_without_a_test_part_validation_measures(tmp_path: Path) -> None:
    splits = [("a", "train"), ("a", "val"), ("b", "train")]
    report = look(images_of(tmp_path, [(label, "ok", split) for label, split in splits]))
    assert details(report, "unmeasured-class") == ["'b' has 1 image in train, none in val"]
    assert not report.blocking


def test_a_test_set_alone_lacks_no_training(tmp_path: Path) -> None:
    report = look(images_of(tmp_path, [("a", "ok", "test"), ("b", "ok", "test")]))
    assert not report.blocking


def test_a_class_in_one_fold_is_never_trained_for_it(tmp_path: Path) -> None:
    labels = ["a", "a", "a", "b", "b", "c", "c"]
    catalog = images_of(
        tmp_path, [(label, "ok", None) for label in labels], fold=[0, 1, 2, 0, 1, 2, 2]
    )
    report = look(catalog)
    assert details(report, "untrained-class") == [
        "'c' has 2 images in fold 3, none in another fold"
    ]
    assert report.classes.columns[3:] == ["fold 1", "fold 2", "fold 3"]


def test_counts_add_up_to_the_rows(tmp_path: Path) -> None:
    rows = [("a", "ok", "train"), ("a", "heic", "train"), ("b", "ok", None), ("b", "ok", "test")]
    catalog = images_of(tmp_path, [*rows, (None, "ok", None), (None, "heic", "train")])
    report = look(catalog)
    classes, statistics = report.classes, report.statistics
    assert statistics.num_unlabeled == 2
    assert classes["rows"].sum() + statistics.num_unlabeled == statistics.num_rows == 6
    assert classes["used"].sum() == 3
    # One row used has no part.
    assert classes.select("train", "test").sum_horizontal().sum() == 2
    assert "without a label: 2" in "\n".join(report.lines())


def test_a_training_cannot_accept_what_has_no_model() -> None:
    for kind in ("one-class", "untrained-class"):
        with pytest.raises(ConfigError, match=f"{kind}: there is no model of such data"):
            GateRules(accept=[kind])
    with pytest.raises(ConfigError, match="did you mean lost-class"):
        GateRules(accept=["lost-classes"])
    with pytest.raises(ConfigError, match="--fail-on does not know warnings; did you mean warning"):
        GateRules(fail_on=["warnings"])
    with pytest.raises(ConfigError, match="--exclude does not know tiny"):
        GateRules(exclude=["tiny"])


def test_a_training_stops_at_what_it_was_told_to(tmp_path: Path) -> None:
    labels = ["box", "hat"] * 15
    rows = [(label, "ok", None) for label in labels] + [("hat", "heic", None)]
    catalog = images_of(tmp_path, rows)
    report = look(catalog)
    assert len(gate(catalog, report).catalog) == 30
    with pytest.raises(AuditError, match="--fail-on refuses: 1 x unreadable") as caught:
        gate(catalog, report, fail_on=["unreadable"])
    assert "unreadable: 30.HEIC" in str(caught.value)
    with pytest.raises(AuditError, match="1 x unreadable, 2 x rare-class"):
        gate(catalog, report, fail_on=["warning"])
    passed = gate(
        catalog, report, fail_on=["warning"], accept=["unreadable", "rare-class", "near-duplicate"]
    )
    assert passed.excluded.height == 1


def test_the_worst_and_the_most_frequent_classes_are_shown() -> None:
    labels = [f"{number:03}" for number in range(1, 101) for _ in range(number)]
    catalog = catalog_of(labels, split=["train"] * (len(labels) - 1) + ["test"])
    lost = ["unreadable" if label == "050" else USED_REASON for label in labels]
    shown = shown_classes(class_table(catalog, pl.Series(lost)), most=6)
    assert shown is not None
    assert [row[0] for row in shown.rows] == ["050", "001", "002", "100", "099", "098"]
    assert shown.hidden == 94
    # Nothing to say that the numbers of images do not.
    assert shown_classes(class_table(catalog_of(["a", "b"]), pl.Series(["", ""])), most=6) is None


def test_ten_thousand_classes_stay_readable(tmp_path: Path) -> None:
    """A class of 80 characters for each of ten thousand; one file lies behind all the rows."""
    Image.new("RGB", (40, 40), (200, 30, 40)).save(tmp_path / "0.png")
    numbers = [number for number in range(10_000) for _ in range(1 + (number % 10 == 0))]
    table = pl.DataFrame(
        {
            "image": ["0.png"] * len(numbers),
            "label": [f"{number:05} {'x' * 74}" for number in numbers],
            "split": ["train" if number % 7 else "test" for number in numbers],
            # Boxes apart, so that the rows are no copies of each other.
            "box_x": [float(row) / len(numbers) for row in range(len(numbers))],
            **dict.fromkeys(("box_y", "box_w", "box_h"), [10.0] * len(numbers)),
        }
    )
    report = look(Catalog(table, "long tail", root=str(tmp_path)))
    assert report.counts["rare-class"] == 10_000
    assert report.counts["untrained-class"] == 1429
    assert details(report, "rare-class")[0].endswith("has 1 image")
    assert len(report.headlines()) == 6
    assert report.headlines()[-1] == "untrained-class: 1,429 in all"
    report.write(tmp_path / "audit")
    stored = tmp_path / "audit" / "audit.json"
    assert stored.stat().st_size < 5_000_000
    assert len(json.loads(stored.read_text(encoding="utf-8"))["classes"]) == 10_000
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert len(page) < 1_000_000
    assert "9,900 more are in audit.json" in page
