"""Local files and object stores through the one door; fsspec's memory plays the store."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from threading import Event
from types import ModuleType

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from shopsight.datasets.open import open_catalog
from shopsight.errors import ImageError, LocationError, RemoteError
from shopsight.image_files.scan import scan_folder
from shopsight.images.decode import read_bytes
from shopsight.io.access import PUBLIC, Access
from shopsight.io.opening import list_all, list_folder, read_location

MEGABYTE = 1_000_000


class Bucket(MemoryFileSystem):
    protocol = ("s3",)
    store: dict[str, object] = {}
    pseudo_dirs: list[str] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("s3://"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """What `s3://bucket` holds, as if s3fs was installed."""
    monkeypatch.setitem(sys.modules, "s3fs", ModuleType("s3fs"))
    fsspec.register_implementation("s3", Bucket, clobber=True)
    Bucket.clear_instance_cache()
    yield Bucket()
    Bucket.store.clear()
    import_module("fsspec.registry")._registry.pop("s3")


def test_local_files(tmp_path: Path) -> None:
    path = tmp_path / "a b.jpg"
    path.write_bytes(b"bytes")
    for location in (str(path), path.as_uri(), path.as_uri().replace("file:", "FILE:")):
        assert read_location(location, most_bytes=5) == b"bytes"
        with pytest.raises(LocationError, match="more than 4 bytes"):
            read_location(location, most_bytes=4)
    with pytest.raises(FileNotFoundError):
        read_location(str(tmp_path / "absent.jpg"), most_bytes=1)


@pytest.mark.posix("pipes and devices have names in its file system")
def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (str(tmp_path / "pipe.jpg"), "/dev/zero"):
        with pytest.raises(ImageError, match="neither a file nor a folder") as caught:
            read_bytes(path)
        assert caught.value.reason == "unreadable"
    with pytest.raises(ImageError, match="this is a folder"):
        read_bytes(str(tmp_path))


@pytest.mark.parametrize(
    ("address", "extra"),
    [
        ("s3://bucket/a.jpg", "s3"),
        ("GS://bucket/a.jpg", "gs"),
        ("gcs://bucket/a.jpg", "gs"),
        ("abfs://container/a.jpg", "az"),
    ],
)
def test_a_driver_that_is_missing_names_its_extra(
    address: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("s3fs", "gcsfs", "adlfs"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError) as caught:
        read_bytes(address, PUBLIC.typed(address))
    assert caught.value.reason == "no driver"
    assert caught.value.fix == f'pip install "shopsight[{extra}]"'
    with pytest.raises(RemoteError, match="is not installed"):
        list_folder(address, PUBLIC.typed(address))


def test_objects(bucket: Bucket) -> None:
    bucket.pipe("/bucket/hat/a.jpg", b"bytes")
    typed = PUBLIC.typed("s3://bucket")
    assert read_bytes("s3://bucket/hat/a.jpg", typed) == b"bytes"
    assert list_all("s3://bucket", typed) == ["hat/a.jpg"]
    assert list_folder("s3://bucket", typed) == ([], ["hat"])
    with pytest.raises(ImageError, match="no such file") as caught:
        read_bytes("s3://bucket/hat/b.jpg", typed)
    assert caught.value.reason == "missing"
    with pytest.raises(RemoteError, match="more than 4 bytes"):
        read_location("s3://bucket/hat/a.jpg", typed, most_bytes=4)


def test_a_store_that_refuses(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentialsError(Exception):
        pass

    for error, reason in (
        (NoCredentialsError("Unable to locate credentials"), "forbidden"),
        (PermissionError("Access Denied"), "forbidden"),
        (TimeoutError(), "timed out"),
        (RuntimeError("?"), "server error"),
    ):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(Bucket, "_open", fail)
        with pytest.raises(ImageError) as caught:
            read_bytes("s3://bucket/a.jpg", PUBLIC.typed("s3://bucket"))
        assert caught.value.reason == reason


def test_a_store_that_nobody_typed_is_not_asked(bucket: Bucket) -> None:
    bucket.pipe("/bucket/a.jpg", b"bytes")
    others = Access(private=True, stores=frozenset({"s3://bucket-2", "gs://bucket"}))
    for access in (PUBLIC, others):
        with pytest.raises(ImageError) as caught:
            read_bytes("s3://bucket/a.jpg", access)
        assert (caught.value.reason, caught.value.fix) == ("not allowed", "--allow-remote")
        for ask in (list_all, list_folder):
            with pytest.raises(RemoteError, match="only if you name it or allow it"):
                ask("s3://bucket", access)
    for access in (Access(remote=True), PUBLIC.typed("S3://bucket/other/place")):
        assert read_bytes("s3://bucket/a.jpg", access) == b"bytes"


def test_a_store_that_does_not_answer(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = Event(), Event()

    def cat(*_: object, **__: object) -> None:
        asked.set()
        answered.wait(10)

    monkeypatch.setattr("shopsight.io.stores.ANSWER_S", 0.1)
    monkeypatch.setattr(Bucket, "open", cat)
    with pytest.raises(ImageError, match="did not answer in time") as caught:
        read_bytes("s3://bucket/a.jpg", PUBLIC.typed("s3://bucket"))
    answered.set()
    assert asked.is_set()
    assert caught.value.reason == "timed out"


def test_a_list_of_a_store_has_limits(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    typed, answered = PUBLIC.typed("s3://bucket"), Event()
    for number in range(4):
        bucket.pipe(f"/bucket/{number}.jpg", b"bytes")
    monkeypatch.setattr("shopsight.io.stores.MOST_LISTED", 3)
    for ask in (list_all, list_folder):
        with pytest.raises(RemoteError, match="more than 3 files") as caught:
            ask("s3://bucket", typed)
        assert caught.value.reason == "too large"
    monkeypatch.setattr("shopsight.io.stores.MOST_LISTED", 4)
    assert len(list_all("s3://bucket", typed)) == len(list_folder("s3://bucket", typed)[0]) == 4

    def silent(*_: object, **__: object) -> None:
        answered.wait(10)

    for limit, method, ask in (("LISTING_S", "find", list_all), ("ANSWER_S", "ls", list_folder)):
        monkeypatch.setattr(f"shopsight.io.stores.{limit}", 0.1)
        monkeypatch.setattr(Bucket, method, silent)
        with pytest.raises(RemoteError, match="did not answer in time"):
            ask("s3://bucket", typed)
    answered.set()


@pytest.mark.parametrize(
    ("protocol", "driver", "options"),
    [
        ("gs", "gcsfs", {"requests_timeout": 20.0}),
        ("az", "adlfs", {"connection_timeout": 10, "read_timeout": 20}),
    ],
)
def test_drivers_without_limits_are_given_some(
    protocol: str, driver: str, options: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, ModuleType(driver))
    asked = dict[str, object]()

    def filesystem(name: str, **given: object) -> Bucket:
        asked.update(given, name=name)
        return Bucket()

    monkeypatch.setattr(fsspec, "filesystem", filesystem)
    with pytest.raises(RemoteError, match="no such file"):
        read_location(f"{protocol}://b/a.jpg", Access(remote=True), most_bytes=1)
    assert asked == options | {"name": protocol}


def test_a_folder_in_a_store(bucket: Bucket) -> None:
    for label in ("hat", "shoe"):
        for number in range(2):
            bucket.pipe(f"/bucket/photos/{label}/{number}.jpg", b"bytes")
    catalog = open_catalog("s3://bucket/photos")
    assert catalog.labels == ("hat", "shoe")
    assert catalog.refs()[0] == "s3://bucket/photos/hat/0.jpg"
    bucket.pipe("/bucket/table.csv", b"image,label\nphotos/hat/0,a\nphotos/shoe/1,b\n")
    table = open_catalog("s3://bucket/table.csv")
    assert table.refs() == ["s3://bucket/photos/hat/0.jpg", "s3://bucket/photos/shoe/1.jpg"]


def test_a_web_server_lists_nothing() -> None:
    with pytest.raises(RemoteError, match="gives no list of its files") as caught:
        open_catalog("https://shop.example/photos/")
    assert "name a table" in str(caught.value)


def test_folders_of_a_store_are_left_out(bucket: Bucket) -> None:
    for name in ("hat/a.jpg", "hat/old/b.jpg", "notes/c.jpg", "hat/d"):
        bucket.pipe(f"/bucket/{name}", b"bytes")
    found = scan_folder("s3://bucket", skip=("old", "notes"))
    assert found.images == ["hat/a.jpg"]
    assert found.examples == {"no suffix": "hat/d"}
