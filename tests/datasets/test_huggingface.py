"""The errors when a data set of the Hugging Face Hub cannot be loaded."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from shopsight import runtime
from shopsight.datasets import huggingface
from shopsight.datasets.huggingface import cache_name, open_huggingface, split_handle
from shopsight.errors import SourceError

NAME = "hf:no-such-owner/no-such-name"


def refused(monkeypatch: pytest.MonkeyPatch, error: Exception, *, reach: bool) -> SourceError:
    """The error that a user sees when `datasets` fails so, and what the Hub's client was asked."""

    def load_dataset(path: str, config: str | None) -> None:
        assert constants.HF_HUB_OFFLINE is not reach, "asks a hub that has no address again"
        raise error

    fake = SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setattr(huggingface, "require", lambda _: fake)
    monkeypatch.setattr(runtime, "getproxies", dict)

    def getaddrinfo(host: str | None, port: int | None) -> list[object]:
        if reach:
            return []
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(SourceError) as caught:
        open_huggingface(NAME)
    assert constants.HF_HUB_OFFLINE is False
    assert caught.value.where == NAME
    return caught.value


def test_without_a_network_nothing_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(monkeypatch, ConnectionError("Couldn't reach it"), reach=False)
    assert "cannot be reached" in error.what
    assert "login" not in str(error)


def test_a_name_that_the_hub_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    not_found = type("DatasetNotFoundError", (FileNotFoundError,), {})
    error = refused(monkeypatch, not_found("doesn't exist"), reach=True)
    assert "no such data set" in error.what
    assert "search=no-such-name" in str(error)
    assert "hf auth login" in str(error)


def test_other_errors_keep_their_message(monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(monkeypatch, ValueError("Unknown split.\nmore"), reach=True)
    assert error.what == "cannot be loaded: Unknown split."


@pytest.mark.parametrize(
    ("handle", "parts", "folder"),
    [
        ("owner/name", ("owner/name", ""), "hf--owner--name"),
        ("owner/name:large", ("owner/name", "large"), "hf--owner--name%3Alarge"),
        ("C:\\sets\\shoes", ("C:\\sets\\shoes", ""), "hf--C%3A%5Csets%5Cshoes"),
        ("C:/sets/shoes:large", ("C:/sets/shoes", "large"), "hf--C%3A--sets--shoes%3Alarge"),
    ],
)
def test_names_that_windows_refuses(handle: str, parts: tuple[str, str], folder: str) -> None:
    assert split_handle(handle) == parts
    assert cache_name(handle) == folder


@pytest.mark.posix("needs a colon in a name")
def test_folders_of_one_name_share_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other", "one:two"):
        (tmp_path / name / "sets").mkdir(parents=True)
    names = {cache_name(str(tmp_path / name / "sets")) for name in ("one", "other", "one:two")}
    assert len(names) == 3
    monkeypatch.chdir(tmp_path / "one")
    assert cache_name("sets") == cache_name(str(tmp_path / "one" / "sets"))
    assert split_handle(str(tmp_path / "one:two" / "sets"))[1] == ""


def test_rows_that_name_files_of_this_machine(tmp_path: Path) -> None:
    """A Parquet file may hold `{bytes: null, path: /...}`: the path is a stranger's."""
    for name in ("set/train/1.jpg", "private/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    roots = huggingface._roots(str(tmp_path / "set"))

    def read(path: object, data: bytes | None = None) -> bytes:
        row = {"bytes": data, "path": path}
        return huggingface._image_bytes(row, "train, row 1", roots)

    assert read(None, b"bytes") == b"bytes"
    assert read("/etc/passwd", b"bytes") == b"bytes"
    assert read(str(tmp_path / "set/train/1.jpg")) == b"set/train/1.jpg"
    for path in (tmp_path / "private/2.jpg", tmp_path / "set/../private/2.jpg"):
        with pytest.raises(SourceError, match="names a file of this machine") as caught:
            read(str(path))
        assert caught.value.where == "train, row 1"
    for nothing in (None, "", "hf://datasets/a/b@main/1.jpg", str(tmp_path / "set/absent.jpg")):
        with pytest.raises(SourceError, match=r"a row has no image|names a file"):
            read(nothing)


def test_the_hubs_client_keeps_a_token_beside_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimpleNamespace(
        HF_DATASETS_CACHE=tmp_path / "datasets",
        DOWNLOADED_DATASETS_PATH=str(tmp_path / "datasets" / "downloads"),
        HF_HUB_CACHE=None,
    )
    monkeypatch.setattr(huggingface, "require", lambda _: SimpleNamespace(config=config))
    (tmp_path / "datasets").mkdir()
    (tmp_path / "token").write_text("hf_secret", encoding="utf-8")
    (tmp_path / "datasets" / "1.jpg").write_bytes(b"1")
    roots = huggingface._roots("owner/name")
    row = {"bytes": None, "path": str(tmp_path / "datasets" / "1.jpg")}
    assert huggingface._image_bytes(row, "here", roots) == b"1"
    with pytest.raises(SourceError, match="names a file"):
        huggingface._image_bytes(row | {"path": str(tmp_path / "token")}, "here", roots)
