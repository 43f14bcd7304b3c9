from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from shopsight.devices import computes_bf16
from shopsight.inference import golden
from shopsight.preprocess import Preprocess
from tests.helpers import ProductPhotos, Shopsight

_opened: list[Counter[str]] = []


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened and event == "open" and isinstance(arguments[0], str):
        _opened[-1][Path(arguments[0]).name] += 1


@contextmanager
def opened_files() -> Iterator[Counter[str]]:
    """How often a file of each name is opened by Python within the block."""
    if not hasattr(opened_files, "installed"):
        # Python cannot remove an audit hook: it is added once and switched on by the list.
        sys.addaudithook(_record)
        opened_files.installed = True  # type: ignore[attr-defined]
    _opened.append(Counter())
    try:
        yield _opened[-1]
    finally:
        _opened.pop()


def test_the_bundle_is_opened_hashed_and_verified_once(
    shopsight: Shopsight,
    tiny_run: Path,
    product_photos: ProductPhotos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[str | None] = []
    plain = golden.preprocess_image

    def preprocess_image(data: bytes, preprocess: Preprocess, *, where: str | None = None) -> Any:
        verified.append(where)
        return plain(data, preprocess, where=where)

    monkeypatch.setattr(golden, "preprocess_image", preprocess_image)
    with opened_files() as opened:
        done = shopsight("predict", tiny_run, product_photos.folder, "--device", "cpu")
    assert done.code == 0
    # The hash reads the file; safetensors maps it into memory without Python's `open`.
    names = ("model.safetensors", "model.json", "golden.npz")
    assert [opened[name] for name in names] == [1, 1, 1]
    # In fp32, and in bf16 where this machine computes in it.
    assert verified.count("golden 0") == 1 + computes_bf16(torch.device("cpu"))
