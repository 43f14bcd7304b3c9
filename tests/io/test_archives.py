"""Archives are unpacked into their folder and nowhere else."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from shopsight.errors import ArchiveError
from shopsight.io import archives
from shopsight.io.archives import ar_members, unpack_deb, unpack_zip, zip_hashes, zip_names
from tests.io.packages import ar_archive, tar_xz


def zip_of(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, name)
    return path


def files_under(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_zip_archive_keeps_its_folders(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "train/hat/1.jpg", "train/hat/", "2..jpg")
    unpack_zip(archive, tmp_path / "out")
    names = ("train/hat/1.jpg", "2..jpg")
    assert files_under(tmp_path / "out") == {name: name for name in sorted(names)}


@pytest.mark.posix("Windows has no such name")
def test_a_name_of_dots_leads_nowhere(tmp_path: Path) -> None:
    unpack_zip(zip_of(tmp_path / "a.zip", "..."), tmp_path / "out")
    assert files_under(tmp_path / "out") == {"...": "..."}


def test_files_can_be_renamed_and_skipped(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "repo/a.jpg", "repo/README.md")
    unpack_zip(
        archive,
        tmp_path / "out",
        rename=lambda name: Path(name).name if name.endswith(".jpg") else None,
    )
    assert files_under(tmp_path / "out") == {"a.jpg": "repo/a.jpg"}


@pytest.mark.parametrize(
    "name",
    ["../evil", "train/../../evil", "/evil", "C:/evil", "C:evil", "//host/share/evil", "..\\evil"],
)
def test_a_path_out_of_the_folder_is_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    archive = zip_of(tmp_path / "a.zip", "good.jpg", name)
    with pytest.raises(ArchiveError, match="refused: a path out of the folder") as caught:
        unpack_zip(archive, tmp_path / "in" / "out")
    assert caught.value.what.endswith(f": {name}")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_a_skipped_member_with_such_a_path_is_refused_too(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "../evil")
    with pytest.raises(ArchiveError, match="refused"):
        unpack_zip(archive, tmp_path / "out", rename=lambda _: None)
    with pytest.raises(ArchiveError, match="refused"):
        unpack_zip(zip_of(tmp_path / "b.zip", "x"), tmp_path / "out", rename=lambda _: "../x")


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("photos")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(link, "/etc")
        packed.writestr("photos/passwd", "evil")
    with pytest.raises(ArchiveError, match="refused: a link"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "train/1.jpg", "test/1.jpg")
    with pytest.raises(ArchiveError, match=r"two files would be unpacked as 1\.jpg") as caught:
        unpack_zip(archive, tmp_path / "out", rename=lambda name: Path(name).name)
    assert caught.value.what.endswith(": train/1.jpg, test/1.jpg")


def test_other_files_and_cut_off_archives_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK but not more")
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out")
    whole = zip_of(tmp_path / "b.zip", "1.jpg", "2.jpg").read_bytes()
    broken = bytearray(whole)
    broken[35] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(broken)
    with pytest.raises(ArchiveError, match=r"cannot be unpacked: (Bad CRC-32|File name in)"):
        unpack_zip(tmp_path / "b.zip", tmp_path / "out")


def test_a_debian_package_is_unpacked_without_dpkg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tar_xz({"./usr/share/datasets/fashion-mnist/README": b"odd"})
    package = tmp_path / "x.deb"
    package.write_bytes(ar_archive({"debian-binary": b"2.0\n", "data.tar.xz": data}))
    monkeypatch.setenv("PATH", str(tmp_path))
    unpack_deb(package, tmp_path / "tree")
    kept = tmp_path / "tree/usr/share/datasets/fashion-mnist/README"
    assert kept.read_bytes() == b"odd"


def test_a_debian_package_does_not_leave_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "x.deb"
    package.write_bytes(ar_archive({"data.tar.xz": tar_xz({"../evil": b"x"})}))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArchiveError, match="refused: a path out of the folder"):
        unpack_deb(package, tmp_path / "tree")
    assert not (tmp_path / "evil").exists()


def test_a_debian_package_whose_checksum_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    # The tar ends early, so that all of it is read.
    data = gzip.compress(out.getvalue()[:700], mtime=0)
    package = tmp_path / "x.deb"
    package.write_bytes(ar_archive({"data.tar.gz": data[:-8] + bytes(4) + data[-4:]}))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArchiveError, match="cannot be unpacked: CRC check failed") as caught:
        unpack_deb(package, tmp_path / "tree")
    assert caught.value.reason == "damaged"


def test_a_zero_byte_in_a_name_of_a_debian_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"path": "a\0b"}
        archive.addfile(member)
    package = tmp_path / "x.deb"
    package.write_bytes(ar_archive({"data.tar": out.getvalue()}))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArchiveError, match="cannot be unpacked") as caught:
        unpack_deb(package, tmp_path / "tree")
    assert caught.value.reason == "damaged"


def test_members_of_an_ar_archive() -> None:
    members = {"debian-binary": b"2.0\n", "odd": b"123", "last": b""}
    assert dict(ar_members(ar_archive(members))) == members
    with pytest.raises(ArchiveError, match="not an ar archive"):
        list(ar_members(b"PK"))


def test_a_cut_off_ar_archive() -> None:
    whole = ar_archive({"debian-binary": b"2.0\n", "data": b"12345678"})
    for broken in (whole[:-3], whole.replace(b"8         `", b"-8        `")):
        with pytest.raises(ArchiveError, match="damaged or cut off"):
            list(ar_members(broken))


def test_bombs_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.jpg", bytes(40_000_000))
    with pytest.raises(ArchiveError, match="for its size") as caught:
        unpack_zip(tmp_path / "a.zip", tmp_path / "out")
    assert caught.value.reason == "too large"
    monkeypatch.setattr(archives, "UNPACKED_FILES", 3)
    many = zip_of(tmp_path / "b.zip", "1", "2", "3", "4")
    with pytest.raises(ArchiveError, match="more than 3 files"):
        unpack_zip(many, tmp_path / "out")
    package = tmp_path / "x.deb"
    monkeypatch.setenv("PATH", str(tmp_path))
    for number, files in enumerate(({"a": bytes(40_000_000)}, dict.fromkeys("1234", b""))):
        package.write_bytes(ar_archive({"data.tar.xz": tar_xz(files)}))
        with pytest.raises(ArchiveError, match=r"for its size|more than 3 files"):
            unpack_deb(package, tmp_path / f"tree{number}")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "tree0" / "a").exists()


def test_a_member_that_is_longer_than_it_says(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "long-name.jpg")
    data = archive.read_bytes().replace((13).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    archive.write_bytes(data)
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpack_zip(archive, tmp_path / "out")


def test_a_path_within_the_archive_that_is_full(tmp_path: Path) -> None:
    """`repo//abs/path` is `/abs/path` without the folder that wraps everything."""
    archive = zip_of(tmp_path / "a.zip", f"repo/{tmp_path}/evil")
    with pytest.raises(ArchiveError, match="refused: a path out of the folder"):
        unpack_zip(archive, tmp_path / "out", rename=lambda name: name.partition("/")[2])
    assert not (tmp_path / "evil").exists()


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_a_link_that_lies_there_already(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train").symlink_to(tmp_path)
    with pytest.raises(ArchiveError, match="refused: a path out of the folder"):
        unpack_zip(zip_of(tmp_path / "a.zip", "train/evil"), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_hashes_before_anything_is_written(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", "repo/a.jpg", "repo/README.md")
    jpegs = zip_hashes(archive, rename=lambda name: name[5:] if name.endswith(".jpg") else None)
    assert jpegs == {"a.jpg": hashlib.sha256(b"repo/a.jpg").hexdigest()}
    assert zip_names(archive.read_bytes(), most=2) == ["repo/a.jpg", "repo/README.md"]
    with pytest.raises(ArchiveError, match="more than 1 files"):
        zip_names(archive.read_bytes(), most=1)
