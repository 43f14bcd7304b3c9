"""The audit and the gate: every kind of fault is found, and the counts add up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from shopsight.audit.audit import AuditReport, audit
from shopsight.audit.check_labels import RARE_CLASS_IMAGES, spelling_key
from shopsight.audit.findings import BLOCKING_KINDS, KINDS
from shopsight.audit.gate import FIXABLE, gate
from shopsight.catalog.catalog import Catalog
from shopsight.errors import AuditError, ConfigError


def photo(seed: int, *, width: int = 120, height: int = 100) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight good photos, copies, and one file for each fault. Do not change it."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        photo(number).save(folder / f"{number}.jpg", quality=90)
    shutil.copy(folder / "0.jpg", folder / "0-copy.jpg")
    photo(1).save(folder / "1-again.jpg", quality=60)
    with Image.open(folder / "2.jpg") as image:
        image.resize((90, 75)).save(folder / "2-small.png")
    data = bytearray((folder / "3.jpg").read_bytes())
    data[len(data) * 2 // 3 : len(data) * 2 // 3 + 16] = b"\xff" * 16
    (folder / "damaged.jpg").write_bytes(data)
    (folder / "cut.jpg").write_bytes((folder / "4.jpg").read_bytes()[:1500])
    (folder / "text.jpg").write_text("404", encoding="utf-8")
    (folder / "zero.jpg").touch()
    (folder / "folder.jpg").mkdir()
    Image.new("RGB", (100, 100), (250, 250, 250)).save(folder / "blank.png")
    photo(20, width=16, height=14).save(folder / "tiny.png")
    photo(21, width=400, height=70).save(folder / "wide.jpg")
    photo(22).save(folder / "png.jpg", format="PNG")
    return folder


def catalog_of(folder: Path, images: Sequence[str], **columns: Sequence[object]) -> Catalog:
    return Catalog(pl.DataFrame({"image": images, **columns}), "shop", root=str(folder))


def look(catalog: Catalog) -> AuditReport:
    return audit(catalog, threads=2, remember=False)


def found(report: AuditReport, kind: str) -> list[tuple[str, str]]:
    return [(f.image, f.other) for f in report.findings if f.kind == kind]


def unusable_rows(report: AuditReport) -> list[int]:
    """Rows whose file is missing, unreadable or damaged."""
    return (report.files["status"] != "ok").arg_true().to_list()


def test_file_problems(photos: Path) -> None:
    images = [*sorted(path.name for path in photos.iterdir()), "absent.jpg"]
    catalog = catalog_of(photos, images)
    catalog = Catalog(catalog.table, "shop", root=str(photos), unlisted=("forgotten.jpg",))
    report = look(catalog)
    assert {image for image, _ in found(report, "unreadable")} == {
        "cut.jpg",
        "text.jpg",
        "zero.jpg",
        "folder.jpg",
    }
    for kind, image in (
        ("missing-file", "absent.jpg"),
        ("damaged", "damaged.jpg"),
        ("blank", "blank.png"),
        ("tiny", "tiny.png"),
        ("odd-aspect", "wide.jpg"),
        ("wrong-extension", "png.jpg"),
        ("unlisted-file", "forgotten.jpg"),
    ):
        assert found(report, kind) == [(image, "")], kind
    assert found(report, "exact-duplicate") == [("0.jpg", "0-copy.jpg")]
    assert set(found(report, "near-duplicate")) == {
        ("1.jpg", "1-again.jpg"),
        ("2.jpg", "2-small.png"),
    }
    assert not report.blocking
    assert report.statistics.num_duplicate_groups >= 3
    assert dict(report.statistics.rows_per_format)["png"] == 4
    assert {images[row] for row in unusable_rows(report)} == set(BAD)
    assert [problem == "" for problem in report.files["problem"]] == [
        status == "ok" for status in report.files["status"]
    ]


def test_suffixes_that_are_wrong(tmp_path: Path) -> None:
    names = ["a.JPG", "b.jpg", "c.jpg.png", ".jpg", "d.jpg", "e.PNG", "shop.jpg/f"]
    (tmp_path / "shop.jpg").mkdir()
    for number, name in enumerate(names):
        photo(number).save(
            tmp_path / name, "PNG" if name in {"b.jpg", ".jpg", "shop.jpg/f"} else "JPEG"
        )
    report = look(catalog_of(tmp_path, names))
    wrong = [
        (one.image, one.row, one.detail) for one in report.findings if one.kind == "wrong-extension"
    ]
    assert wrong == [
        ("b.jpg", 1, "holds png"),
        ("c.jpg.png", 2, "holds jpeg"),
        ("e.PNG", 5, "holds jpeg"),
    ]


def test_small_images_are_not_tiny_among_their_like(tmp_path: Path) -> None:
    for number in range(4):
        photo(number, width=28, height=28).save(tmp_path / f"{number}.png")
    report = look(catalog_of(tmp_path, [f"{number}.png" for number in range(4)]))
    assert not found(report, "tiny")
    assert report.counts == {}


def test_conflicts_and_leaks(photos: Path) -> None:
    images = ["0.jpg", "0-copy.jpg", "1.jpg", "1-again.jpg", "2.jpg", "2-small.png", "5.jpg"]
    catalog = catalog_of(
        photos,
        images,
        label=["hat", "shoe", "hat", "hat", "hat", "shoe", "hat"],
        split=["train", "train", "train", "test", "val", "val", "test"],
        group=["a", "b", "c", "c", "d", "e", "f"],
    )
    report = look(catalog)
    assert found(report, "label-conflict") == [("0-copy.jpg", "0.jpg")]
    assert found(report, "split-leak") == [("1-again.jpg", "1.jpg")]
    assert found(report, "near-label-conflict") == [("2-small.png", "2.jpg")]
    assert found(report, "group-leak") == [("1.jpg", "1-again.jpg")]
    assert {f.kind for f in report.blocking} == {"label-conflict", "split-leak", "group-leak"}
    duplicate_group = report.duplicate_group
    assert (
        duplicate_group[0]
        == duplicate_group[1]
        != duplicate_group[2]
        == duplicate_group[3]
        != duplicate_group[4]
        == duplicate_group[5]
        != duplicate_group[6]
    )


def test_equal_files_across_splits_and_labels_are_both(photos: Path) -> None:
    catalog = catalog_of(
        photos, ["0.jpg", "0-copy.jpg"], label=["hat", "shoe"], split=["train", "test"]
    )
    report = look(catalog)
    assert dict(report.counts) == {
        "split-leak": 1,
        "label-conflict": 1,
        "untrained-class": 1,
        "rare-class": 2,
        "unmeasured-class": 1,
    }


def test_leak_through_a_copy(photos: Path, tmp_path: Path) -> None:
    """Near duplicates whose copies lie in another split than the two themselves."""
    shutil.copy(photos / "1.jpg", tmp_path / "a.jpg")
    shutil.copy(photos / "1-again.jpg", tmp_path / "b.jpg")
    shutil.copy(photos / "1-again.jpg", tmp_path / "c.jpg")
    catalog = catalog_of(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], split=["train", "train", "test"])
    report = look(catalog)
    assert set(found(report, "split-leak")) == {("c.jpg", "b.jpg"), ("c.jpg", "a.jpg")}


def test_a_group_leaks_by_usable_files_only(photos: Path) -> None:
    catalog = catalog_of(photos, ["0.jpg", "text.jpg"], split=["train", "test"], group=["p", "p"])
    assert not look(catalog).blocking


def test_boxes_of_one_image_are_not_copies(photos: Path) -> None:
    columns = {name: [0.0, 50.0] for name in ("box_x", "box_y")}
    columns |= {name: [50.0, 50.0] for name in ("box_w", "box_h")}
    catalog = catalog_of(photos, ["0.jpg", "0.jpg"], label=["hat", "shoe"], **columns)
    report = look(catalog)
    assert not report.blocking
    assert not found(report, "exact-duplicate")
    assert report.duplicate_group[0] == report.duplicate_group[1]
    leaking = look(
        catalog.with_table(catalog.table.with_columns(split=pl.Series(["train", "val"])))
    )
    assert found(leaking, "split-leak") == [("0.jpg", "0.jpg")]


def test_labels(photos: Path) -> None:
    images = [f"{number % 8}.jpg" for number in range(250)]
    labels = ["T-Shirt"] * 229 + ["t shirt"] + ["Hat"] * 20
    report = look(catalog_of(photos, images, label=labels))
    spelled = [f for f in report.findings if f.kind == "label-spelling"]
    assert [f.detail for f in spelled] == ["'t shirt' (1 image) and 'T-Shirt' (229)"]
    assert [f.detail for f in report.findings if f.kind == "rare-class"] == [
        "'t shirt' has 1 image"
    ]
    assert len(found(report, "imbalance")) == 1
    assert report.statistics.images_per_class == {
        "T-Shirt": 229,
        "Hat": RARE_CLASS_IMAGES,
        "t shirt": 1,
    }
    # Other spellings of one label are not a conflict.
    conflicts = {f.detail for f in report.findings if f.kind == "label-conflict"}
    assert all("Hat" in detail for detail in conflicts)


@pytest.mark.parametrize(
    "other",
    [
        "t-shirt",
        "T-Shirt ",
        "TShirt",
        "T_SHIRT",
        "Ｔ-shirt",
        "t  shirt",
        "T\u2011shirt",
        "T-sh\u00adirt",
    ],
)
def test_spellings(other: str) -> None:
    assert spelling_key(other) == spelling_key("T-Shirt")
    assert spelling_key("Shirt") != spelling_key("T-Shirt")


def test_several_labels_per_image(photos: Path) -> None:
    labels = [["red", "hat"], ["hat", "red"], ["shoe"], []]
    catalog = catalog_of(photos, ["0.jpg", "0-copy.jpg", "5.jpg", "6.jpg"], label=labels)
    report = look(catalog)
    assert not report.blocking
    assert report.statistics.images_per_class == {"hat": 2, "red": 2, "shoe": 1}
    labels[1] = ["hat"]
    other = catalog_of(photos, ["0.jpg", "0-copy.jpg", "5.jpg", "6.jpg"], label=labels)
    assert len(look(other).blocking) == 1


def test_equal_broken_files_are_no_conflict(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("404", encoding="utf-8")
    report = look(catalog_of(tmp_path, ["a.jpg", "b.jpg"], label=["hat", "shoe"]))
    assert {f.kind for f in report.blocking} == {"lost-class"}
    assert report.statistics.num_duplicate_groups == 0


def test_written_report(photos: Path, tmp_path: Path) -> None:
    images = ["0.jpg", "0-copy.jpg", "1.jpg", "1-again.jpg", "blank.png", "text.jpg", "<b>.jpg"]
    catalog = catalog_of(photos, images, label=["hat", "shoe", "hat", "hat", "hat", "hat", "hat"])
    report = look(catalog)
    report.write(tmp_path / "audit")
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert "<b>.jpg" not in page
    assert "&lt;b&gt;.jpg" in page
    assert page.count("data:image/webp;base64,") >= 5
    for kind in report.counts:
        assert KINDS[kind].title in page
    table = pl.read_csv(tmp_path / "audit" / "findings.csv")
    assert table.height == len(report.findings)
    assert table.columns == ["kind", "severity", "image", "other", "detail"]
    stored = json.loads((tmp_path / "audit" / "audit.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(report.to_json()))
    assert stored["counts"] == dict(report.counts)
    assert stored["blocking"] == 1
    assert report.lines()[0] == "7 rows: 5 ok, 0 damaged, 1 unreadable, 1 missing"
    assert any("same file under two labels: 1" in line for line in report.lines())


def test_nothing_at_all(tmp_path: Path) -> None:
    report = look(catalog_of(tmp_path, []))
    assert report.findings == ()
    assert report.statistics.num_rows == 0
    report.write(tmp_path / "audit")
    assert len(gate(report.catalog, report).catalog) == 0


GOOD = tuple(f"{number}.jpg" for number in range(8))
COPIES = ("0-copy.jpg", "1-again.jpg", "2-small.png")
BAD = ("damaged.jpg", "cut.jpg", "text.jpg", "zero.jpg", "absent.jpg", "folder.jpg")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(GOOD + COPIES + BAD),
            st.sampled_from(["hat", "shoe", None]),
            st.sampled_from(["train", "val", "test", None]),
            st.sampled_from(["p", "q", "r", None]),
        ),
        max_size=14,
    ),
    accepted=st.sets(st.sampled_from([*sorted(BLOCKING_KINDS), "damaged"])),
)
def test_counts_add_up(
    photos: Path,
    rows: list[tuple[str, str | None, str | None, str | None]],
    accepted: set[str],
) -> None:
    schema = dict.fromkeys(("image", "label", "split", "group"), pl.String)
    table = pl.DataFrame(rows, schema=schema, orient="row")
    catalog = Catalog(table, "shop", root=str(photos))
    report = look(catalog)
    statistics = report.statistics
    assert statistics.num_rows == len(catalog) == report.files.height == len(report.duplicate_group)
    assert statistics.num_ok + len(unusable_rows(report)) == len(catalog)
    reported = {
        f.row for f in report.findings if f.kind in {"unreadable", "missing-file", "damaged"}
    }
    assert reported == set(unusable_rows(report))
    assert sum(report.counts.values()) == len(report.findings)
    assert sum(statistics.rows_per_split.values()) in {0, len(catalog)}
    # Excluding what is not accepted always opens the gate, and every row is accounted for.
    accepted |= {"one-class"}
    excluded_kinds = FIXABLE - accepted
    try:
        passed = gate(catalog, report, accept=accepted, exclude=excluded_kinds)
    except AuditError as error:
        assert "none of" in error.what or "without a file" in error.what  # noqa: PT017
        return
    assert len(passed.catalog) + passed.excluded.height == len(catalog)
    assert passed.catalog.table["image"].to_list() == table["image"][passed.rows].to_list()
    again = look(passed.catalog)
    # An audit counts damaged files as lost, unless a training accepts them.
    of_classes = {"lost-class", "untrained-class"} if "damaged" in accepted else set()
    assert {f.kind for f in again.blocking} <= accepted | of_classes
    assert set(again.files["status"].to_list()) <= {"ok", "damaged"}
    assert gate(passed.catalog, again, accept=accepted).excluded.height == 0


def test_gate_refuses_and_names_the_next_step(photos: Path) -> None:
    catalog = catalog_of(
        photos,
        ["0.jpg", "0-copy.jpg", "5.jpg", "text.jpg", "3.jpg", "4.jpg", "6.jpg"],
        label=["hat", "shoe", "hat", "hat", "shoe", "hat", "shoe"],
        split=["train", "test", "test", "train", "train", "train", "test"],
    )
    report = look(catalog)
    with pytest.raises(AuditError) as caught:
        gate(catalog, report)
    assert "1 x split-leak, 1 x label-conflict" in str(caught.value)
    assert "0-copy.jpg and 0.jpg (equal files: test | train)" in str(caught.value)
    assert "--exclude split-leak" in str(caught.value)
    with pytest.raises(AuditError, match="label-conflict"):
        gate(catalog, report, accept=["split-leak"])
    kept = gate(catalog, report, exclude=["split-leak"])
    others = ["3.jpg", "4.jpg", "6.jpg"]
    assert kept.catalog.table["image"].to_list() == ["0-copy.jpg", "5.jpg", *others]
    assert kept.rows.tolist() == [1, 2, 4, 5, 6]
    assert kept.excluded.rows() == [
        ("0.jpg", "split-leak"),
        ("text.jpg", "unreadable: text, no image: it begins '404'"),
    ]
    cleaned = gate(catalog, report, accept=["split-leak"], exclude=["label-conflict"])
    assert cleaned.catalog.table["image"].to_list() == ["5.jpg", *others]


def test_most_files_missing_is_another_folder(photos: Path) -> None:
    half = look(catalog_of(photos, ["0.jpg", "absent.jpg"]))
    assert not half.blocking
    catalog = catalog_of(photos, ["0.jpg", "absent.jpg", "gone.jpg"])
    report = look(catalog)
    assert [finding.kind for finding in report.blocking] == ["most-missing"]
    assert report.counts["missing-file"] == 2
    with pytest.raises(AuditError, match="2 of 3 rows without a file") as caught:
        gate(catalog, report)
    assert f"looked in {photos} for {photos / 'absent.jpg'}" in str(caught.value)
    assert "--images-root" in str(caught.value)
    assert len(gate(catalog, report, accept=["most-missing"]).catalog) == 1
    with pytest.raises(ConfigError, match="--exclude does not know most-missing"):
        gate(catalog, report, exclude=["most-missing"])


def test_gate_keeps_damaged_files_when_accepted(photos: Path) -> None:
    catalog = catalog_of(photos, ["5.jpg", "damaged.jpg"])
    report = look(catalog)
    assert len(gate(catalog, report).catalog) == 1
    assert len(gate(catalog, report, accept={"damaged"}).catalog) == 2


def test_gate_knows_its_kinds(photos: Path) -> None:
    catalog = catalog_of(photos, ["5.jpg"])
    report = look(catalog)
    with pytest.raises(
        ConfigError, match="--accept does not know split-leaks; did you mean split-leak"
    ):
        gate(catalog, report, accept=["split-leaks"])
    with pytest.raises(ConfigError, match="--exclude does not know damaged"):
        gate(catalog, report, exclude=["damaged"])


def test_gate_needs_something_to_remain(photos: Path) -> None:
    catalog = catalog_of(photos, ["text.jpg", "zero.jpg"])
    with pytest.raises(AuditError, match="none of 2 images can be used"):
        gate(catalog, look(catalog))


def test_a_product_whose_photos_have_two_labels(photos: Path) -> None:
    images = ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"]
    labels = ["hat", "shoe", "hat", "shoe", "Shoe", "hat"]
    groups = ["A", "A", "A", "B", "B", "C"]
    report = look(catalog_of(photos, images, label=labels, group=groups))
    assert found(report, "group-label-conflict") == [("1.jpg", "0.jpg")]
    (finding,) = [one for one in report.findings if one.kind == "group-label-conflict"]
    assert finding.detail == "group 'A': 'hat' (2), 'shoe' (1)"
    assert finding.severity == "warning"
    # Where most groups are so, they are no products, and that is said once.
    groups = ["A", "A", "B", "B", "C", "C"]
    report = look(catalog_of(photos, images, label=labels, group=groups))
    (finding,) = [one for one in report.findings if one.kind == "group-label-conflict"]
    assert (finding.image, finding.row) == ("", -1)
    assert finding.detail.startswith("3 of 3 groups of several images have several labels")
