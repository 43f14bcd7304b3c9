"""Helpers of the tests that are not fixtures: photos of products, command lines, recorded notes."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from shopsight.catalog.catalog import Catalog
from shopsight.progress import Advance

if TYPE_CHECKING:
    import torch

    from shopsight.backbones.spec import Backbone

CLASSES = ("dress", "shoe", "hat")
SMALL = ("--recipe", "fashion-mnist-cnn", "--epochs", "1", "--set", "training.batch_size=16")
"""Flags of `train` that train a small net for an epoch."""
HOSTILE = (
    "red\x1b[31m",
    "title\x1b]0;owned\x07",
    "link\x1b]8;;http://example.com\x1b\\here",
    "c1\x9b2Jand\x9d0;x\x9c",
    "gone\r\x08\x08\x7f",
    "a\tb\x0b\x0c\0",
    "exe\u202egpj.\u2066x\u2069",
    "no\u200bwidth\ufeff\u2060\u00ad",
    "lines\u2028and\u2029\x85",
    "tag\U000e0041",
)
"""Texts with what a terminal obeys or hides."""
SCRATCH_RECIPE = """
seed = 3
[data]
val = 0.2
test = 0.2
[preprocess]
size_px = 28
[model]
backbone = "shopsight:fashion_cnn"
[model.head]
dropout = 0.2
[training]
mode = "scratch"
epochs = 3
batch_size = 12
precision = "32"
ema = 0.9
[optimizer]
lr = 3e-3
[augment]
mixup = 0.2
random_erasing_prob = 0.3
"""
"""A small net from scratch for three epochs, with averaged weights, mixup and erasing."""


def touch(folder: Path, *names: str) -> str:
    """Files of which only the names matter; gives the folder back."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return str(folder)


@dataclass(frozen=True)
class ProductPhotos:
    """A folder per class with rendered JPEGs, and the same as a table.

    Attributes:
        folder: holds one sub-folder per class.
        table: a CSV with columns image (relative to `folder`), label and product (two images
            of each product).
        labels: the class names, sorted.
        count: number of images.
    """

    folder: Path
    table: Path
    labels: tuple[str, ...]
    count: int


def make_products(
    folder: Path, *, per_class: int, classes: tuple[str, ...] = CLASSES, seed: int = 0
) -> ProductPhotos:
    """Render `per_class` images (an even number) of each class into `folder`."""
    from shopsight.datasets.synthetic import draw_product

    rows = ["image,label,product"]
    for label in classes:
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            number, view = divmod(index, 2)
            name = f"{label}/{label}-{number:03d}-{view}.jpg"
            pixels = draw_product(label, number=number, view=view, seed=seed)
            Image.fromarray(pixels).save(folder / name, quality=90)
            rows.append(f"{name},{label},{label}-{number}")
    table = folder.parent / f"{folder.name}.csv"
    table.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return ProductPhotos(folder, table, tuple(sorted(classes)), per_class * len(classes))


def train_small(
    data: Path | Catalog, out: Path, *settings: str, accept: Collection[str] = ()
) -> Path:
    """A small net trained for an epoch on the CPU; gives the run folder back."""
    from shopsight import api

    quick = ("training.epochs=1", "training.batch_size=16")
    api.train(
        data, out=out, recipe="fashion-mnist-cnn", settings=[*quick, *settings], accept=accept
    )
    return out


def sent_raw(text: str) -> set[str]:
    """The characters of a text that a terminal would obey or hide."""
    unseen = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {each for each in text if unicodedata.category(each) in unseen} - {"\n"}


def set_home(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let `folder` be the user's home, on every platform."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody can write in the folder within the block; root is kept out by a mount, or skips."""
    if os.geteuid():
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    steps = [("--bind", folder, folder), ("-o", "remount,ro,bind", folder)]
    done = [subprocess.run(["mount", *step], capture_output=True, check=False) for step in steps]
    if any(step.returncode for step in done):
        pytest.skip("root can write everywhere, and may not mount here")
    try:
        yield
    finally:
        # At once also where a cache is still mapped into memory.
        subprocess.run(["umount", "--lazy", folder], check=True)


class Recorder:
    """A progress listener that keeps every note."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        return nullcontext(lambda _count: None)

    def notify(self, text: str) -> None:
        self.lines.append(text)


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Shopsight = Callable[..., Outcome]


def run_command(capsys: pytest.CaptureFixture[str], words: tuple[object, ...]) -> Outcome:
    """Run `shopsight WORDS` in this process."""
    from shopsight.cli.app import main

    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    shown = capsys.readouterr()
    return Outcome(int(end.value.code or 0), shown.out, shown.err)


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; a dictionary changes the keys within."""
    written = json.loads(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        written[key] = written[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(written), encoding="utf-8")


def embed(backbone: Backbone, size_px: int | None = None) -> torch.Tensor:
    """Embeddings of two random images, of the backbone's size or another."""
    import torch

    size_px = size_px or backbone.preprocess.size_px
    with torch.inference_mode():
        out = backbone.module.eval()(torch.randn(2, 3, size_px, size_px))
    assert isinstance(out, torch.Tensor)
    return out


def windows_refuses(
    monkeypatch: pytest.MonkeyPatch, name: str, *, times: int, winerror: int = 32
) -> list[str]:
    """Have `os.NAME` answer as Windows does while a file is open elsewhere; list the calls."""
    real = getattr(os, name)
    calls: list[str] = []

    def refuse(path: str | Path, *others: str | Path) -> None:
        calls.append(str(path))
        if len(calls) <= times:
            error = PermissionError(13, "used by another process", str(path))
            error.winerror = winerror  # type: ignore[attr-defined]
            raise error
        real(path, *others)

    monkeypatch.setattr(os, name, refuse)
    return calls
