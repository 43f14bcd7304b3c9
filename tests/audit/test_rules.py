"""The audit with rules: who breaks what, what is written, and what is kept for the next audit."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.audit import inspect_file
from shopsight.audit.audit import AuditReport, audit
from shopsight.audit.gate import gate
from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.commands.audit import audit as audit_command
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError
from shopsight.fetching.records import FetchRecord, write_records
from shopsight.files import sha256_file
from shopsight.image_rules.read_rules import parse_rules, read_rule_sets
from shopsight.read_options import ReadOptions

DAY = datetime.date(2027, 1, 31)


def packshot(path: Path, *, side: int = 600, fill: float = 0.9, shade: int = 0) -> str:
    pixels = np.full((side, side, 3), 255, np.uint8)
    edge = round(side * (1 - fill) / 2)
    pixels[edge : side - edge, edge : side - edge] = (30 + shade, 90, 160)
    Image.fromarray(pixels).save(path)
    return path.name


def scene(path: Path, *, side: int = 600, seed: int = 0) -> str:
    small = np.random.default_rng(seed).integers(0, 200, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return path.name


def look(folder: Path, rules: str = "google+amazon", **columns: Any) -> AuditReport:
    catalog = Catalog(pl.DataFrame(columns), "shop", root=str(folder))
    sets = read_rule_sets(rules)
    return audit(catalog, threads=2, remember=False, rules=sets, rules_date=DAY)


def own(rule: str) -> Any:
    text = f'name = "Ours"\nas_of = 2026-11-28\n[[rule]]\nid = "r"\nsource = "x"\n{rule}'
    return parse_rules(text, key="ours", where="ours.toml")


def broken(report: AuditReport, name: str) -> dict[str, str]:
    """Images that break a rule, with what was measured."""
    assert report.rules is not None
    number = [one.name for one in report.rules.rules].index(name)
    rows = report.rules.broken.filter(rule=number)
    return {report.files["image"][row]: text for _, row, text in rows.iter_rows()}


def unsure(report: AuditReport, name: str) -> dict[str, str]:
    assert report.rules is not None
    number = [one.name for one in report.rules.rules].index(name)
    rows = report.rules.unsure.filter(rule=number)
    return {report.files["image"][row]: text for _, row, text in rows.iter_rows()}


def count(report: AuditReport, name: str) -> tuple[int, int, int]:
    assert report.rules is not None
    line = report.rules.counts.row(by_predicate=pl.col("rule") == name, named=True)
    return line["products"], line["images"], line["unsure"]


def test_the_rule_of_january_2027(tmp_path: Path) -> None:
    images = [packshot(tmp_path / f"{n}.png", side=side) for n, side in enumerate((499, 500, 800))]
    images.append(packshot(tmp_path / "3.png", side=300, shade=1))
    report = look(tmp_path, image=images, group=["a", "b", "b", "a"])
    assert broken(report, "google/size") == {"0.png": "499 x 499 px", "3.png": "300 x 300 px"}
    assert count(report, "google/size") == (1, 2, 0)
    assert report.rules is not None
    headline = "1 product falls under Google's limit of 500 x 500 px on 31 January 2027"
    assert report.headlines()[0] == headline
    assert "Google: 1 of 2 products with an image that breaks a rule of 2027-01-31" in (
        report.headlines()
    )


def test_before_that_day(tmp_path: Path) -> None:
    images = [packshot(tmp_path / f"{n}.png", side=side) for n, side in enumerate((99, 200, 200))]
    labels = ["Toys", "Toys", "Apparel & Accessories > Clothing"]
    catalog = Catalog(pl.DataFrame({"image": images, "label": labels}), "shop", str(tmp_path))
    sets = read_rule_sets("google")
    day = datetime.date(2027, 1, 30)
    report = audit(catalog, threads=1, remember=False, rules=sets, rules_date=day)
    assert broken(report, "google/size-until-2027") == {"0.png": "99 x 99 px"}
    assert broken(report, "google/size-of-apparel-until-2027") == {"2.png": "200 x 200 px"}
    assert report.rules is not None
    assert not any("31 January" in line for line in report.headlines())


def test_without_groups_each_image_is_a_product(tmp_path: Path) -> None:
    images = [packshot(tmp_path / f"{n}.png", side=300, shade=n) for n in range(2)]
    report = look(tmp_path, image=images)
    assert report.headlines()[0].startswith("2 images fall under Google's limit")


def test_rules_of_the_main_image(tmp_path: Path) -> None:
    """Secondary images may be scenes; which is the main one, the position says."""
    images = [scene(tmp_path / "a.jpg"), packshot(tmp_path / "b.png"),
              packshot(tmp_path / "c.png", shade=1), scene(tmp_path / "d.jpg", seed=1)]  # fmt: skip
    groups = ["p", "p", "q", "q"]
    report = look(tmp_path, image=images, group=groups)
    assert list(broken(report, "amazon/pure-white")) == ["a.jpg"]
    report = look(tmp_path, image=images, group=groups, position=[2, 1, 2, 1])
    assert list(broken(report, "amazon/pure-white")) == ["d.jpg"]
    report = look(tmp_path, image=images, group=groups, position=["2", "1", None, None])
    assert list(broken(report, "amazon/pure-white")) == []


def test_near_and_pure_white_are_both_said(tmp_path: Path) -> None:
    with Image.open(tmp_path / packshot(tmp_path / "a.png")) as image:
        image.point(lambda level: min(level, 250)).save(tmp_path / "b.png")
    report = look(tmp_path, image=["b.png"])
    assert broken(report, "amazon/pure-white") == {"b.png": "0.0 % pure white, 100.0 % near white"}
    assert broken(report, "google/white-ground") == {}


def test_fill(tmp_path: Path) -> None:
    images = [packshot(tmp_path / f"{n}.png", fill=fill) for n, fill in enumerate((0.5, 0.86))]
    white = np.full((600, 600, 3), 255, np.uint8)
    white[30:570, 30:570], white[280:320, 280:320] = 252, 90  # A white shirt with a print.
    Image.fromarray(white).save(tmp_path / "white.png")
    person = np.full((600, 600, 3), 255, np.uint8)
    person[160:, 200:400] = 80  # From the knees up.
    Image.fromarray(person).save(tmp_path / "person.png")
    report = look(tmp_path, image=[*images, "white.png", "person.png", scene(tmp_path / "s.jpg")])
    assert broken(report, "amazon/fill") == {"0.png": "50.0 %"}
    assert unsure(report, "amazon/fill") == {
        "white.png": "light product on white",
        "person.png": "the product goes beyond an edge",
        "s.jpg": "the ground is not white",
    }
    assert list(unsure(report, "amazon/pure-white")) == ["person.png"]
    Image.fromarray(np.minimum(person, 248)).save(tmp_path / "person.png")
    pale = look(tmp_path, image=["person.png"])
    assert broken(pale, "amazon/pure-white")["person.png"].startswith("0.0 % pure white")
    assert list(unsure(pale, "google/white-ground")) == ["person.png"]
    assert broken(report, "amazon/edges") == {"person.png": "bottom"}


def test_a_placeholder_is_one_image_under_many_products(tmp_path: Path) -> None:
    packshot(tmp_path / "soon.png")
    for number in range(5):
        (tmp_path / f"soon-{number}.png").write_bytes((tmp_path / "soon.png").read_bytes())
    images = [f"soon-{n}.png" for n in range(5)]
    report = look(tmp_path, image=images, group=list("abcde"))
    assert set(broken(report, "google/placeholder").values()) == {"5 products"}
    assert count(report, "google/placeholder") == (5, 5, 0)
    assert count(look(tmp_path, image=images, group=list("abcdd")), "google/placeholder")[0] == 0
    # Five photos of one product are no placeholder.
    assert count(look(tmp_path, image=images, group=["a"] * 5), "google/placeholder")[0] == 0


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    Image.new("RGB", (600, 600), "red").save(tmp_path / "blank.png")
    packshot(tmp_path / "a.png")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.png").read_bytes())
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "still.gif")
        image.save(
            tmp_path / "film.gif", save_all=True, append_images=[image.rotate(45)], duration=90
        )
        image.save(tmp_path / "a.webp", lossless=True)
        image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    (tmp_path / "noise").mkdir()
    names = ["blank.png", "a.jpg", "still.gif", "film.gif", "a.webp", "cmyk.jpg", "absent.jpg"]
    report = look(tmp_path, image=names)
    assert broken(report, "google/blank") == {"blank.png": "one color"}
    assert broken(report, "google/suffix") == {"a.jpg": ".jpg holds png"}
    assert broken(report, "amazon/still") == {"film.gif": "animated"}
    assert broken(report, "amazon/format") == {"a.webp": "webp"}
    assert broken(report, "amazon/color-space") == {"cmyk.jpg": "CMYK"}
    assert "absent.jpg" not in broken(report, "google/size")
    assert "absent.jpg" not in unsure(report, "google/size")


def test_sizes_of_files(tmp_path: Path) -> None:
    scene(tmp_path / "a.jpg")
    rules = own('check = "bytes"\nmax = 1000'), own('check = "megapixels"\nmax = 0.3')
    catalog = Catalog(pl.DataFrame({"image": ["a.jpg"]}), "shop", str(tmp_path))
    for rule, text in zip(rules, ("bytes", "600 x 600 px"), strict=True):
        report = audit(catalog, threads=1, remember=False, rules=[rule])
        assert broken(report, "ours/r")["a.jpg"].endswith(text)


def test_addresses_of_images(tmp_path: Path) -> None:
    images = [packshot(tmp_path / f"{n}.png", shade=n) for n in range(4)]
    urls = ["https://shop.example/a b.png", "https://cdn.shopify.com/s/files/1/b_200x.png?v=1",
            "https://shop.example/" + 2000 * "c" + ".png", None]  # fmt: skip
    report = look(tmp_path, image=images, url=urls)
    assert broken(report, "google/address") == {"0.png": "a blank", "2.png": "2025 characters"}
    assert broken(report, "google/smaller-copy") == {"1.png": "_200x"}
    assert report.rules is not None
    assert report.rules.rejected()["url"].to_list()[0] == urls[0]


def test_smaller_copies_that_were_fetched_say_nothing_of_the_size(tmp_path: Path) -> None:
    images = [packshot(tmp_path / f"{n}.png", side=300, shade=n) for n in range(2)]
    report = look(tmp_path, image=images, fetched_width=[300, None])
    assert list(broken(report, "google/size")) == ["1.png"]
    assert unsure(report, "google/size") == {
        "0.png": "a smaller copy was fetched, not the original"
    }


def test_a_column_url_may_be_that_of_the_pages(tmp_path: Path) -> None:
    images = [packshot(tmp_path / "0.png")]
    report = look(tmp_path, image=images, url=["https://shop.example/product/a,b?width=400"])
    assert broken(report, "google/address") == broken(report, "google/smaller-copy") == {}


def fetched(folder: Path, widths: dict[str, int | None]) -> dict[str, FetchRecord]:
    """The records of a fetch of these files, asked for these widths."""
    return {
        name: FetchRecord(
            name, name, sha256=sha256_file(folder / name), format="png", asked_width=width
        )
        for name, width in widths.items()
    }


def test_columns_of_other_kinds_say_nothing(tmp_path: Path) -> None:
    images = [packshot(tmp_path / f"{n}.png", side=300, shade=n) for n in range(2)]
    lists = [["a"], None]
    report = look(tmp_path, image=images, position=lists, url=lists, fetched_width=lists)
    assert count(report, "google/size") == (2, 2, 0)
    report = look(tmp_path, image=images, position=["x", "1.0"], url=[1, 2], group=["p", "p"])
    assert report.rules is not None
    assert report.rules.facts["is_main"].to_list() == [False, True]


def test_the_records_of_a_fetch_say_which_width_was_asked_for(tmp_path: Path) -> None:
    """A file narrower than that is the original, and so is what was fetched as one too."""
    photos = tmp_path / "images"
    photos.mkdir()
    images = [packshot(photos / f"{n}.png", side=side) for n, side in enumerate((400, 300, 450))]
    images.append(packshot(photos / "3.png", side=350))
    (photos / "4.png").write_bytes((photos / "2.png").read_bytes())
    widths = {"0.png": 400, "1.png": 400, "2.png": 400, "4.png": None, "3.png": None}
    write_records(tmp_path, fetched(photos, widths))
    report = look(photos, image=images)
    assert list(unsure(report, "google/size")) == ["0.png"]
    assert list(broken(report, "google/size")) == ["1.png", "2.png", "3.png"]
    assert "of 1 image a smaller copy was fetched: its size is not judged" in report.headlines()
    for content in (b"none of ours", (photos / "0.png").read_bytes()):
        (tmp_path / "fetch.parquet").write_bytes(content)
        assert len(broken(look(photos, image=images), "google/size")) == 4
    pl.DataFrame({"sha256": [1], "asked_width": ["wide"]}).write_parquet(tmp_path / "fetch.parquet")
    assert len(broken(look(photos, image=images), "google/size")) == 4


def test_frame(tmp_path: Path) -> None:
    pixels = np.full((600, 600, 3), (200, 0, 0), np.uint8)
    with Image.open(tmp_path / scene(tmp_path / "s.jpg")) as image:
        pixels[10:-10, 10:-10] = np.asarray(image.convert("L"))[10:-10, 10:-10, None]
    Image.fromarray(pixels).save(tmp_path / "framed.png")
    report = look(tmp_path, image=["framed.png", "s.jpg"])
    assert broken(report, "google/frame") == {"framed.png": "10 px of #c80000"}


def test_rules_never_stop_training(tmp_path: Path) -> None:
    images = [scene(tmp_path / f"{n}.jpg", side=100, seed=n) for n in range(20)]
    report = look(tmp_path, image=images, label=["a", "b"] * 10)
    assert report.counts["image-rule"] == 20
    assert report.verdict.passed
    assert len(gate(report.catalog, report).catalog) == 20


def test_what_is_written(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    images = [packshot(photos / "a.png", side=300), scene(photos / "b.jpg")]
    images.append(scene(photos / "c.jpg", seed=1))
    labels = tmp_path / "shop.csv"
    columns = {"image": images, "label": ["x", "y", "y"], "group": ["p", "q", "q"]}
    pl.DataFrame(columns).write_csv(labels)
    read = ReadOptions(images_root=str(photos), group="group")
    report = audit_command(labels, read=read, out=tmp_path / "out", rules="google+amazon")
    rejected = pl.read_csv(tmp_path / "out" / "rejected.csv")
    assert rejected.columns == [
        *("product", "image", "url", "rule", "measured", "needed", "source", "date")
    ]
    assert rejected.filter(rule="google/size").row(0)[:6] == (
        *("p", "a.png", None, "google/size", "300 x 300 px", "at least 500 x 500 px"),
    )
    assert rejected.filter(rule="google/size")["date"].to_list() == ["2027-01-31"]
    assert set(rejected["rule"].str.split("/").list.first()) == {"google", "amazon"}
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "Will they take the photos?" in page
    assert "limit of 500 x 500 px on 31 January 2027" in page
    assert report.to_json()["rules"]["shots"] == {"packshot": 1, "scene": 2}
    assert report.counts["image-rule"] == rejected["image"].n_unique() == 2
    by_image = [f.detail for f in report.findings if f.image == "a.png"]
    assert "google/size: 300 x 300 px; needed: at least 500 x 500 px | amazon/size" in by_image[0]
    advice = [f.detail for f in report.findings if f.kind == "image-advice"]
    assert "amazon/zoom: 3 images; recommended: at least 1,000 px on the longest side" in advice
    # The column `shot` is one of DATA.
    again = open_catalog(tmp_path / "out" / "images.csv", ReadOptions(label="shot"))
    assert again.table["label"].to_list() == ["packshot", "scene", "scene"]
    assert Path(again.refs()[0]).is_file()


def test_a_second_audit_measures_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [packshot(tmp_path / f"{n}.png", shade=n) for n in range(40)]
    catalog = Catalog(pl.DataFrame({"image": images}), "shop", str(tmp_path))
    sets, measured, read = read_rule_sets("google"), [], []
    measure_file, read_bytes = inspect_file.measure_file, inspect_file.read_bytes

    def noted(data: bytes) -> Any:
        measured.append(len(data))
        return measure_file(data)

    def noted_read(ref: str, access: Any) -> bytes:
        read.append(ref)
        return read_bytes(ref, access)

    monkeypatch.setattr(inspect_file, "measure_file", noted)
    monkeypatch.setattr(inspect_file, "read_bytes", noted_read)
    with use_cache_dir(tmp_path / "cache"):
        first = audit(catalog, threads=2, rules=sets, rules_date=DAY)
        assert (len(measured), len(read)) == (40, 40)
        # A plain audit, as training makes it, knows the files as well.
        audit(catalog, threads=2)
        assert len(read) == 40
        packshot(tmp_path / "7.png", fill=0.4)
        second = audit(catalog, threads=2, rules=sets, rules_date=DAY)
        assert (len(measured), len(read)) == (41, 41)
        third = audit(catalog, threads=2, rules=sets, rules_date=DAY)
        assert len(measured) == 41
    assert first.rules is not None
    assert second.rules is not None
    assert third.rules is not None
    assert third.rules.facts.equals(second.rules.facts)
    assert not first.rules.facts.equals(second.rules.facts)


def test_a_plain_audit_measures_nothing(tmp_path: Path) -> None:
    images = [packshot(tmp_path / "a.png")]
    report = audit(Catalog(pl.DataFrame({"image": images}), "shop", str(tmp_path)), remember=False)
    assert report.rules is None
    assert "rules" not in report.to_json()


@pytest.mark.parametrize("date", ["31.1.2027", "2027-13-01", "soon"])
def test_no_date(tmp_path: Path, date: str) -> None:
    with pytest.raises(ConfigError, match="is no date"):
        audit_command(tmp_path, rules="google", rules_date=date)


def test_a_date_without_rules(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--rules-date needs --rules"):
        audit_command(tmp_path, rules_date="2027-01-31")
