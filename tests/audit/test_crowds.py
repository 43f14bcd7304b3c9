"""Hundreds of files that look alike, such as placeholders for lacking photos, are one finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.audit import audit as audit_module
from shopsight.audit import check_duplicates, near_duplicates
from shopsight.audit.audit import AuditReport, audit
from shopsight.audit.gate import gate
from shopsight.catalog.catalog import Catalog

CROWD = 12


@pytest.fixture(autouse=True)
def small_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (near_duplicates, check_duplicates, audit_module):
        monkeypatch.setattr(module, "MOST_IN_GROUP", 10)


def placeholder(path: Path, seed: int) -> str:
    pixels = np.full((80, 80, 3), 230, np.uint8)
    pixels[20:60, 30:50] = 120
    noise = np.random.default_rng(seed).integers(0, 3, pixels.shape, np.uint8)
    Image.fromarray(pixels + noise).save(path / f"{seed}.png")
    return f"{seed}.png"


def audited(folder: Path, images: list[str], **columns: list[str]) -> AuditReport:
    table = pl.DataFrame({"image": images, **columns})
    return audit(Catalog(table, "shop", root=str(folder)), remember=False)


def test_a_crowd_is_one_finding(tmp_path: Path) -> None:
    images = [placeholder(tmp_path, seed) for seed in range(CROWD)]
    report = audited(tmp_path, images)
    assert report.counts == {"near-duplicate": 1}
    (finding,) = report.findings
    assert (finding.other, finding.image) == ("0.png", "1.png")
    assert finding.detail.startswith("12 images that look alike, such as these two")
    assert len(set(report.duplicate_group)) == 1


def test_a_crowd_in_two_parts_and_classes_is_one_finding_of_each(tmp_path: Path) -> None:
    images = [placeholder(tmp_path, seed) for seed in range(CROWD)]
    half = CROWD // 2
    for name in ("shoe.png", "hat.png"):
        noise = np.random.default_rng(len(name)).integers(0, 256, (80, 80, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
    report = audited(
        tmp_path,
        [*images, "shoe.png", "hat.png"],
        split=["train"] * half + ["test"] * half + ["train"] * 2,
        label=["shoe", "hat"] * (half + 1),
    )
    assert report.counts["split-leak"] == report.counts["near-label-conflict"] == 1
    assert "near-duplicate" not in report.counts
    leak = next(finding for finding in report.findings if finding.kind == "split-leak")
    assert (leak.other, leak.image) == ("0.png", f"{half}.png")
    assert leak.detail.endswith("near duplicates: test | train")
    left = gate(
        report.catalog, report, accept=["near-label-conflict"], exclude=["split-leak"]
    ).catalog
    assert left.table["split"].to_list() == ["test"] * half + ["train"] * 2


def test_a_crowd_of_equal_files_is_one_finding(tmp_path: Path) -> None:
    first = placeholder(tmp_path, 0)
    images = [first]
    for copy in range(1, CROWD):
        (tmp_path / f"copy {copy}.png").write_bytes((tmp_path / first).read_bytes())
        images.append(f"copy {copy}.png")
    report = audited(tmp_path, images)
    assert report.counts == {"exact-duplicate": 1}
    assert report.findings[0].detail.startswith("11 images that look alike")


def test_the_images_of_crowds_are_listed(tmp_path: Path) -> None:
    images = [placeholder(tmp_path, seed) for seed in range(CROWD)]
    report = audited(tmp_path, images)
    report.write(tmp_path / "out")
    listed = pl.read_csv(tmp_path / "out" / "crowds.csv")
    assert listed["crowd"].to_list() == [1] * CROWD
    assert listed["image"].to_list() == images
    audited(tmp_path, images[:3]).write(tmp_path / "few")
    assert not (tmp_path / "few" / "crowds.csv").exists()
    # What an earlier audit said of the folder does not stay.
    audited(tmp_path, images[:3]).write(tmp_path / "out")
    assert len(pl.read_csv(tmp_path / "out" / "crowds.csv")) == 0


def test_below_the_size_of_a_crowd_each_image_is_a_finding(tmp_path: Path) -> None:
    images = [placeholder(tmp_path, seed) for seed in range(10)]
    assert audited(tmp_path, images).counts == {"near-duplicate": 9}
