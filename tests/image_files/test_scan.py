"""What a scan skips and says so: what systems leave behind, folders that may not be read, loops."""

from __future__ import annotations

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shopsight.audit.audit import audit
from shopsight.datasets.open import open_catalog
from shopsight.errors import CatalogError
from shopsight.folders.folders import folder_catalog
from shopsight.folders.label_patterns import pattern_catalog
from shopsight.image_files import scan
from shopsight.image_files.scan import is_link, scan_folder
from shopsight.inference.inputs import prepare_inputs
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from tests.helpers import make_products, touch

LITTER = (
    *("System Volume Information/IndexerVolumeGuid.jpg", "$RECYCLE.BIN/S-1-5/a.jpg"),
    *(".Trashes/501/b.jpg", ".Spotlight-V100/c.jpg", "__MACOSX/dress/._1.jpg", "THUMBS.DB"),
    *("dress/._1.jpg", "dress/.DS_Store", "hat/@eaDir/1.jpg/thumb.jpg", "lost+found/d.jpg"),
)


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Lets a folder be one that may not be read; the tests may run as root, who may read all."""
    scandir = os.scandir

    def deny(folder: Path) -> None:
        def refusing(path: str) -> Any:
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(scan, "os", SimpleNamespace(**vars(os) | {"scandir": refusing}))

    return deny


def test_scan_sorts_and_tells_kinds_apart(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "b/2.JPG", "a/1.png", "labels.csv", "notes.txt", ".hidden/3.jpg",
        "__MACOSX/4.jpg", "a/.5.jpg", "train-images-idx3-ubyte.gz", "a/inner.csv", "README",
    )  # fmt: skip
    scan = scan_folder(root)
    assert scan.images == ["a/1.png", "b/2.JPG"]
    assert scan.tables == ["labels.csv"]
    assert scan.containers == ["train-images-idx3-ubyte.gz"]
    assert dict(scan.others) == {".txt": 1, ".csv": 1, "no suffix": 1}


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_scan_follows_links_but_not_in_circles(tmp_path: Path) -> None:
    root = touch(tmp_path / "shop", "hat/2.jpg", ".kept/1.jpg")
    (tmp_path / "shop" / "linked").symlink_to(tmp_path / "shop" / "hat")
    (tmp_path / "shop" / "hat" / "up").symlink_to(tmp_path / "shop")
    (tmp_path / "shop" / "hat" / "over").symlink_to("over")
    scan = scan_folder(root)
    assert scan.images == ["hat/2.jpg", "linked/2.jpg"]
    assert not scan.outside


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_links_out_of_the_folder(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1.jpg", "secret", "table.csv")
    root = touch(tmp_path / "shop", "hat/2.jpg")
    (tmp_path / "shop" / "shoe").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "shop" / "hat" / "all").symlink_to("/")
    (tmp_path / "shop" / "labels.csv").symlink_to(tmp_path / "elsewhere" / "table.csv")
    (tmp_path / "shop" / "hat" / "id").symlink_to(tmp_path / "elsewhere" / "secret")
    scan = scan_folder(root)
    assert scan.images == ["hat/2.jpg"]
    assert scan.rows == ["hat/2.jpg", "hat/all/.", "shoe/."]
    assert sorted(scan.outside) == ["hat/all", "shoe"]
    assert (scan.tables, dict(scan.others)) == ([], {"link to the outside": 2})
    assert "not followed, links that lead outside: 2 folders" in "\n".join(scan.notes())
    (tmp_path / "shop" / "hat" / "all").unlink()
    followed = scan_folder(root, follow_outside=True)
    assert followed.images == ["hat/2.jpg", "shoe/1.jpg"]
    assert followed.tables == ["labels.csv"]


def test_scan_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        scan_folder(str(tmp_path / "absent"))


def test_scan_reads_a_url(tmp_path: Path) -> None:
    touch(tmp_path, "hat/2.jpg", "shoe/1.jpg", ".git/3.jpg", "shop.csv")
    scan = scan_folder(f"file://{tmp_path}")
    assert scan.images == ["hat/2.jpg", "shoe/1.jpg"]
    assert scan.tables == ["shop.csv"]


def test_what_systems_leave_on_cards_and_drives_is_no_class(tmp_path: Path) -> None:
    root = touch(tmp_path, "dress/1.jpg", "hat/2.jpg", *LITTER)
    found = scan_folder(root)
    assert found.images == ["dress/1.jpg", "hat/2.jpg"]
    assert not found.others
    catalog = folder_catalog(found, name="card", root=root)
    assert catalog.labels == ("dress", "hat")
    (line,) = [line for line in catalog.notes if "left behind" in line]
    assert line.startswith("skipped, left behind by a system: 10 (")
    by_pattern = pattern_catalog(found, "{label}/*", name="card", root=root)
    assert line in by_pattern.notes


def test_a_folder_without_litter_says_nothing(tmp_path: Path) -> None:
    assert scan_folder(touch(tmp_path, "dress/1.jpg", "hat/2.jpg")).notes() == []


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, denied: Callable[[Path], None], said: list[str]
) -> None:
    photos = make_products(tmp_path, per_class=2)
    touch(tmp_path, "secret/1.jpg")
    denied(tmp_path / "secret")
    catalog = open_catalog(photos.folder)
    line = "skipped, may not be read: 1 folder: secret (Permission denied)"
    assert catalog.labels == photos.labels
    assert line in catalog.notes
    assert line in said
    report = audit(catalog)
    assert line in report.to_json()["notes"]
    report.write(tmp_path / "audit")
    assert "may not be read: 1 folder: secret" in (tmp_path / "audit" / "audit.html").read_text(
        encoding="utf-8"
    )


def test_predict_names_a_folder_that_may_not_be_read(
    tmp_path: Path, denied: Callable[[Path], None], said: list[str]
) -> None:
    photos = make_products(tmp_path, per_class=2)
    denied(tmp_path / "hat")
    preprocess = Preprocess(size_px=28)
    found = list(prepare_inputs(str(tmp_path), preprocess, window=4, threads=1))
    assert len(found) == photos.count - 2
    assert f"{tmp_path}: skipped, may not be read: 1 folder: hat (Permission denied)" in said


def test_the_folder_itself_must_be_readable(tmp_path: Path, denied: Callable[[Path], None]) -> None:
    denied(tmp_path)
    with pytest.raises(CatalogError, match="Permission denied"):
        scan_folder(str(tmp_path))


@pytest.mark.posix("needs symbolic links")
def test_a_link_to_itself_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "dress/1.jpg")
    (tmp_path / "dress" / "loop.jpg").symlink_to(tmp_path / "dress" / "loop.jpg")
    assert scan_folder(str(tmp_path)).images == ["dress/1.jpg", "dress/loop.jpg"]


@pytest.mark.posix("needs symbolic links")
def test_links_to_each_other_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "to").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to").symlink_to(tmp_path / "a")
    images = scan_folder(str(tmp_path)).images
    assert len(images) <= 8
    assert {"a/1.jpg", "b/2.jpg"} <= set(images)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"is_junction": lambda: True}, True),
        ({"is_junction": lambda: False}, False),
        # Python 3.11: no is_junction, the tag of a mount point.
        ({"stat": lambda **_: SimpleNamespace(st_reparse_tag=0xA0000003)}, True),
        # A file that OneDrive keeps elsewhere has a tag as well.
        ({"stat": lambda **_: SimpleNamespace(st_reparse_tag=0x9000001A)}, False),
        ({"stat": lambda **_: SimpleNamespace()}, False),
    ],
)
def test_a_junction_counts_as_a_link(entry: dict[str, Any], wanted: bool) -> None:
    made: Any = SimpleNamespace(is_symlink=lambda: False, **entry)
    assert is_link(made) == wanted


def copy_with_a_name_of_latin_1(source: Path, folder: Path) -> str:
    r"""Copy an image to `caf\xe9.jpg`, as an old archive unpacks it, and give the path."""
    path = os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")
    try:
        folder.mkdir(exist_ok=True)
        shutil.copy(source, path)
    except OSError:
        pytest.skip("this file system takes no such name")
    return path


@pytest.mark.posix("a name that is not UTF-8")
def test_an_image_whose_name_is_not_unicode_is_noted(tmp_path: Path, said: list[str]) -> None:
    photos = make_products(tmp_path, per_class=2)
    copy_with_a_name_of_latin_1(next((tmp_path / "hat").iterdir()), tmp_path / "hat")
    catalog = open_catalog(photos.folder)
    line = (
        r"cannot be read, the name is not Unicode: 1 image, e.g. hat/caf\udce9.jpg "
        "(rename it, and folders of such names)"
    )
    assert len(catalog) == photos.count + 1
    assert line in catalog.notes
    assert line in said
    report = audit(catalog)
    (finding,) = (found for found in report.findings if found.kind == "unreadable")
    assert finding.image == r"hat/caf\udce9.jpg"
    assert "not Unicode" in finding.detail
    report.write(tmp_path / "audit")
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert r"1 image, e.g. hat/caf\udce9.jpg" in page


@pytest.mark.posix("a name that is not UTF-8")
def test_a_folder_whose_name_is_not_unicode_is_noted_or_refused(tmp_path: Path) -> None:
    photos = make_products(tmp_path, per_class=2)
    folder = Path(copy_with_a_name_of_latin_1(next((tmp_path / "hat").iterdir()), tmp_path))
    folder.unlink()
    (tmp_path / "hat").rename(folder)
    catalog = open_catalog(photos.folder)
    assert len(catalog) == photos.count
    # The class is not forgotten with its images.
    assert r"caf\udce9.jpg" in catalog.labels
    lost = [found.detail for found in audit(catalog).findings if found.kind == "lost-class"]
    assert len(lost) == 1
    assert r"loses 2 of 2 images: 2 unreadable" in lost[0]
    assert any(r"not Unicode: 2 images, e.g. caf\udce9.jpg/" in line for line in catalog.notes)
    with pytest.raises(CatalogError, match="the path is not Unicode") as raised:
        open_catalog(folder)
    assert raised.value.where == rf"{tmp_path}/caf\udce9.jpg"


@pytest.mark.posix("a name that is not UTF-8")
def test_a_folder_of_such_images_alone_says_so(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=2)
    source = next((Path(photos.folder) / "hat").iterdir())
    copy_with_a_name_of_latin_1(source, tmp_path / "old")
    with pytest.raises(CatalogError, match="this folder has no image files") as raised:
        open_catalog(tmp_path / "old")
    assert r"e.g. caf\udce9.jpg" in raised.value.details[0]


@pytest.mark.posix("a name that is not UTF-8")
def test_a_file_beside_a_table_whose_name_is_not_unicode_is_a_finding(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "products", per_class=2)
    hats = photos.folder / "hat"
    copy_with_a_name_of_latin_1(next(hats.iterdir()), hats)
    report = audit(open_catalog(photos.table))
    assert [f.image for f in report.findings if f.kind == "unlisted-file"] == [r"hat/caf\udce9.jpg"]
    report.write(tmp_path / "audit")


@pytest.mark.posix("a name that is not UTF-8")
def test_predict_reads_an_image_whose_name_is_not_unicode(tmp_path: Path) -> None:
    make_products(tmp_path, per_class=2)
    path = copy_with_a_name_of_latin_1(next((tmp_path / "hat").iterdir()), tmp_path / "hat")
    found = prepare_inputs(str(tmp_path / "hat"), Preprocess(size_px=28), window=4, threads=1)
    assert {image.source: image.error for image in found}[path] is None


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of files whose names and first bytes say different things."""
    folder = tmp_path / "mixed"
    photos = make_products(tmp_path / "photos", per_class=2)
    jpeg = next((Path(photos.folder) / "hat").iterdir()).read_bytes()
    files = {
        "hat/1.jpg": jpeg,
        "hat/2": jpeg,
        "hat/IMG_3.JPG~": jpeg,
        "hat/4.jpg_large": jpeg,
        "hat/v1.2": jpeg,
        "hat/5.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "hat/6": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "hat/7.jpg": b"<!doctype html><title>404</title>",
        "hat/8": b"<!doctype html><title>404</title>",
        "hat/9.txt": jpeg,
        "hat/10.webm": b"\x1aE\xdf\xa3",
        "shoe/1.png": b"",
        "shoe/2": b"",
        "README": b"Photos of hats.",
        "list.json": b"[]",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_what_begins_like_an_image_is_one(mixed: Path) -> None:
    found = scan_folder(str(mixed))
    assert found.images == [
        "hat/1.jpg", "hat/2", "hat/4.jpg_large", "hat/5.HEIC", "hat/6", "hat/7.jpg",
        "hat/IMG_3.JPG~", "hat/v1.2", "shoe/1.png",
    ]  # fmt: skip
    assert dict(found.others) == {".txt": 1, ".webm": 1, "no suffix": 3, ".json": 1}


def test_what_is_skipped_is_counted_with_an_example(mixed: Path, said: list[str]) -> None:
    (mixed / "shoe" / "more.yaml").touch()
    catalog = open_catalog(mixed)
    assert len(catalog) == 9
    (line,) = [line for line in catalog.notes if "not an image file" in line]
    assert line in said
    assert line.startswith("skipped, not an image file: 7 files (3 no suffix, e.g. ")
    assert ".webm, e.g. hat/10.webm" in line
    assert line.endswith("1 other kind)")


def test_a_class_of_images_that_are_not_read_is_there(mixed: Path) -> None:
    for path in (mixed / "hat").iterdir():
        if path.suffix != ".HEIC":
            path.unlink()
    catalog = open_catalog(mixed)
    assert catalog.labels == ("hat", "shoe")
    report = audit(catalog)
    assert {finding.image for finding in report.findings if finding.kind == "unreadable"} == {
        "hat/5.HEIC", "shoe/1.png",
    }  # fmt: skip


@pytest.mark.posix("a named pipe")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    touch(tmp_path, "hat/1.jpg", "shoe/2.jpg")
    for name in ("pipe", "pipe.jpg"):
        os.mkfifo(tmp_path / "hat" / name)
    found = scan_folder(str(tmp_path))
    assert found.images == ["hat/1.jpg", "shoe/2.jpg"]
    assert dict(found.others) == {"pipe or device": 2}


@pytest.mark.parametrize(
    ("skip", "left"),
    [
        (("old",), ["hat/1.jpg", "shoe/2.jpg"]),
        (("old/",), ["hat/1.jpg", "shoe/2.jpg"]),
        (("hat/old",), ["hat/1.jpg", "old/4.jpg", "shoe/2.jpg"]),
        (("old", "shoe"), ["hat/1.jpg"]),
        ((), ["hat/1.jpg", "hat/old/3.jpg", "old/4.jpg", "shoe/2.jpg"]),
    ],
)
def test_folders_are_left_out_by_name_or_path(
    tmp_path: Path, skip: tuple[str, ...], left: list[str]
) -> None:
    root = touch(tmp_path, "hat/1.jpg", "shoe/2.jpg", "hat/old/3.jpg", "old/4.jpg")
    found = scan_folder(root, skip=skip)
    assert found.images == left
    assert bool(skip) == any("left out by --skip-folder" in line for line in found.notes())


def test_a_folder_to_leave_out_is_found_in_another_form_of_unicode(tmp_path: Path) -> None:
    root = touch(tmp_path, f"{unicodedata.normalize('NFD', 'été')}/1.jpg", "hat/2.jpg")
    found = scan_folder(root, skip=[unicodedata.normalize("NFC", "été")])
    assert found.images == ["hat/2.jpg"]


def test_a_folder_to_leave_out_must_be_there(tmp_path: Path) -> None:
    touch(tmp_path, "train/hat/1.jpg", "test/hat/2.jpg", "annotations/3.jpg")
    with pytest.raises(CatalogError, match="no folder 'anotations' to skip; did you mean 'annot"):
        open_catalog(tmp_path, ReadOptions(skip_folder=("anotations",)))
    catalog = open_catalog(tmp_path, ReadOptions(skip_folder=("annotations",)))
    assert sorted(catalog.table["split"]) == ["test", "train"]
    assert "left out by --skip-folder: annotations/" in catalog.notes
