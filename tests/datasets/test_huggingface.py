"""The errors when a data set of the Hugging Face Hub cannot be loaded."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from shopsight import runtime
from shopsight.datasets import huggingface
from shopsight.datasets.huggingface import open_huggingface
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
