"""Local files on the word of others: only below the data's folders, wherever links lead."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from shopsight.errors import ImageError, LocationError
from shopsight.images.decode import read_bytes
from shopsight.io import confinement
from shopsight.io.access import PUBLIC, Access
from shopsight.io.confinement import is_inside, place_of, real_root
from shopsight.io.opening import read_location

MEGABYTE = 1_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of data beside one of secrets."""
    for name in ("data/a.jpg", "data/hat/b.jpg", "data/.env", "secrets/c.jpg", "data-2/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "data"


def read(path: object, root: Path) -> bytes:
    return read_location(str(path), Access(roots=(real_root(str(root)),)), most_bytes=MEGABYTE)


def reason(path: object, root: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_bytes(str(path), Access(roots=(real_root(str(root)),)))
    assert "secrets" not in str(caught.value.what).replace(str(root.parent / "secrets"), "")
    return caught.value.reason


def test_what_lies_inside_is_read(data: Path) -> None:
    for name in ("a.jpg", "hat/b.jpg", "hat/../a.jpg", "./a.jpg", "hat/./b.jpg", "../data/a.jpg"):
        assert read(data / name, data)
        assert read(f"{data}/{name}", data)
    assert read((data / "a.jpg").as_uri(), data)
    assert read(data / "a.jpg", data.parent)


def test_what_lies_outside_is_refused(data: Path) -> None:
    secret = data.parent / "secrets" / "c.jpg"
    for place in (
        secret,
        f"{data}/../secrets/c.jpg",
        f"{data}/hat/../../secrets/c.jpg",
        f"{data}//../secrets/c.jpg",
        secret.as_uri(),
        secret.as_uri().replace("file:", "FILE:"),
        data.parent / "data-2" / "d.jpg",
    ):
        assert reason(place, data) == "outside"
    assert read_bytes(str(secret), PUBLIC)


def test_the_error_names_the_flags(data: Path) -> None:
    with pytest.raises(LocationError) as caught:
        read(data.parent / "secrets" / "c.jpg", data)
    assert "--images-root FOLDER" in str(caught.value)
    assert "--allow-outside" in str(caught.value)


def test_hidden_files_are_not_read(data: Path) -> None:
    (data / ".git").mkdir()
    (data / ".git" / "x.jpg").write_bytes(b"x")
    assert reason(data / ".env", data) == "outside"
    assert reason(data / ".git" / "x.jpg", data) == "outside"
    assert read(data / ".git" / "x.jpg", data / ".git") == b"x"


def test_what_is_nowhere_is_missing(data: Path) -> None:
    assert reason(data / "e.jpg", data) == "missing"
    assert reason("/of/another/machine/a.jpg", data) == "missing"
    assert reason(f"{data}/a.jpg\0", data) == "missing"


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_links_are_followed_before_they_are_judged(data: Path) -> None:
    secret = data.parent / "secrets"
    (data / "file.jpg").symlink_to(secret / "c.jpg")
    (data / "folder").symlink_to(secret)
    (data / "twice").symlink_to("folder")
    (data / "up").symlink_to("hat/..")
    (data / "good.jpg").symlink_to("hat/b.jpg")
    (data / "loop.jpg").symlink_to("loop.jpg")
    (data / "null.jpg").symlink_to("/dev/zero")
    for name in ("file.jpg", "folder/c.jpg", "twice/c.jpg", "up/../secrets/c.jpg", "null.jpg"):
        assert reason(data / name, data) == "outside"
    assert read(data / "good.jpg", data) == b"data/hat/b.jpg"
    assert read(data / "up" / "a.jpg", data) == b"data/a.jpg"
    assert reason(data / "loop.jpg", data) == "unreadable"
    # `folder/..` is where the link leads, not the folder that it lies in.
    assert reason(f"{data}/folder/../data-2/d.jpg", data) == "outside"
    # A root that is a link itself is the place that it leads to.
    assert read(data / "folder" / "c.jpg", data / "folder") == b"secrets/c.jpg"


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_a_link_that_is_put_there_after_the_check(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(path: str, roots: tuple[str, ...] | None) -> str:
        place = place_of(path, roots)
        Path(place).unlink()
        Path(place).symlink_to(data.parent / "secrets" / "c.jpg")
        return place

    monkeypatch.setattr("shopsight.io.local_files.place_of_name", lambda *_: None)
    monkeypatch.setattr("shopsight.io.local_files.place_of", late)
    with pytest.raises(OSError, match="symbolic links"):
        read(data / "a.jpg", data)


@pytest.mark.posix("symbolic links need a privilege on Windows")
def test_a_link_that_is_set_anew_is_followed_anew(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confinement, "_BELIEVED_S", 0.0)
    (data / "now").symlink_to("hat")
    assert read(data / "now" / "b.jpg", data) == b"data/hat/b.jpg"
    (data / "now").unlink()
    (data / "now").symlink_to(data.parent / "secrets")
    assert reason(data / "now" / "c.jpg", data) == "outside"


def test_members_of_containers_are_confined(data: Path) -> None:
    content = bytes((0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7))
    for folder in (data, data.parent / "secrets"):
        (folder / "x-images-idx3-ubyte").write_bytes(content)
    assert reason(data.parent / "secrets" / "x-images-idx3-ubyte#0", data) == "outside"
    access = Access(roots=(real_root(str(data)),))
    assert read_bytes(str(data / "x-images-idx3-ubyte#0"), access).startswith(b"P5")


def test_no_roots_at_all(data: Path) -> None:
    with pytest.raises(LocationError):
        read_location(str(data / "a.jpg"), Access(roots=()), most_bytes=MEGABYTE)
    assert not is_inside(str(data / "a.jpg"), ())
    assert is_inside(str(data / "a.jpg"), None)
    root = str(Path(data.anchor))
    assert is_inside(str(data / "a.jpg"), (root,))


@pytest.mark.parametrize(
    "address",
    [
        "file://otherhost/share/a.jpg",
        "file:////otherhost/share/a.jpg",
        "FILE://127.0.0.1/etc/passwd",
        "file://localhost.evil/etc/passwd",
    ],
)
def test_files_of_other_machines(address: str, data: Path) -> None:
    with pytest.raises(LocationError, match=r"another machine|outside"):
        read(address, data)


def test_access_is_added_up(data: Path) -> None:
    one = Access(roots=("/a",)).typed("http://127.0.0.1:1/t.csv")
    two = Access(private=True, roots=("/b", "/a"), stores=frozenset({"s3://x"}))
    both = one.joined(two)
    assert both.roots == ("/a", "/b")
    assert both.private
    assert (both.hosts, both.stores) == (one.hosts, two.stores)
    assert one.joined(PUBLIC).roots is None
    assert PUBLIC.within(str(data)).roots is None
    assert one.within(str(data)).roots == ("/a", real_root(str(data)))
    assert Access.from_json(both.to_json()) == both


def test_what_may_be_read_costs_no_memory(data: Path) -> None:
    tracemalloc.start()
    assert read_location(str(data / "a.jpg"), most_bytes=1 << 40) == b"data/a.jpg"
    assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    tracemalloc.stop()


@pytest.mark.posix("a file whose size its system does not know")
def test_files_of_no_known_size() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("there is no /proc here")
    assert b"VmSize" in read_location(str(status), most_bytes=MEGABYTE)
    with pytest.raises(LocationError, match="more than 10 bytes"):
        read_location(str(status), most_bytes=10)
